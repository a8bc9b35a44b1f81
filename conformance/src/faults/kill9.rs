//! `kill -9` at random moments under load: nothing that was acknowledged is lost or there twice,
//! no one-time key is handed out twice, and messages to devices come once.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{corruption::is_sound, world::World};
use crate::{
    random,
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// How to run the crash test.
#[derive(Args, Debug)]
pub struct Options {
    /// How often the server is killed.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// How many devices send at once; two share each room.
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// The longest time under load before a kill, in milliseconds.
    #[arg(long, default_value_t = 1500)]
    longest_ms: u64,
    /// The server must be ready again within this time after its start, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    ready_ms: u64,
    /// Repeats the moments of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// The server under test.
    #[arg(long, value_enum, default_value_t = Kind::Starling)]
    server: Kind,
    /// Its database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What is measured over the rounds.
#[derive(Debug, Default)]
struct Figures {
    ready: Vec<Duration>,
    /// Requests in flight at a kill, which were sent again afterwards.
    repeated_unacknowledged: usize,
}

/// Runs all rounds and tells whether everything held.
pub async fn run(options: Options) -> Result<bool> {
    let seed = options.seed.map_or_else(random::seed, Ok)?;
    say(&format!("seed: {seed}"));
    let mut rng = StdRng::seed_from_u64(seed);
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let server = Spec::new(options.server)?.on(database).start(&TestCa::new()?).await?;
    let mut world = World::new(&server, options.senders).await?;
    let mut report = Report::default();
    let mut figures = Figures::default();
    for round in 1..=options.rounds {
        let moment = Duration::from_millis(rng.random_range(1..=options.longest_ms));
        let name = format!("round {round}: killed after {moment:?}");
        let work = play(&server, &mut world, moment, &mut figures);
        report.case(&name, work).await;
        if report.failed() > 0 {
            break;
        }
    }
    if options.server == Kind::Starling && report.failed() == 0 {
        report.case("nothing that is stored is damaged", is_sound(&server)).await;
    }
    let slowest = figures.ready.iter().max().copied().unwrap_or_default();
    let limit = Duration::from_millis(options.ready_ms);
    let name = format!("ready again within {limit:?} each time");
    report
        .case(&name, async {
            ensure!(slowest <= limit, "the slowest start took {slowest:?}");
            Ok(())
        })
        .await;
    record(&mut report, seed, &world, &mut figures);
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}

async fn play(
    server: &Server,
    world: &mut World,
    moment: Duration,
    figures: &mut Figures,
) -> Result<()> {
    world.until_killed(server, moment).await?;
    figures.ready.push(server.resume().await?);
    figures.repeated_unacknowledged += world.verify().await?;
    Ok(())
}

fn record(report: &mut Report, seed: u64, world: &World, figures: &mut Figures) {
    figures.ready.sort();
    let milliseconds = |time: Option<&Duration>| {
        time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).unwrap_or_default()
    };
    report.figure("seed", seed);
    report.figure("kills", figures.ready.len());
    report.figure("events_verified", world.events());
    report.figure("one_time_keys_handed_out", world.keys());
    report.figure("messages_to_a_device", world.messages());
    report.figure("requests_in_flight_at_a_kill", figures.repeated_unacknowledged);
    report.figure("ready_ms_median", milliseconds(figures.ready.get(figures.ready.len() / 2)));
    report.figure("ready_ms_slowest", milliseconds(figures.ready.last()));
}
