//! `/rooms`: what happens in one room.

pub(crate) mod aliases;
pub(crate) mod ban;
pub(crate) mod context;
pub(crate) mod event;
pub(crate) mod forget;
pub(crate) mod hierarchy;
pub(crate) mod invite;
pub(crate) mod join;
pub(crate) mod joined_members;
pub(crate) mod kick;
pub(crate) mod leave;
pub(crate) mod members;
pub(crate) mod messages;
pub(crate) mod read_markers;
pub(crate) mod receipt;
pub(crate) mod redact;
pub(crate) mod relations;
pub(crate) mod report;
pub(crate) mod send;
pub(crate) mod state;
pub(crate) mod summary;
pub(crate) mod threads;
pub(crate) mod timestamp_to_event;
pub(crate) mod typing;
pub(crate) mod unban;
pub(crate) mod upgrade;
