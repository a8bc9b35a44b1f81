//! `/statistics`: what takes how much room.

pub(crate) mod database;
pub(crate) mod users;
