//! The power is cut at random moments under load, and the disk has forgotten what was not synced: nothing that
//! was acknowledged is lost or there twice, and the database opens as it is.
//!
//! The server runs behind a library that notes what it writes to its SQLite file and what it syncs. That the
//! check can fail at all is shown by a disk that says it synced and did not.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail, ensure};
use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    corruption::is_sound,
    disk::{self, Cut, Left},
    shim::{Control, Shim},
    world::World,
};
use crate::{
    random,
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// The files of the database.
const FILES: &str = "/data/starling.db";

/// How the test of a power loss is run.
#[derive(Args, Debug)]
pub struct Options {
    /// How often the power is cut.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// How many devices send at once; two share each room.
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// The longest time under load before a cut, in milliseconds.
    #[arg(long, default_value_t = 1500)]
    longest_ms: u64,
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
    let shim = Shim::new(FILES)?;
    let (server, mut world) = begin(&shim, options.senders).await?;
    let mut report = Report::default();
    let mut sum = Cut::default();
    let ways = [Left::Nothing, Left::SomeWrites, Left::SomeSectors];
    for (round, left) in (1..=options.rounds).zip(ways.into_iter().cycle()) {
        let moment = Duration::from_millis(rng.random_range(1..=options.longest_ms));
        let name = format!("round {round}: cut after {moment:?}, {}", words(left));
        let work = async {
            let cut = play(&shim, &server, &mut world, (moment, left), &mut rng).await?;
            (sum.syncs, sum.unsynced) = (sum.syncs + cut.syncs, sum.unsynced + cut.unsynced);
            Ok(())
        };
        report.case(&name, work).await;
        if report.failed() > 0 {
            say(&server.log_tail());
            break;
        }
    }
    if report.failed() == 0 {
        report.case("nothing that is stored is damaged", is_sound(&server)).await;
    }
    let noticed = async {
        ensure!(sum.syncs > 0 && sum.unsynced > 0, "there was nothing to forget: {sum:?}");
        Ok(())
    };
    report.case("the disk had something to forget", noticed).await;
    report.case("a disk that lies is found out", lie(options.senders, &mut rng)).await;
    report.figure("seed", seed);
    report.figure("events_verified", world.events());
    report.figure("one_time_keys_handed_out", world.keys());
    report.figure("messages_to_a_device", world.messages());
    report.figure("syncs", sum.syncs);
    report.figure("writes_not_synced_at_a_cut", sum.unsynced);
    report.finish(options.json.as_deref())
}

fn words(left: Left) -> &'static str {
    match left {
        Left::Nothing => "nothing left that was not synced",
        Left::SomeWrites => "some writes left",
        Left::SomeSectors => "some sectors left",
    }
}

async fn begin(shim: &Shim, senders: usize) -> Result<(Server, World)> {
    let spec = Spec::new(Kind::Starling)?.on(DatabaseKind::Sqlite);
    let server = shim.before(spec)?.start(&TestCa::new()?).await?;
    let world = World::new(&server, senders).await?;
    Ok((server, world))
}

/// Cuts the power under load, starts the server on what is left, and looks.
async fn play(
    shim: &Shim,
    server: &Server,
    world: &mut World,
    (moment, left): (Duration, Left),
    rng: &mut StdRng,
) -> Result<Cut> {
    world.until_killed(server, moment).await?;
    let cut = disk::cut(&shim.log(), left, rng)?;
    shim.forget()?;
    server.resume().await?;
    world.verify().await?;
    Ok(cut)
}

/// A disk that says it synced and did not loses what was acknowledged, which must be noticed.
async fn lie(senders: usize, rng: &mut StdRng) -> Result<()> {
    let shim = Shim::new(FILES)?;
    let (server, mut world) = begin(&shim, senders).await?;
    // What there is already is synced, so that it is the load that is lost and not the accounts.
    world.until_killed(&server, Duration::from_millis(50)).await?;
    shim.forget()?;
    server.resume().await?;
    world.verify().await?;
    shim.set(Control { lies: true, ..Control::default() })?;
    let cut = (Duration::from_millis(500), Left::Nothing);
    match play(&shim, &server, &mut world, cut, rng).await {
        Ok(cut) => bail!("nothing was lost: {cut:?}"),
        Err(error) => {
            say(&format!("    noticed, as it must be: {error:#}"));
            Ok(())
        }
    }
}
