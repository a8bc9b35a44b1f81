//! `starling-conformance worlds`: servers in one process in worlds made by chance, one world after the other
//! for so long. The worlds are a test program of the federation crate, which holds the engines in its hand;
//! this gives it the time and the seed, and says what came of it.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{random, report::say};

/// The command line.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// How long new worlds are made.
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u64,
    /// The seed of the first world; the next ones follow it. A random one if none is named.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Makes worlds, and tells whether the servers of all of them agreed. A world in which they did not has named
/// its seed.
///
/// # Errors
///
/// When the program cannot be built or started, or did not say what came of it.
pub fn run(options: Options) -> Result<bool> {
    let seed = options.seed.map_or_else(random::seed, Ok)?;
    say(&format!("seed {seed}"));
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--workspace", "--quiet", "--test", "worlds", "--", "--nocapture"]);
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    cargo.env("STARLING_TEST_SECONDS", options.seconds.to_string());
    cargo.env("STARLING_TEST_SEED", seed.to_string());
    let mut running = cargo.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = running.stdout.take().context("cargo has no output")?;
    let mut result = None;
    for line in BufReader::new(output).lines() {
        let line = line?;
        match is_result(&line) {
            true => result = Some(line),
            false => say(&line),
        }
    }
    let good = running.wait()?.success();
    say(&result.context("the program did not say what came of it")?);
    Ok(good)
}

/// Whether a line is the one that counts the worlds.
fn is_result(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    matches!(words.as_slice(), [_, "passed,", _, "failed"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_counts_the_worlds_is_known_from_the_others() {
        assert!(is_result("24 passed, 1 failed"));
        assert!(!is_result("test result: FAILED. 0 passed; 1 failed; 0 ignored"));
        assert!(!is_result("seed 1, room version 2: a and b differ"));
    }
}
