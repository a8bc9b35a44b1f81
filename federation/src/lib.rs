//! The server-server API of a Starling homeserver, as server and as client.

pub mod addresses;
mod body;
pub mod client;
pub mod config;
mod connector;
#[cfg(test)]
mod test_server;
pub mod tls;
