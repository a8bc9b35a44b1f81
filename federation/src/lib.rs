//! The server-server API of a Starling homeserver, as server and as client.
//!
//! Reading order of the client side: [`transport`] (the engine's way to other servers), then what
//! it is made of: [`discovery`] with [`well_known`] and [`dns`], [`lookup`] with [`addresses`],
//! [`client`], [`request_auth`].

pub mod addresses;
pub mod authorization;
mod body;
pub mod client;
pub mod config;
mod connector;
pub mod content;
pub mod discovery;
pub mod dns;
pub mod lookup;
pub mod request_auth;
#[cfg(test)]
mod test_peer;
#[cfg(test)]
mod test_server;
pub mod tls;
pub mod transport;
pub mod well_known;
pub mod well_known_fetch;
