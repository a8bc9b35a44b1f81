//! `starling-conformance destinations`: a server has a thousand others to send to, most of which are
//! dead: they refuse connections, take them and say nothing, or say that they are down. Measured is what
//! that costs whoever speaks, and how soon those hear it that live.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    client::{User, path},
    evil::{Peer, Reply},
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// How many servers join at a time.
const AT_A_TIME: usize = 4;
/// How long the living may take to hear the first message after the others died.
const FIRST_LIMIT: Duration = Duration::from_secs(90);
/// How long they may take from then on, in a debug build beside other tests.
const LATER_LIMIT: Duration = Duration::from_secs(15);
/// How long one who came back may take to hear what it missed, once it spoke.
const BACK_LIMIT: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);

/// How many servers there are, and how many of them live.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How many servers are in the room.
    #[arg(long, default_value_t = 1000)]
    servers: usize,
    /// How many of them stay alive.
    #[arg(long, default_value_t = 100)]
    alive: usize,
    /// How many messages are measured.
    #[arg(long, default_value_t = 100)]
    messages: usize,
    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures, and tells whether all was within bounds.
pub async fn run(options: Options) -> Result<bool> {
    let ca = TestCa::new()?;
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let server = Spec::new(Kind::Starling)?.on(database).start(&ca).await?;
    let mut report = Report::default();
    let name = format!("{} servers of which {} live", options.servers, options.alive);
    let mut figures = BTreeMap::new();
    let case = async {
        let crowd = Crowd { servers: options.servers, alive: options.alive };
        figures = crowd.play(&server, &ca, options.messages).await?;
        Ok(())
    };
    report.case(&name, case).await;
    for (name, value) in figures {
        report.figure(name, value);
    }
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}

/// Servers in a room, most of which die.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// How many.
    pub servers: usize,
    /// How many stay alive.
    pub alive: usize,
}

impl Crowd {
    /// Plays it with this server, and gives what was measured, in milliseconds.
    pub async fn play(
        self,
        server: &Server,
        ca: &TestCa,
        messages: usize,
    ) -> Result<BTreeMap<&'static str, u64>> {
        let mut figures = BTreeMap::new();
        let alice = User::register(server, "alice").await?;
        let (alone, room) = (alice.create_public_room().await?, alice.create_public_room().await?);
        let mut peers = self.join(server, ca, &room).await?;
        let (median, high) = timed(&alice, &alone, messages).await?;
        figures.insert("send_alone_median_ms", median);
        figures.insert("send_alone_95th_ms", high);

        // Some of the dead take connections and say nothing, some say that they are down, and the
        // others are gone.
        let mut dead = peers.split_off(self.alive.min(peers.len()));
        dead.truncate(dead.len() * 2 / 3);
        let down = dead.split_off(dead.len() / 2);
        dead.iter().for_each(|peer| peer.script(|_| Some(Reply::Silence)));
        for peer in &down {
            peer.script(|_| Some(Reply::error(503, "M_UNKNOWN")));
        }
        alice.say(&room, "most are dead").await?;
        figures.insert("first_heard_ms", heard(&peers, "most are dead", FIRST_LIMIT).await?);
        let (median, high) = timed(&alice, &room, messages).await?;
        figures.insert("send_to_all_median_ms", median);
        figures.insert("send_to_all_95th_ms", high);
        alice.say(&room, "still here").await?;
        figures.insert("later_heard_ms", heard(&peers, "still here", LATER_LIMIT).await?);

        if let Some(back) = down.first() {
            figures.insert("back_heard_ms", come_back(back, server, &alice.id).await?);
        }
        Ok(figures)
    }

    /// Lets that many servers join; what the room's state is they do not look at.
    async fn join(self, server: &Server, ca: &TestCa, room: &str) -> Result<Vec<Peer>> {
        let join = |number: usize| async move {
            let peer = Peer::start(ca).await?;
            let user = peer.user(&format!("user{number}"));
            let (_, event) = peer.join_event(server, room, &user).await?;
            let target = path("/_matrix/federation/v2/send_join/{}/{}", &[room, &event.id]);
            peer.put(server, &target, &event.pdu).await?.ok()?;
            anyhow::Ok(peer)
        };
        stream::iter(0..self.servers).map(join).buffered(AT_A_TIME).try_collect().await
    }
}

/// How long it takes until a server that was down has what it missed, once it asks something. It goes on
/// asking: what it says while it is just being tried, and fails, is not waited for.
async fn come_back(peer: &Peer, server: &Server, user: &str) -> Result<u64> {
    let begun = Instant::now();
    peer.be_honest();
    let target = path("/_matrix/federation/v1/query/profile?user_id={}", &[user]);
    while !has_heard(peer, "still here") {
        ensure!(begun.elapsed() < BACK_LIMIT, "who came back heard nothing in {BACK_LIMIT:?}");
        peer.get(server, &target).await?.ok()?;
        tokio::time::sleep(GLANCE).await;
    }
    Ok(millis(begun.elapsed()))
}

fn has_heard(peer: &Peer, body: &str) -> bool {
    let transactions = peer.seen("send");
    let mut pdus = transactions.iter().flat_map(|request| request.pdus());
    pdus.any(|pdu| pdu["content"]["body"] == body)
}

/// How long a message takes whoever sends it: the median and the 95th percentile.
async fn timed(user: &User, room: &str, count: usize) -> Result<(u64, u64)> {
    let mut times = Vec::with_capacity(count);
    for number in 0..count {
        let begun = Instant::now();
        user.say(room, &format!("message {number}")).await?;
        times.push(millis(begun.elapsed()));
    }
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    let median = at(50).copied().context("nothing was measured")?;
    Ok((median, at(95).copied().unwrap_or(median)))
}

/// How long it takes until all of them have received a message.
async fn heard(peers: &[Peer], body: &str, limit: Duration) -> Result<u64> {
    let begun = Instant::now();
    let mut waiting: Vec<&Peer> = peers.iter().collect();
    loop {
        waiting.retain(|peer| !has_heard(peer, body));
        if waiting.is_empty() {
            return Ok(millis(begun.elapsed()));
        }
        if begun.elapsed() > limit {
            bail!("{} of {} have not heard '{body}' after {limit:?}", waiting.len(), peers.len());
        }
        tokio::time::sleep(GLANCE).await;
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
