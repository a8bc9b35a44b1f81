//! `/.well-known/matrix`: what a client that knows a server name only can find out.

pub(crate) mod client;
pub(crate) mod support;
