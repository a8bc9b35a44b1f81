//! `starling-conformance fuzz`: libFuzzer on the parsers of outside data, each for so many seconds.
//! `starling-conformance nonsense`: random requests to every endpoint, again and again.
//!
//! The parsers are in `fuzz/`, a workspace of its own. What is found on the way is kept in
//! `fuzz/corpus`, so that the next run begins there; what breaks a parser is in `fuzz/artifacts`, and
//! belongs into `fuzz/seeds` once the cause is mended.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::report::say;

/// How long one input may take, in seconds, and how much memory the process may have, in MiB.
const LONGEST_INPUT: u32 = 10;
const MOST_MEMORY: u32 = 4_096;

/// How large an input grows, in bytes.
const LARGEST_INPUT: u32 = 65_536;

/// The command line of `fuzz`.
#[derive(Clone, Debug, clap::Args)]
pub struct FuzzOptions {
    /// How long each target is run.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// The targets, which are the folders of `fuzz/seeds`; all of them if none is named.
    targets: Vec<String>,
}

/// The command line of `nonsense`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct NonsenseOptions {
    /// How long new rounds are begun.
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u64,
    /// How many requests each endpoint gets in a round.
    #[arg(long, value_name = "N", default_value_t = 100)]
    cases: u32,
}

/// Builds the targets, runs them, and tells whether none broke.
///
/// # Errors
///
/// When they cannot be built or started, or one is not there.
pub fn run(options: &FuzzOptions) -> Result<bool> {
    let home = root().join("fuzz");
    let known = folders(&home.join("seeds"))?;
    for name in &options.targets {
        ensure!(known.contains(name), "there is no target '{name}'; there are: {known:?}");
    }
    let wanted = if options.targets.is_empty() { &known } else { &options.targets };
    let program = build(&home)?;
    let (mut passed, mut failed) = (0, 0);
    for name in wanted {
        match fuzz(&home, &program, name, options.seconds)? {
            true => passed += 1,
            false => failed += 1,
        }
    }
    say(&format!("{passed} passed, {failed} failed"));
    Ok(failed == 0 && passed > 0)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn folders(of: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(of).with_context(|| format!("cannot read {}", of.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Compiles the program of all targets; where it is.
fn build(home: &Path) -> Result<PathBuf> {
    let mut cargo = cargo();
    // In that folder, because the flags of the compiler are those of its `.cargo/config.toml`.
    cargo.args(["build", "--release", "--quiet"]).current_dir(home);
    cargo.env("CARGO_TARGET_DIR", home.join("target")).env_remove("RUSTFLAGS");
    ensure!(cargo.status().context("cannot start cargo")?.success(), "the build failed");
    let triples = folders(&home.join("target"))?;
    let built =
        triples.iter().map(|triple| home.join("target").join(triple).join("release/starling-fuzz"));
    built.into_iter().find(|program| program.is_file()).context("the build made no program")
}

/// Runs one target, and says what came of it.
fn fuzz(home: &Path, program: &Path, name: &str, seconds: u64) -> Result<bool> {
    let (corpus, artifacts) = (home.join("corpus").join(name), home.join("artifacts").join(name));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(program);
    command.env("STARLING_FUZZ_TARGET", name).stdin(Stdio::null()).current_dir(home);
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-timeout={LONGEST_INPUT}"));
    command.arg(format!("-rss_limit_mb={MOST_MEMORY}"));
    command.arg(format!("-max_len={LARGEST_INPUT}"));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg("-print_final_stats=1");
    command.arg(&corpus).arg(home.join("seeds").join(name));
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let inputs = statistic(&log, "number_of_executed_units");
    if output.status.success() {
        say(&format!("ok    {name}: {inputs} inputs in {seconds} s"));
        return Ok(true);
    }
    let lines: Vec<&str> = log.lines().collect();
    let last = lines.get(lines.len().saturating_sub(30)..).unwrap_or_default();
    say(&format!("BROKE {name} after {inputs} inputs:\n{}", last.join("\n")));
    Ok(false)
}

fn statistic(log: &str, name: &str) -> String {
    let line = log.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
    line.map_or("?", |line| line.trim_start_matches(':').trim()).to_owned()
}

/// Plays rounds of random requests on both doors, and tells whether nothing broke. A round that failed
/// has named its seed, and is the last.
///
/// # Errors
///
/// When cargo cannot be started.
pub fn nonsense(options: NonsenseOptions) -> Result<bool> {
    let (begun, time) = (Instant::now(), Duration::from_secs(options.seconds));
    let (mut passed, mut failed) = (0, 0);
    while failed == 0 && (passed == 0 || begun.elapsed() < time) {
        let mut cargo = cargo();
        cargo.args(["test", "--workspace", "--quiet", "--test", "it", "--", "nonsense::"]);
        cargo.current_dir(root()).env("STARLING_TEST_CASES", options.cases.to_string());
        match cargo.status().context("cannot start cargo")?.success() {
            true => passed += 1,
            false => failed += 1,
        }
    }
    say(&format!("{passed} passed, {failed} failed"));
    Ok(failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_inputs_is_read_from_what_the_fuzzer_says() {
        let log = "#2 DONE\nstat::number_of_executed_units: 1234\nstat::average_exec_per_sec: 5\n";
        assert_eq!(statistic(log, "number_of_executed_units"), "1234");
        assert_eq!(statistic("", "number_of_executed_units"), "?");
    }

    #[test]
    fn all_targets_have_seeds() {
        assert!(folders(&root().join("fuzz/seeds")).unwrap().contains(&"pdu".to_owned()));
    }
}
