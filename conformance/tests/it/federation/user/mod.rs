//! Devices and keys of users.

mod devices;
pub(crate) mod keys;
