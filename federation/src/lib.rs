//! The server-server API of a Starling homeserver, as server and as client.

pub mod addresses;
mod body;
pub mod client;
pub mod config;
mod connector;
pub mod discovery;
pub mod dns;
pub mod lookup;
#[cfg(test)]
mod test_clock;
#[cfg(test)]
mod test_server;
pub mod tls;
pub mod well_known;
pub mod well_known_fetch;
