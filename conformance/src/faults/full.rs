//! The disk is full for a while, under load: what cannot be written is refused and not half done, reading goes
//! on, and when there is room again everything is taken, without anybody's help.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tokio::time::Instant;

use super::{
    crowd::Crowd,
    shim::{Control, Shim},
};
use crate::{
    report::{Report, say},
    servers::{DatabaseKind, Kind, Spec, TestCa},
};

/// How many messages are acknowledged before the disk is full, and after there is room again.
const MESSAGES: usize = 40;

/// How long the server may take to notice that there is room.
const RECOVERS_WITHIN: Duration = Duration::from_secs(5);

/// How the test of a full disk is run.
#[derive(Args, Debug)]
pub struct Options {
    /// How often the disk is full.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// How many devices send at once; two share each room.
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs all rounds and tells whether everything held.
pub async fn run(options: Options) -> Result<bool> {
    let shim = Shim::new("/data/")?;
    let spec = Spec::new(Kind::Starling)?.on(DatabaseKind::Sqlite);
    let server = shim.before(spec)?.start(&TestCa::new()?).await?;
    let mut crowd = Crowd::start(&server, options.senders).await?;
    let mut report = Report::default();
    for round in 1..=options.rounds {
        let name = format!("round {round}: full, and then not");
        report.case(&name, play(&shim, &mut crowd)).await;
        if report.failed() > 0 {
            break;
        }
    }
    shim.set(Control::default())?;
    let seen = crowd.seen();
    let end = async { crowd.end().await.map(drop) };
    report.case("all that was acknowledged is there once", end).await;
    report
        .case("the server ends as it should, and starts", async {
            ensure!(server.stop()? == Some(0), "it ended with an error");
            server.resume().await.map(drop)
        })
        .await;
    report.figure("messages_acknowledged", seen.acknowledged);
    report.figure("messages_refused", seen.refused);
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}

async fn play(shim: &Shim, crowd: &mut Crowd) -> Result<()> {
    crowd.more(MESSAGES).await?;
    shim.set(Control { full: true, ..Control::default() })?;
    crowd.refused().await.context("nothing was refused")?;
    crowd.read().await.context("reading")?;
    shim.set(Control::default())?;
    let begun = Instant::now();
    crowd.more(1).await?;
    ensure!(
        begun.elapsed() < RECOVERS_WITHIN,
        "the first message came after {:?}",
        begun.elapsed()
    );
    crowd.more(MESSAGES).await?;
    Ok(())
}
