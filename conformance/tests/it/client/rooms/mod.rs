//! `/_matrix/client/v3/rooms/{roomId}/...`

mod bundles;
mod joined_members;
mod leave;
mod messages;
mod relations;
mod report;
mod send;
mod state;
mod threads;
mod timestamp_to_event;
