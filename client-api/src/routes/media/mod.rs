//! Files for those who are logged in.

pub(crate) mod config;
pub(crate) mod download;
pub(crate) mod legacy;
pub(crate) mod preview_url;
pub(crate) mod thumbnail;
