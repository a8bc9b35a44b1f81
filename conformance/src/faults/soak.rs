//! A long time at half of what the server can do, within little memory: nothing grows.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;
use tokio::time::{Instant, sleep};

use super::pulse::{People, Pulse, millis};
use crate::{
    bench::{disk, process::Watched},
    report::{Report, say},
    servers::{ControlGroup, DatabaseKind, Kind, Server, Spec, TestCa},
};

const MIB: f64 = 1024.0 * 1024.0;
/// How much memory the whole process may have, in MiB.
const MEMORY_MIB: u64 = 256;
/// What it may keep of events and states where it is not told by its control group how little it may have.
const BUDGET: &str = "64 MiB";
/// How much memory may grow in an hour, in MiB.
const SLOPE_MIB: f64 = 1.0;
/// Growth that says nothing, in MiB: what an allocator keeps differs from moment to moment.
const NOISE_MIB: f64 = 6.0;
/// How long the log beside the database may become, in MiB: it is to begin anew again and again.
const LOG_MIB: f64 = 256.0;
/// How many more files and connections say nothing: pools follow the load.
const NOISE_FILES: usize = 20;

/// How the soak is run.
#[derive(Args, Debug)]
pub struct Options {
    /// How long it lasts; the first third is not measured.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Requests a second. As many as half of what the server can do if none is named.
    #[arg(long)]
    rate: Option<f64>,
    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What the process had at a moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    hours: f64,
    memory_mib: f64,
    log_mib: f64,
    files: usize,
    backends: usize,
}

/// Runs the soak and tells whether nothing grew.
pub async fn run(options: Options) -> Result<bool> {
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    // Dropped after the server, which is in it.
    let group = ControlGroup::make(MEMORY_MIB)?;
    let mut spec = Spec::new(Kind::Starling)?.on(database);
    match &group {
        Some(group) => spec.group = Some(group.directory().to_owned()),
        None => spec = spec.with_setting("MEMORY_BUDGET", BUDGET),
    }
    let server = spec.start(&TestCa::new()?).await?;
    let (people, watched) = (People::new(&server, 16).await?, Watched::server(&server)?);
    let rate = match options.rate {
        Some(rate) => rate,
        None => Pulse::closed(&people, 8, Duration::from_secs(5)).await?.per_second() / 2.0,
    };
    let pulse = Pulse::begin(&people, rate);
    let samples = watch(&server, &watched, Duration::from_secs(options.seconds)).await?;
    let beat = pulse.end().await?;
    let mut report = Report::default();
    report.case("everybody is served all the time", async { beat.all_done() }).await;
    let hours = options.seconds as f64 / 3600.0;
    report.case("memory does not grow", async { flat(&samples, hours, |it| it.memory_mib) }).await;
    report
        .case("files and connections do not become more", async {
            same(&samples, "open files", |it| it.files)?;
            same(&samples, "connections of the database", |it| it.backends)
        })
        .await;
    let log = samples.iter().map(|it| it.log_mib).fold(0.0, f64::max);
    report
        .case("the log of the database stays short", async {
            ensure!(log <= LOG_MIB, "it had {log:.0} MiB, more than {LOG_MIB}");
            Ok(())
        })
        .await;
    let peak = watched.usage()?.peak_mib;
    report
        .case(&format!("{MEMORY_MIB} MiB are enough"), async {
            ensure!(peak <= MEMORY_MIB as f64, "there were {peak:.0} MiB");
            Ok(())
        })
        .await;
    report.figure("requests_per_second", rate.round());
    report.figure("requests", beat.done.count());
    report.figure("p99_ms", millis(beat.p99()));
    report.figure("memory_mib_an_hour", slope(&samples, |it| it.memory_mib).round());
    report.figure("peak_memory_mib", peak.round());
    report.figure("log_mib", log.round());
    report.figure("bounded_by_cgroup", group.is_some());
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}

/// Looks at the process all the time, and gives what was seen after the first third.
async fn watch(server: &Server, watched: &Watched, time: Duration) -> Result<Vec<Sample>> {
    let begun = Instant::now();
    sleep(time / 3).await;
    let (every, mut samples) = ((time / 300).max(Duration::from_millis(250)), Vec::new());
    while begun.elapsed() < time {
        samples.push(Sample {
            hours: begun.elapsed().as_secs_f64() / 3600.0,
            memory_mib: watched.resident_mib()?,
            log_mib: disk::log_of(server) as f64 / MIB,
            files: watched.descriptors()?,
            backends: server.backends().map_or(Ok(0), |it| it.pids().map(|pids| pids.len()))?,
        });
        sleep(every).await;
    }
    Ok(samples)
}

/// By how much something grows in an hour: the slope of the line that is nearest to all samples.
fn slope(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (hours, value) = (mean(&|it| it.hours), mean(&|it| of(it)));
    let spread: f64 = samples.iter().map(|it| (it.hours - hours).powi(2)).sum();
    let common: f64 = samples.iter().map(|it| (it.hours - hours) * (of(it) - value)).sum();
    if spread == 0.0 { 0.0 } else { common / spread }
}

/// Fails when memory grows by more than it may. Over a short time it may by as much as says nothing.
fn flat(samples: &[Sample], hours: f64, of: impl Fn(&Sample) -> f64) -> Result<()> {
    ensure!(samples.len() > 2, "too few looks");
    let grown = slope(samples, of) * hours;
    let allowed = (SLOPE_MIB * hours).max(NOISE_MIB);
    ensure!(grown <= allowed, "by {grown:.1} MiB in {hours:.2} hours, more than {allowed:.1}");
    Ok(())
}

/// Fails when there is more of something in the end than in the beginning.
fn same(samples: &[Sample], what: &str, of: impl Fn(&Sample) -> usize) -> Result<()> {
    let third = samples.len().div_ceil(3);
    let most = |samples: &[Sample]| samples.iter().map(&of).max().unwrap_or_default();
    let early = most(samples.get(..third).unwrap_or_default());
    let late = most(samples.get(samples.len() - third..).unwrap_or_default());
    ensure!(late <= early + NOISE_FILES, "{what}: first {early}, then {late}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory: impl Fn(usize) -> f64, files: impl Fn(usize) -> usize) -> Vec<Sample> {
        let sample = |number: usize| Sample {
            hours: number as f64 / 60.0,
            memory_mib: memory(number),
            log_mib: 0.0,
            files: files(number),
            backends: 0,
        };
        (0..60).map(sample).collect()
    }

    #[test]
    fn what_grows_is_noticed() {
        let still = samples(|number| 100.0 + (number % 3) as f64, |_| 50);
        flat(&still, 1.0, |it| it.memory_mib).unwrap();
        same(&still, "files", |it| it.files).unwrap();
        let leaking = samples(|number| 100.0 + number as f64 / 4.0, |number| 50 + number);
        assert!((slope(&leaking, |it| it.memory_mib) - 15.0).abs() < 0.1);
        assert!(flat(&leaking, 1.0, |it| it.memory_mib).is_err());
        assert!(same(&leaking, "files", |it| it.files).is_err());
        assert!(flat(&[], 1.0, |it| it.memory_mib).is_err());
    }
}
