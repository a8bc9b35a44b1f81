//! Questions about this server's names and users.

pub(crate) mod directory;
pub(crate) mod profile;
