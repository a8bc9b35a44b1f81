//! The client-server API of a Starling homeserver.

pub mod client_ip;
