//! `/.well-known/matrix`: what can be found out by whoever knows only a server name.

pub(crate) mod client;
pub(crate) mod policy_server;
pub(crate) mod server;
pub(crate) mod support;
