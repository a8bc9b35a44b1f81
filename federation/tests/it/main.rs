//! Servers in one process, connected by their routers: every request is signed and verified, only
//! the sockets are missing.

mod joins;
mod network;
mod outbound;
mod peer;
mod reading;
mod transactions;
mod two_servers;
