//! `/_matrix/client/v3/rooms/{roomId}/...`

mod relations;
mod send;
