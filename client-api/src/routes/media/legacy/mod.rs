//! Files under their old addresses: uploads, which have no other, and downloads for those who are not
//! logged in.

pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod download;
pub(crate) mod preview_url;
pub(crate) mod thumbnail;
pub(crate) mod upload;
