//! `kill -9` at random moments under load: nothing that was acknowledged is lost or there twice,
//! no one-time key is handed out twice, and messages to devices come once.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    keys::Keys,
    load::{Sender, send_all},
    messages::Messages,
};
use crate::{
    client::User,
    random,
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// How many of each sender's latest messages are repeated and fetched after each round.
const RECENT: usize = 20;

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

/// All that is done while the server runs.
#[derive(Debug)]
struct Load {
    senders: Vec<Sender>,
    keys: Keys,
    messages: Messages,
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
    let watcher = User::register(&server, "watcher").await?;
    let (senders, rooms) = senders(&server, &watcher, options.senders).await?;
    let (keys, messages) = beside_rooms(&server).await?;
    let mut load = Load { senders, keys, messages };
    let mut report = Report::default();
    let mut figures = Figures::default();
    for round in 1..=options.rounds {
        let moment = Duration::from_millis(rng.random_range(1..=options.longest_ms));
        let name = format!("round {round}: killed after {moment:?}");
        let work = play(&server, &watcher, &rooms, &mut load, moment, &mut figures);
        report.case(&name, work).await;
        if report.failed() > 0 {
            break;
        }
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
    record(&mut report, seed, &load, &mut figures);
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}

/// One account with many devices, two of them in each room, so that senders meet in a room and
/// rooms are written side by side.
async fn senders(
    server: &Server,
    watcher: &User,
    count: usize,
) -> Result<(Vec<Sender>, Vec<String>)> {
    let user = User::register(server, "sender").await?;
    let mut senders = Vec::new();
    let mut rooms = Vec::new();
    for number in 0..count {
        if number % 2 == 0 {
            let room = watcher.create_public_room().await?;
            user.join(&room, &[]).await?;
            rooms.push(room);
        }
        let room = rooms.last().context("no room")?.clone();
        senders.push(Sender::new(user.login().await?, room));
    }
    Ok((senders, rooms))
}

/// What devices do beside sending to rooms.
async fn beside_rooms(server: &Server) -> Result<(Keys, Messages)> {
    let (owner, other) =
        (User::register(server, "owner").await?, User::register(server, "other").await?);
    let keys = Keys::new(owner.clone(), other.clone()).await?;
    Ok((keys, Messages::new(other, owner)))
}

impl Load {
    /// Goes on until everything has lost the server, which is killed meanwhile.
    async fn until_silence(&mut self, server: &Server, moment: Duration) -> Result<()> {
        let senders = tokio::spawn(send_all(std::mem::take(&mut self.senders)));
        let keys = tokio::spawn(self.keys.clone().until_silence());
        let messages = tokio::spawn(self.messages.clone().until_silence());
        tokio::time::sleep(moment).await;
        server.kill()?;
        self.senders = senders.await??;
        self.keys = keys.await??;
        self.messages = messages.await??;
        Ok(())
    }
}

async fn play(
    server: &Server,
    watcher: &User,
    rooms: &[String],
    load: &mut Load,
    moment: Duration,
    figures: &mut Figures,
) -> Result<()> {
    load.until_silence(server, moment).await?;
    figures.ready.push(server.resume().await?);
    for sender in &mut load.senders {
        figures.repeated_unacknowledged += sender.repeat(RECENT).await?;
        sender.verify_by_id(RECENT).await?;
    }
    let mut history = Vec::new();
    for room in rooms {
        history.extend(watcher.history(room).await?);
    }
    for sender in &load.senders {
        sender.verify(&history)?;
    }
    load.keys.verify().await?;
    load.messages.verify().await
}

fn record(report: &mut Report, seed: u64, load: &Load, figures: &mut Figures) {
    figures.ready.sort();
    let milliseconds = |time: Option<&Duration>| {
        time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).unwrap_or_default()
    };
    let events: usize = load.senders.iter().map(|sender| sender.sent.len()).sum();
    report.figure("seed", seed);
    report.figure("kills", figures.ready.len());
    report.figure("events_verified", events);
    report.figure("one_time_keys_handed_out", load.keys.claimed.len());
    report.figure("messages_to_a_device", load.messages.sent);
    report.figure("requests_in_flight_at_a_kill", figures.repeated_unacknowledged);
    report.figure("ready_ms_median", milliseconds(figures.ready.get(figures.ready.len() / 2)));
    report.figure("ready_ms_slowest", milliseconds(figures.ready.last()));
}
