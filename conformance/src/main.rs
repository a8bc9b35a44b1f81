//! The command line of the suites that are more than unit tests.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use starling_conformance::{
    bench, complement, destinations, engine, faults, fuzz, hostile, interop, operations, oracle,
    partition, security, worlds,
};

/// Suites against running servers. Each ends with the line 'N passed, N failed'.
#[derive(Debug, Parser)]
#[command(name = "starling-conformance", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What a run of Complement says, and whether that is as expected.
    Report(complement::Options),
    /// Which operations of the specification have tests for all that they answer.
    Operations(operations::Options),
    /// Which attacks on homeservers have tests, and whether these passed.
    Security(security::Options),
    /// A stand-in for a container engine, with processes for containers.
    Engine(engine::Options),
    /// Conversations with Synapse, matrix-js-sdk and matrix-nio.
    Interop(interop::Options),
    /// What the client API takes in time, processor and memory.
    Bench(bench::Options),
    /// Another homeserver attacks.
    Hostile(hostile::Options),
    /// The same random graphs of events are sent to Starling and to Synapse.
    Oracle(oracle::Options),
    /// Servers in one room are cut from each other and joined again.
    Partition(partition::Options),
    /// A server has a thousand others to send to, most of which are dead.
    Destinations(destinations::Options),
    /// Parsers of outside data get random input, and libFuzzer sees which way it goes.
    Fuzz(fuzz::FuzzOptions),
    /// Every endpoint gets random requests, again and again.
    Nonsense(fuzz::NonsenseOptions),
    /// Servers in worlds made by chance must agree when all has healed.
    Worlds(worlds::Options),
    /// What must survive when something breaks.
    Faults {
        #[command(subcommand)]
        fault: faults::Fault,
    },
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let good = match Arguments::parse().command {
        Command::Report(options) => complement::report(&options)?,
        Command::Operations(options) => operations::report(&options)?,
        Command::Security(options) => security::report(&options)?,
        Command::Engine(options) => engine::run(options).await?,
        Command::Interop(options) => interop::run(options).await?,
        Command::Bench(options) => bench::run(options).await?,
        Command::Hostile(options) => hostile::run(options).await?,
        Command::Oracle(options) => oracle::run(options).await?,
        Command::Partition(options) => partition::run(options).await?,
        Command::Destinations(options) => destinations::run(options).await?,
        Command::Fuzz(options) => fuzz::run(&options)?,
        Command::Nonsense(options) => fuzz::nonsense(options)?,
        Command::Worlds(options) => worlds::run(options)?,
        Command::Faults { fault } => faults::run(fault).await?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
