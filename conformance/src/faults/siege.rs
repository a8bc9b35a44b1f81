//! What an attack costs the server that is attacked, and everybody else on it.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;
use tokio::time::Instant;

use super::pulse::{People, Pulse, at_most, millis};
use crate::{
    bench::{measure::cpu_ms_each, process::Watched},
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// What is left out of the measure in a debug build beside other tests.
const FLOOR: Duration = Duration::from_millis(1500);
/// For how long the others are measured before an attack.
const BASELINE: Duration = Duration::from_secs(5);

/// How hard the server is attacked, and what it may cost.
#[derive(Args, Debug)]
pub struct Options {
    /// How many events an attack has.
    #[arg(long, default_value_t = 10_000)]
    pub(super) size: usize,
    /// How much processor time an event may cost the server, in milliseconds. A debug build takes ten times that
    /// of an optimised one.
    #[arg(long, default_value_t = 5.0)]
    cpu_ms: f64,
    /// How much more memory an attack may take, in MiB.
    #[arg(long, default_value_t = 100.0)]
    memory_mib: f64,
    /// Requests a second of everybody else.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// The room version.
    #[arg(long, default_value = "12")]
    pub(super) room_version: String,
    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A server that is attacked, with people who have nothing to do with it.
pub(super) struct Siege {
    pub(super) options: Options,
    pub(super) server: Server,
    pub(super) ca: TestCa,
    pub(super) report: Report,
    people: People,
    watched: Watched,
    /// How long everybody else waits without an attack, and how much processor time a second they take.
    baseline: Duration,
    others_cpu: f64,
}

impl Siege {
    /// Starts the server, and measures how it is without an attack.
    pub(super) async fn begin(options: Options) -> Result<Self> {
        let ca = TestCa::new()?;
        let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
        let server = Spec::new(Kind::Starling)?.on(database).start(&ca).await?;
        let people = People::new(&server, 4).await?;
        let watched = Watched::server(&server)?;
        let idle = watched.settled().await?;
        let before = Pulse::last(&people, options.rate, BASELINE).await?;
        before.all_done()?;
        let others_cpu = watched.settled().await?.cpu_seconds - idle.cpu_seconds;
        let (baseline, others_cpu) = (before.p99(), others_cpu / BASELINE.as_secs_f64());
        let mut report = Report::default();
        report.figure("p99_ms_before", millis(baseline));
        Ok(Self { options, server, ca, report, people, watched, baseline, others_cpu })
    }

    /// Plays one attack of so many events, and holds what it costs against what it may.
    pub(super) async fn attack(
        &mut self,
        name: &str,
        events: usize,
        attack: impl AsyncFnOnce(&Server, &TestCa, &mut Report) -> Result<()>,
    ) {
        let mut report = std::mem::take(&mut self.report);
        let mut figures = Vec::new();
        let case = async {
            self.watched.forget_peak();
            let (before, memory) = (self.watched.usage()?, self.watched.resident_mib()?);
            let (pulse, begun) = (Pulse::begin(&self.people, self.options.rate), Instant::now());
            let played = attack(&self.server, &self.ca, &mut report).await;
            let others = begun.elapsed().as_secs_f64() * self.others_cpu;
            let during = pulse.end().await?;
            let after = self.watched.settled().await?;
            played?;
            let cpu = (after.cpu_seconds - before.cpu_seconds - others).max(0.0);
            let cpu_ms = cpu_ms_each(cpu, events);
            let more = after.peak_mib - memory;
            figures.push(("cpu_ms_per_event", (cpu_ms * 100.0).round() / 100.0));
            figures.push(("p99_ms_of_others", during.p99().as_millis() as f64));
            figures.push(("more_memory_mib", more.round()));
            during.all_done()?;
            at_most("p99 of others", during.p99(), (2, self.baseline), FLOOR)?;
            self.within("ms of processor time for each event", cpu_ms, self.options.cpu_ms)?;
            self.within("MiB more memory", more, self.options.memory_mib)
        };
        let outcome = case.await;
        for (figure, value) in figures {
            report.figure(&format!("{}_{figure}", name.replace(' ', "_")), value);
        }
        report.case(&format!("{name}: {events} events"), async { outcome }).await;
        self.report = report;
    }

    fn within(&self, what: &str, value: f64, limit: f64) -> Result<()> {
        ensure!(value <= limit, "{value:.2} {what}, at most {limit} were expected");
        Ok(())
    }

    /// Says how it went.
    pub(super) fn end(self) -> Result<bool> {
        if self.report.failed() > 0 {
            say(&self.server.log_tail());
        }
        self.report.finish(self.options.json.as_deref())
    }
}
