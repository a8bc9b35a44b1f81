//! `/rooms`: what happens in one room.

pub(crate) mod context;
pub(crate) mod event;
pub(crate) mod messages;
pub(crate) mod read_markers;
pub(crate) mod receipt;
pub(crate) mod typing;
