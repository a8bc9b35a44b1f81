//! `starling-conformance bench start-up`: how soon a server that has much answers again, after it was stopped and after
//! it was killed.

mod fill;
mod proof;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use self::fill::Filled;
use super::{
    disk::disk,
    measure::{Series, cpu_ms_each},
    process::{Usage, Watched},
    show::{self, Played},
    stage::Stage,
    sync::sync,
};
use crate::{
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// How often a server that starts is asked.
const GLANCE: Duration = Duration::from_millis(2);

/// How to run it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How much the database has at least, in MiB.
    #[arg(long, default_value_t = 1024)]
    pub mib: u64,

    /// In how many rooms.
    #[arg(long, default_value_t = 50)]
    pub rooms: usize,

    /// How often the server is started after it was stopped, and after it was killed.
    #[arg(long, default_value_t = 5)]
    pub starts: usize,

    /// In how many rooms somebody speaks at once while it is filled.
    #[arg(long, default_value_t = 16)]
    pub concurrency: usize,

    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    pub database: Option<DatabaseKind>,

    /// Also write the report to this file, as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// How the server ends before it is started.
#[derive(Clone, Copy, Debug)]
enum End {
    Stopped,
    Killed,
}

/// Fills a server, measures how it starts, and tells whether nothing was lost.
///
/// # Errors
///
/// When the server cannot be started or filled.
pub async fn run(options: Options) -> Result<bool> {
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let server = Spec::new(Kind::Starling)?.on(database).start(&TestCa::new()?).await?;
    let stage = Stage::new(&server.client_url(), 100, options.concurrency)?;
    let (mut report, mut played) = (Report::default(), Vec::new());
    let mut filled = Filled::new(&stage, options.rooms).await?;
    let (begun, wanted) = (Instant::now(), options.mib << 20);
    filled.until(&stage, &server, wanted).await?;
    report.figure("seconds to fill it", begun.elapsed().as_secs());
    report.figure("messages", filled.messages());
    report.figure("MiB in the database", disk(&server).await? >> 20);
    for (name, end) in [("after SIGTERM", End::Stopped), ("after kill -9", End::Killed)] {
        let outcome = starts(&stage, &server, &mut filled, options.starts.max(1), end).await;
        if let Ok((series, usage)) = &outcome {
            let each = cpu_ms_each(usage.cpu_seconds, options.starts);
            report.figure(&format!("{name}: CPU ms of each start"), each.round());
            played.push(Played::new(name, series, *usage));
        }
        report
            .case(name, async {
                outcome?;
                filled.verify().await
            })
            .await;
    }
    say(&show::table(&played));
    report.keep("starts", json!(played));
    report.finish(options.json.as_deref())
}

/// How long one start took, from when the process was made.
#[derive(Clone, Copy, Debug)]
struct Start {
    versions: Duration,
    incremental: Duration,
    initial: Duration,
    usage: Usage,
}

async fn starts(
    stage: &Stage,
    server: &Server,
    filled: &mut Filled,
    count: usize,
    end: End,
) -> Result<([Series; 3], Usage)> {
    let mut starts = Vec::new();
    for _ in 0..count {
        starts.push(start(stage, server, filled, end).await?);
    }
    let series = |name, of: fn(&Start) -> Duration| {
        let taken: Vec<Duration> = starts.iter().map(of).collect();
        let elapsed = taken.iter().sum();
        Series::new(name, taken, elapsed)
    };
    let series = [
        series("until /versions is answered", |start| start.versions),
        series("until the first incremental /sync", |start| start.incremental),
        series("until the first initial /sync", |start| start.initial),
    ];
    let mut usage = Usage { cpu_seconds: 0.0, database_seconds: 0.0, peak_mib: 0.0 };
    for start in &starts {
        usage.cpu_seconds += start.usage.cpu_seconds;
        usage.database_seconds += start.usage.database_seconds;
        usage.peak_mib = usage.peak_mib.max(start.usage.peak_mib);
    }
    Ok((series, usage))
}

/// Something more is said in every room, of which a user is told when the server is there again.
async fn start(stage: &Stage, server: &Server, filled: &mut Filled, end: End) -> Result<Start> {
    let known = sync(&filled.follower, None, 0).await?;
    let since = known["next_batch"].as_str().context("no next_batch")?;
    Watched::server(server)?.settled().await?;
    filled.say_news(stage).await?;
    match end {
        End::Stopped => ensure!(server.stop()? == Some(0), "the server did not end well"),
        End::Killed => server.kill()?,
    }
    let begun = Instant::now();
    let asked = async {
        // An address at which nobody listens yet is not worth a word.
        while !stage.api.get("/_matrix/client/versions").await.is_ok_and(|it| it.status == 200) {
            tokio::time::sleep(GLANCE).await;
        }
        Ok(begun.elapsed())
    };
    let (_, versions) = tokio::try_join!(server.resume(), asked)?;
    let news = sync(&filled.follower, Some(since), 0).await?;
    let incremental = begun.elapsed();
    let all = sync(&filled.follower, None, 0).await?;
    let initial = begun.elapsed();
    let usage = Watched::server(server)?.settled().await?;
    for answer in [news, all] {
        proof::shows_the_latest(filled, &answer)?;
    }
    Ok(Start { versions, incremental, initial, usage })
}
