//! Three times as many requests as the server can answer: it goes on answering as many as it can, in time, says at
//! once that it cannot do the others, and is as before as soon as they cease.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::pulse::{People, Pulse, at_most, millis};
use crate::{
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// How many clients ask at once to find out what the server can do.
const AT_ONCE: usize = 16;
/// What is left out of the measure in a debug build beside other tests.
const FLOOR: Duration = Duration::from_millis(500);
/// Within this time after an overload everything must be as before.
const RECOVERS_WITHIN: Duration = Duration::from_secs(10);

/// How the test of an overload is run.
#[derive(Args, Debug)]
pub struct Options {
    /// For how long too much is asked.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How many times as much as the server can do.
    #[arg(long, default_value_t = 3.0)]
    times: f64,
    /// How much of what the server can do it must still do then.
    #[arg(long, default_value_t = 0.8)]
    goodput: f64,
    /// How long what it does may take, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    done_ms: u64,
    /// From when on the server is too late (`limits.late_ms`).
    #[arg(long, default_value_t = 250)]
    late_ms: u64,
    /// How long it may take to say no, in milliseconds.
    #[arg(long, default_value_t = 50)]
    refused_ms: u64,
    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Plays the overload and tells whether the server stood it.
pub async fn run(options: Options) -> Result<bool> {
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let mut spec = Spec::new(Kind::Starling)?.on(database);
    // Other tests have to be content with a server that is late.
    spec.settings.push(("LIMITS__LATE_MS".to_owned(), options.late_ms.to_string()));
    let server = spec.start(&TestCa::new()?).await?;
    part_cores(&server)?;
    let people = People::new(&server, AT_ONCE).await?;
    let short = Duration::from_secs(options.seconds.clamp(3, 10));
    // The first one fills caches and pools.
    Pulse::closed(&people, AT_ONCE, short / 3).await?;
    let peak = Pulse::closed(&people, AT_ONCE, short).await?;
    peak.all_done()?;
    let peak = peak.per_second();
    let before = Pulse::last(&people, peak / 2.0, short).await?;
    before.all_done()?;
    let time = Duration::from_secs(options.seconds);
    let during = Pulse::last(&people, peak * options.times, time).await?;
    tokio::time::sleep(RECOVERS_WITHIN.min(short)).await;
    let after = Pulse::last(&people, peak / 2.0, short).await?;
    let mut report = Report::default();
    let part = during.per_second() / peak;
    report
        .case("it goes on doing what it can", async {
            ensure!(part >= options.goodput, "it does {part:.2} of what it can");
            Ok(())
        })
        .await;
    report
        .case("what it does is done in time", async {
            ensure!(
                during.p99() <= Duration::from_millis(options.done_ms),
                "p99 is {:?}",
                during.p99()
            );
            Ok(())
        })
        .await;
    let refused = during.refused.percentile(99);
    report
        .case("what it does not do is refused at once", async {
            ensure!(refused <= Duration::from_millis(options.refused_ms), "p99 is {refused:?}");
            Ok(())
        })
        .await;
    report
        .case("everybody is answered", async {
            let failed = during.failed.len();
            ensure!(failed == 0, "{failed} are not, first: {:?}", during.failed.first());
            Ok(())
        })
        .await;
    report
        .case("afterwards all is as before", async {
            after.all_done()?;
            at_most("p99", after.p99(), (2, before.p99()), FLOOR)
        })
        .await;
    report.figure("done_per_second_at_most", peak.round());
    report.figure("done_per_second_during", during.per_second().round());
    report.figure("asked", during.done.count() + during.refused.count() + during.failed.len());
    report.figure("done", during.done.count());
    report.figure("refused", during.refused.count());
    report.figure("failed", during.failed.len());
    report.figure("done_p99_ms", millis(during.p99()));
    report.figure("refused_p99_ms", millis(refused));
    report.figure("p99_ms_before", millis(before.p99()));
    report.figure("p99_ms_after", millis(after.p99()));
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}

/// Gives the server the first core of this machine and this program the others, so that they do not take each
/// other's time.
fn part_cores(server: &Server) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    if cores < 2 {
        say("there is one core, which both share");
        return Ok(());
    }
    pin(server.pid()?, "0")?;
    pin(std::process::id(), &format!("1-{}", cores - 1))
}

fn pin(pid: u32, cores: &str) -> Result<()> {
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--pid", "--cpu-list", cores]).arg(pid.to_string());
    let output = taskset.output().context("no taskset")?;
    ensure!(output.status.success(), "taskset: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
