//! `starling-conformance faults`: what must survive when something breaks.

use anyhow::Result;
use clap::Subcommand;

pub mod bombs;
pub mod clock;
pub mod corruption;
mod crowd;
pub mod database;
mod disk;
pub mod forks;
pub mod full;
mod keys;
pub mod kill9;
mod load;
mod messages;
pub mod overload;
pub mod panics;
pub mod power;
mod pulse;
mod shim;
pub mod siege;
pub mod slow;
pub mod soak;
pub mod sync;
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
    /// Damage what is stored, again and again in one place: `starling doctor --deep` finds it each time.
    Corruption(corruption::Options),
    /// Read by /sync while several write and the server stands still now and then: nothing is missed.
    Sync(sync::Options),
    /// Open thousands of connections that say next to nothing, or never listen: nobody else notices.
    Slow(slow::Options),
    /// Let another server make thousands of forks of a room: what they cost is bounded.
    Forks(siege::Options),
    /// Let another server make what is expensive to judge: what it costs is bounded.
    Bombs(siege::Options),
    /// Ask three times as much as the server can do: it does what it can, and is as before afterwards.
    Overload(overload::Options),
    /// Ask half as much as the server can do, for long and with little memory: nothing grows.
    Soak(soak::Options),
    /// Attack and ask at random: nothing panics.
    Panics(panics::Options),
}

/// Makes the fault and tells whether everything held.
pub async fn run(fault: Fault) -> Result<bool> {
    match fault {
        Fault::Kill9(options) => kill9::run(options).await,
        Fault::Power(options) => power::run(options).await,
        Fault::Database(options) => database::run(options).await,
        Fault::Full(options) => full::run(options).await,
        Fault::Clock(options) => clock::run(options).await,
        Fault::Corruption(options) => corruption::run(options).await,
        Fault::Sync(options) => sync::run(options).await,
        Fault::Slow(options) => slow::run(options).await,
        Fault::Forks(options) => forks::run(options).await,
        Fault::Bombs(options) => bombs::run(options).await,
        Fault::Overload(options) => overload::run(options).await,
        Fault::Soak(options) => soak::run(options).await,
        Fault::Panics(options) => panics::run(options).await,
    }
}
