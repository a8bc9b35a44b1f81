//! Devices and keys of users.

pub(crate) mod devices;
pub(crate) mod keys;
