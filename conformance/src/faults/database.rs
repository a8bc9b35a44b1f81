//! PostgreSQL goes away under load and comes back: stopped in order, or killed. What was acknowledged is there
//! once, whoever asks meanwhile is told to come again, and nobody has to help the server.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{task::spawn_blocking, time::Instant};

use super::crowd::Crowd;
use crate::{
    random,
    report::{Report, say},
    servers::{Kind, Postgres, Spec, TestCa, postgres::End},
};

/// How many messages are acknowledged before the database goes, and after it has come back.
const MESSAGES: usize = 40;

/// How the test of a database that restarts is run.
#[derive(Args, Debug)]
pub struct Options {
    /// How often the database goes.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// How many devices send at once; two share each room.
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// The longest time for which the database is away, in milliseconds.
    #[arg(long, default_value_t = 3000)]
    longest_ms: u64,
    /// Within this time after the database takes connections a message must be acknowledged, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    recovers_ms: u64,
    /// Repeats the moments of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs all rounds and tells whether everything held.
pub async fn run(options: Options) -> Result<bool> {
    let seed = options.seed.map_or_else(random::seed, Ok)?;
    say(&format!("seed: {seed}"));
    let mut rng = StdRng::seed_from_u64(seed);
    let database = spawn_blocking(Postgres::start).await??;
    let server = Spec::new(Kind::Starling)?.on_postgres(&database).start(&TestCa::new()?).await?;
    let mut crowd = Crowd::start(&server, options.senders).await?;
    let mut report = Report::default();
    let mut slowest = Duration::ZERO;
    for (round, end) in (1..=options.rounds).zip([End::Crash, End::Fast].into_iter().cycle()) {
        let away = Duration::from_millis(rng.random_range(1..=options.longest_ms));
        let name = format!("round {round}: {end:?}, away for {away:?}");
        let work = async {
            crowd.more(MESSAGES).await?;
            slowest = slowest.max(play(&database, &mut crowd, end, away).await?);
            Ok(())
        };
        report.case(&name, work).await;
        if report.failed() > 0 {
            break;
        }
    }
    let limit = Duration::from_millis(options.recovers_ms);
    let name = format!("a message is acknowledged within {limit:?} each time");
    report
        .case(&name, async {
            ensure!(slowest <= limit, "once it took {slowest:?}");
            Ok(())
        })
        .await;
    let seen = crowd.seen();
    let end = async { crowd.end().await.map(drop) };
    report.case("all that was acknowledged is there once", end).await;
    report.figure("seed", seed);
    report.figure("messages_acknowledged", seen.acknowledged);
    report.figure("messages_refused", seen.refused);
    report.figure("recovered_ms_slowest", u64::try_from(slowest.as_millis())?);
    report.figure("acknowledged_ms_slowest", u64::try_from(seen.slowest.as_millis())?);
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}

/// How long it took from the database's return until the next message was acknowledged.
async fn play(
    database: &Postgres,
    crowd: &mut Crowd,
    end: End,
    away: Duration,
) -> Result<Duration> {
    tokio::task::block_in_place(|| database.end(end))?;
    tokio::time::sleep(away).await;
    tokio::task::block_in_place(|| database.resume())?;
    let back = Instant::now();
    crowd.more(1).await?;
    let recovered = back.elapsed();
    crowd.more(MESSAGES).await?;
    Ok(recovered)
}
