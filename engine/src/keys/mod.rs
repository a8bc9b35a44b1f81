//! Signing keys: our own, and those of other servers.
//!
//! Reading order: [`signing`] (what we sign with), [`publish`] (how others learn our keys),
//! [`document`] (what another server's published keys mean; pure), [`remote`] (fetching and
//! remembering them).

pub mod signing;

pub mod publish;

pub mod document;

pub mod remote;

#[cfg(test)]
mod testing;

pub use remote::RemoteKeys;
pub use signing::SigningKeys;
