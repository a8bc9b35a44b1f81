//! `/_matrix/client/v3/rooms/{roomId}/...`

mod bundles;
mod relations;
mod report;
mod send;
mod threads;
mod timestamp_to_event;
