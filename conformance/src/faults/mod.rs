//! `starling-conformance faults`: what must survive when something breaks.

use anyhow::Result;
use clap::Subcommand;

mod keys;
pub mod kill9;
mod load;
mod messages;

/// The faults that can be made.
#[derive(Debug, Subcommand)]
pub enum Fault {
    /// Kill the server at random moments under load; every acknowledged event must survive, and
    /// one-time keys and messages to devices must come once.
    Kill9(kill9::Options),
}

/// Makes the fault and tells whether everything held.
pub async fn run(fault: Fault) -> Result<bool> {
    match fault {
        Fault::Kill9(options) => kill9::run(options).await,
    }
}
