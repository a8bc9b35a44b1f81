//! The server-server API, spoken to by a peer that lies where a test says so.
//!
//! The file of an endpoint also holds what this server must make of a peer's answers when it is the
//! one who asks.

mod authorization;
mod hierarchy;
mod invite;
mod large_join;
mod make_join;
pub(crate) mod media;
mod membership;
mod openid;
mod policy;
mod public_rooms;
mod query;
pub(crate) mod reading;
mod relay;
pub(crate) mod send;
mod send_join;
mod timestamp_to_event;
pub(crate) mod user;
mod version;
