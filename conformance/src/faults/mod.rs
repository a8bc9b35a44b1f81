//! `starling-conformance faults`: what must survive when something breaks.

use anyhow::Result;
use clap::Subcommand;

pub mod clock;
mod crowd;
pub mod database;
mod disk;
pub mod full;
mod keys;
pub mod kill9;
mod load;
mod messages;
pub mod power;
mod shim;
mod world;

/// The faults that can be made.
#[derive(Debug, Subcommand)]
pub enum Fault {
    /// Kill the server at random moments under load; every acknowledged event must survive, and
    /// one-time keys and messages to devices must come once.
    Kill9(kill9::Options),
    /// Cut the power at random moments under load: the disk forgets what was not synced; every acknowledged
    /// event must survive, and a disk that lies must be found out.
    Power(power::Options),
    /// Stop and kill PostgreSQL under load: no acknowledged event is lost, and the server recovers by itself.
    Database(database::Options),
    /// Let the disk be full for a while: what cannot be written is refused, and all is well afterwards.
    Full(full::Options),
    /// Set the clock forward and back under load.
    Clock(clock::Options),
}

/// Makes the fault and tells whether everything held.
pub async fn run(fault: Fault) -> Result<bool> {
    match fault {
        Fault::Kill9(options) => kill9::run(options).await,
        Fault::Power(options) => power::run(options).await,
        Fault::Database(options) => database::run(options).await,
        Fault::Full(options) => full::run(options).await,
        Fault::Clock(options) => clock::run(options).await,
    }
}
