//! Backups of keys.

pub(crate) mod keys;
pub(crate) mod version;
