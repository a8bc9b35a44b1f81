//! `/_matrix/client/v3/rooms/{roomId}/...`

mod send;
