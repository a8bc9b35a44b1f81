//! The Starling homeserver: one program that serves, and that administers what it serves.

mod admin;
mod app;
mod backup;
mod cli;
mod config;
mod database;
mod doctor;
mod doors;
mod engine;
mod http;
mod listeners;
mod log;
mod memory;
mod metrics;
mod outside;
mod overload;
mod signals;
mod tls;
mod traces;
mod workers;

use std::process::ExitCode;

use clap::Parser as _;
use tikv_jemallocator::Jemalloc;

/// Rooms are large for a moment: what they needed goes back to the system, which it does not by the
/// allocator of the C library.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The log may not run yet, or be JSON; the reason for an exit is a line for people.
            eprintln!("starling: {error:#}");
            ExitCode::FAILURE
        }
    }
}
