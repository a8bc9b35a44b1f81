//! Servers in one process, connected by their routers: every request is signed and verified, only
//! the sockets are missing.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod every_version;
mod gaps;
mod history;
mod invites;
mod joins;
mod network;
mod outbound;
mod partial;
mod partly;
mod peer;
mod reading;
mod spaces;
mod transactions;
mod two_servers;
