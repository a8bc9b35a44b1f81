//! The clock jumps forward and back by a day, under load: nothing is refused, lost, there twice or out of order.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use super::{
    crowd::Crowd,
    shim::{Control, Shim},
};
use crate::{
    evil::now,
    report::{Report, say},
    servers::{DatabaseKind, Kind, Spec, TestCa},
};

const MINUTE_MS: i64 = 60 * 1_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// How far the clock is ahead, one after the other.
const JUMPS: [i64; 8] =
    [DAY_MS, 0, -DAY_MS, DAY_MS, -10 * MINUTE_MS, 10 * MINUTE_MS, -10 * DAY_MS, 0];

/// How many messages are acknowledged between two jumps.
const MESSAGES: usize = 40;

/// How the test of a wrong clock is run.
#[derive(Args, Debug)]
pub struct Options {
    /// How often the clock goes through all its jumps.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// How many devices send at once; two share each room.
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs all rounds and tells whether everything held.
pub async fn run(options: Options) -> Result<bool> {
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let shim = Shim::new("/no file/")?;
    let spec = Spec::new(Kind::Starling)?.on(database);
    let server = shim.before(spec)?.start(&TestCa::new()?).await?;
    let mut crowd = Crowd::start(&server, options.senders).await?;
    let mut report = Report::default();
    for clock_ms in JUMPS.into_iter().cycle().take(JUMPS.len() * options.rounds) {
        let name = format!("the clock is {} minutes ahead", clock_ms / MINUTE_MS);
        let work = async {
            crowd.more(MESSAGES).await?;
            shim.set(Control { clock_ms, ..Control::default() })?;
            crowd.more(MESSAGES).await?;
            crowd.read().await?;
            let off_ms = crowd.newest_ts().await? - i64::try_from(now())? - clock_ms;
            ensure!(off_ms.abs() < 5 * MINUTE_MS, "its clock is wrong by {off_ms} ms more");
            Ok(())
        };
        report.case(&name, work).await;
        if report.failed() > 0 {
            break;
        }
    }
    let seen = crowd.seen();
    report
        .case("nothing was refused", async {
            ensure!(seen.refused == 0, "{} messages were refused", seen.refused);
            Ok(())
        })
        .await;
    let end = async { crowd.end().await.map(drop) };
    report.case("all that was acknowledged is there once", end).await;
    report.figure("messages_acknowledged", seen.acknowledged);
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}
