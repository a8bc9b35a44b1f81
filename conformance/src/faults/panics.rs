//! Nothing that comes from outside makes the server panic: attacks and random requests to every endpoint, and then
//! no log of any server says that something did.
//!
//! A handler that panics is caught and answered with 500, so that nobody else notices; here it is noticed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{report::Report, servers::KEEP};

/// How the search for panics is run.
#[derive(Args, Debug)]
pub struct Options {
    /// How long random requests are made.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// How many of them each endpoint gets in a round.
    #[arg(long, default_value_t = 100)]
    cases: u32,
    /// How many events the attacks have.
    #[arg(long, default_value_t = 1000)]
    size: usize,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Plays both and tells whether nothing panicked.
pub async fn run(options: Options) -> Result<bool> {
    // The servers of both keep what they leave in here.
    let scratch = tempfile::Builder::new().prefix("starling-panics-").tempdir()?;
    let mut report = Report::default();
    let mut hostile = Command::new(env::current_exe()?);
    hostile.args(["hostile", "--size", &options.size.to_string()]);
    report.case("attacks", async { play(&mut hostile, scratch.path()) }).await;
    let (begun, mut rounds) = (Instant::now(), 0);
    while report.failed() == 0
        && (rounds == 0 || begun.elapsed() < Duration::from_secs(options.seconds))
    {
        rounds += 1;
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["test", "--workspace", "--quiet", "--test", "it", "--", "nonsense::"]);
        cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        cargo.env("STARLING_TEST_CASES", options.cases.to_string());
        let name = format!("random requests, round {rounds}");
        report.case(&name, async { play(&mut cargo, scratch.path()) }).await;
    }
    let logs = logs(scratch.path())?;
    report
        .case("nothing panicked", async {
            ensure!(!logs.is_empty(), "no server has left a log");
            for log in &logs {
                let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
                let panics = panics(&text);
                ensure!(panics.is_empty(), "{} times:\n{}", panics.len(), panics.join("\n"));
            }
            Ok(())
        })
        .await;
    report.figure("rounds", rounds);
    report.figure("logs_looked_at", logs.len());
    report.finish(options.json.as_deref())
}

fn play(command: &mut Command, scratch: &Path) -> Result<()> {
    command.env(KEEP, "1").env("TMPDIR", scratch);
    let output = tokio::task::block_in_place(|| command.output()).context("it does not start")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(())
}

/// The logs of all servers that were started.
fn logs(scratch: &Path) -> Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(scratch)? {
        let log = entry?.path().join("server.log");
        if log.is_file() {
            logs.push(log);
        }
    }
    Ok(logs)
}

/// The lines of a log that tell of a panic, and those that say why.
fn panics(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    let pairs = lines.iter().zip(lines.iter().skip(1).chain([&""]));
    let told = pairs.filter(|(line, _)| line.contains("panicked at"));
    told.map(|(line, why)| format!("{line}\n{why}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_in_a_log() {
        let log = "INFO all is well\n\nthread 'tokio-rt-worker' (7) panicked at src/x.rs:1:2:\nno\nINFO on\n";
        assert_eq!(panics(log).len(), 1);
        assert!(panics(log)[0].ends_with("\nno"));
        assert!(panics("INFO all is well\n").is_empty());
    }
}
