//! Signing keys: our own, and those of other servers.
//!
//! Reading order: [`signing`] (what we sign with), [`publish`] (how others learn our keys),
//! [`document`] (what another server's published keys mean; pure), [`fetch`] (asking for them),
//! [`remote`] (when they are asked for, and remembering them), [`notary`] (vouching for them).

pub mod signing;

pub mod publish;

pub mod document;

mod fetch;

pub mod remote;

pub mod many;

pub mod notary;

#[cfg(test)]
mod testing;

pub use remote::RemoteKeys;
pub use signing::SigningKeys;
