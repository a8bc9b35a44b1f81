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
mod outside;
mod signals;
mod tls;
mod workers;

use std::process::ExitCode;

use clap::Parser as _;

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
