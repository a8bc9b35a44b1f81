//! The program from outside: its command line, its listeners, and what signals do to it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod admin;
mod command_line;
mod frames;
mod limits;
mod metrics;
mod process;
mod proxies;
mod secrets;
mod signals;
mod traces;
