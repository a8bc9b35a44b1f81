//! `starling-conformance bench large-join`: joining a room with many members of many servers.

pub mod room;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::json;

use self::room::{LargeRoom, Size};
use crate::{
    client::{Sync, User, path},
    report::{Report, say},
    servers::{DatabaseKind, Kind, Spec, TestCa},
};

/// How long a large room may take to be complete.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long one question for news waits.
const POLL: Duration = Duration::from_secs(10);

/// How to run it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How many members the room has.
    #[arg(long, default_value_t = 50_000)]
    members: usize,
    /// On how many servers they are, each with a key of its own.
    #[arg(long, default_value_t = 2_000)]
    servers: usize,
    /// How long it may take until all members are known, in seconds.
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// How much memory the server may use at its most, in MiB.
    #[arg(long, default_value_t = 400)]
    mib: u64,
    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Joins such a room once with all its members and once without them, on a server of its own each.
///
/// # Errors
///
/// When the room cannot be made, or the report not be written.
pub async fn run(options: Options) -> Result<bool> {
    let size = Size { members: options.members, servers: options.servers };
    let mut report = Report::default();
    let (ca, begun) = (TestCa::new()?, Instant::now());
    let room = LargeRoom::make(&ca, size).await?;
    say(&format!("the room was made in {:?}", begun.elapsed()));
    for omit in [false, true] {
        let how = if omit { "its members come later" } else { "with all its members" };
        let name = format!("a room of {} on {} servers, {how}", size.members, size.servers);
        let outcome = measure(&options, &ca, &room, omit).await;
        if let Ok(figures) = &outcome {
            for (figure, value) in figures.named() {
                report.figure(&format!("{how}: {figure}"), value);
            }
        }
        report.case(&name, async { outcome?.within(&options) }).await;
    }
    report.finish(options.json.as_deref())
}

/// What a join cost.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Until the join was answered.
    answered: Duration,
    /// Until the client's `/sync` had the room.
    seen: Duration,
    /// Until all members were known.
    whole: Duration,
    /// The most memory that the server used, in bytes.
    peak: u64,
}

impl Figures {
    fn named(&self) -> [(&'static str, f64); 4] {
        let seconds = |time: Duration| (time.as_secs_f64() * 100.0).round() / 100.0;
        [
            ("seconds until the join is answered", seconds(self.answered)),
            ("seconds until the client sees the room", seconds(self.seen)),
            ("seconds until all members are known", seconds(self.whole)),
            ("MiB at most", f64::from(u32::try_from(self.peak >> 20).unwrap_or(u32::MAX))),
        ]
    }

    fn within(&self, options: &Options) -> Result<()> {
        let limit = Duration::from_secs(options.seconds);
        ensure!(self.whole < limit, "it took {:?}, not {limit:?}", self.whole);
        let mib = self.peak >> 20;
        ensure!(mib < options.mib, "{mib} MiB were used, not {}", options.mib);
        Ok(())
    }
}

async fn measure(options: &Options, ca: &TestCa, room: &LargeRoom, omit: bool) -> Result<Figures> {
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let mut spec = Spec::new(Kind::Starling)?.on(database);
    spec.peers.extend(room.names.clone());
    let server = spec.start(ca).await?;
    let alice = User::register(&server, "alice").await?;
    let mut followed = Sync::start_with(&alice, &lazily()).await?;
    room.serve(omit);
    room.tell.notify_one();

    let begun = Instant::now();
    let join = async {
        alice.join(&room.id, &[&room.peer.name]).await?;
        anyhow::Ok(begun.elapsed())
    };
    let see = async {
        while followed.poll(POLL).await?["rooms"]["join"].get(&room.id).is_none() {
            ensure!(begun.elapsed() < PATIENCE, "/sync does not have the room");
        }
        anyhow::Ok(begun.elapsed())
    };
    let (answered, seen) = tokio::try_join!(join, see)?;
    let members = wait_for_members(&alice, &room.id).await?;
    let whole = begun.elapsed();
    ensure!(members == room.members.len() + 1, "{members} members are known");
    let peak = server.peak_memory().context("the system does not tell the memory")?;
    Ok(Figures { answered, seen, whole, peak })
}

/// The filter of a client that asks for members as it needs them.
pub fn lazily() -> serde_json::Value {
    json!({ "room": { "state": { "lazy_load_members": true } } })
}

/// How many members the room has, once the server knows all of them.
///
/// # Errors
///
/// When it does not in five minutes, or says something else.
pub async fn wait_for_members(user: &User, room: &str) -> Result<usize> {
    let begun = Instant::now();
    loop {
        let target = path("/_matrix/client/v3/rooms/{}/joined_members", &[room]);
        let answer = user.api.get(&target).await?;
        // The server waits for what others have to tell first, and then says that they did not.
        if answer.status != 504 || begun.elapsed() > PATIENCE {
            return Ok(answer.ok()?["joined"].as_object().context("no members")?.len());
        }
    }
}
