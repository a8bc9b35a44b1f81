//! What is announced to whoever knows only the server name.

mod client;
mod policy_server;
mod server;
mod support;
