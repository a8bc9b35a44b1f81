//! `/directory`: aliases, and which rooms are listed.

pub(crate) mod list;
pub(crate) mod room;
