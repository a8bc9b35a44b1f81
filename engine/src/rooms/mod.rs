//! Rooms: what may happen in them and what state they are in.

pub mod versions;

pub mod authorize;

pub mod checks;

pub mod visibility;

pub mod server_acl;

#[cfg(test)]
pub(crate) mod testing;
