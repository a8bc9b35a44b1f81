//! Getting the rest of the state of rooms that were joined with a part of it.
//!
//! Which rooms these are is a row, and which of their events are affected a mark on those, so this
//! goes on after a restart. Servers in the room are asked in turn ([`fetch`]); what arrived meanwhile
//! is judged anew, each event after those it follows ([`settle`]). Servers that turn out to have been in
//! the room are told what they missed ([`missed`]).

mod fetch;

mod missed;

mod settle;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use ruma::{
    OwnedEventId, OwnedRoomId, OwnedServerName, RoomId, RoomVersionId,
    room_version_rules::RoomVersionRules,
};
use starling_storage::rooms::{
    self,
    partial::{self as rows, PartialRow},
};
use tokio::{task::JoinSet, time::Instant};

use self::settle::{Settled, States};
use super::{membership::local, receive::fetch::Peer};
use crate::{Engine, events::store, internal::Internal};

/// How many rooms are worked on at a time. A round over a room's servers ends, and others get their
/// turn.
const AT_A_TIME: usize = 16;
/// How many servers are asked in one round.
const SERVERS: usize = 6;
/// How many servers are asked for the state before an event that says itself what it follows.
const SERVERS_FOR_OTHERS: usize = 2;
/// How long the first pause after a round in vain is, and how long the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);
/// How often it is looked for rooms that another process left over.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How it stands with a room.
#[derive(Debug)]
struct Progress {
    rounds: u32,
    not_before: Instant,
    is_running: bool,
}

/// What came of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The whole state is known, or the room is no more.
    Done,
    /// No server helped.
    Failed,
}

/// Completes rooms, until the process shuts down.
pub async fn run(engine: Engine) {
    let mut rooms: HashMap<String, Progress> = HashMap::new();
    let mut running: JoinSet<(String, Outcome)> = JoinSet::new();
    loop {
        if let Err(error) = start_due(&engine, &mut rooms, &mut running).await {
            tracing::warn!(%error, "incomplete rooms could not be looked up");
        }
        tokio::select! {
            // What is under way goes on after a restart.
            () = engine.shutdown.cancelled() => return,
            () = engine.partial.wake.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Some(ended) = running.join_next(), if !running.is_empty() => ended_round(&mut rooms, ended),
        }
    }
}

/// One round for each incomplete room, now, for tests that decide themselves when that is; whether all are
/// complete.
///
/// # Errors
///
/// When the database fails.
#[cfg(any(test, feature = "test-support"))]
pub async fn round_now(engine: &Engine, round: u32) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    let all = rows::all(&mut conn).await?;
    drop(conn);
    let mut is_done = true;
    for row in all {
        is_done &= one_round(engine, &row, round).await? == Outcome::Done;
    }
    Ok(is_done)
}

async fn start_due(
    engine: &Engine,
    rooms: &mut HashMap<String, Progress>,
    running: &mut JoinSet<(String, Outcome)>,
) -> Result<(), Internal> {
    let mut conn = engine.storage.read().await?;
    let all = rows::all(&mut conn).await?;
    drop(conn);
    let known: HashSet<&str> = all.iter().map(|row| row.room_id.as_str()).collect();
    rooms.retain(|room_id, progress| progress.is_running || known.contains(room_id.as_str()));
    let now = Instant::now();
    let mut due: Vec<PartialRow> = all
        .into_iter()
        .filter(|row| {
            let progress = rooms.get(&row.room_id);
            progress.is_none_or(|it| !it.is_running && it.not_before <= now)
        })
        .collect();
    // Those that were tried least come first.
    due.sort_by_key(|row| rooms.get(&row.room_id).map_or(0, |progress| progress.rounds));
    for row in due.into_iter().take(AT_A_TIME.saturating_sub(running.len())) {
        let progress = rooms.entry(row.room_id.clone()).or_insert(Progress {
            rounds: 0,
            not_before: now,
            is_running: true,
        });
        progress.is_running = true;
        let (engine, round) = (engine.clone(), progress.rounds);
        running.spawn(async move {
            let outcome = one_round(&engine, &row, round).await.unwrap_or_else(|error| {
                tracing::warn!(%error, room.id = row.room_id, "a room could not be completed yet");
                Outcome::Failed
            });
            (row.room_id, outcome)
        });
    }
    Ok(())
}

fn ended_round(
    rooms: &mut HashMap<String, Progress>,
    ended: Result<(String, Outcome), tokio::task::JoinError>,
) {
    match ended {
        Ok((room_id, Outcome::Done)) => drop(rooms.remove(&room_id)),
        Ok((room_id, Outcome::Failed)) => {
            let Some(progress) = rooms.get_mut(&room_id) else { return };
            let pause = FIRST_PAUSE.saturating_mul(1 << progress.rounds.min(16));
            progress.rounds = progress.rounds.saturating_add(1);
            progress.not_before = Instant::now() + pause.min(LONGEST_PAUSE);
            progress.is_running = false;
        }
        Err(error) => {
            // Which one it was is not told: none runs that is not in the set.
            tracing::error!(%error, "completing a room broke");
            let later = Instant::now() + LONGEST_PAUSE;
            for progress in rooms.values_mut() {
                if progress.is_running {
                    progress.is_running = false;
                    progress.not_before = later;
                }
            }
        }
    }
}

/// Asks some servers for what is missing of a room, and settles what can be settled with it.
async fn one_round(engine: &Engine, row: &PartialRow, round: u32) -> Result<Outcome, Internal> {
    let room_id = OwnedRoomId::try_from(row.room_id.as_str())?;
    let Some(version) = store::room_version(engine, &room_id).await? else {
        return Ok(Outcome::Done);
    };
    let servers = servers(engine, row, round).await?;
    let inquiry = Inquiry { engine, room_id: &room_id, version: &version, servers: &servers };
    let mut states = States::default();
    loop {
        let lacking = match settle::settle(engine, row, &states).await? {
            Settled::Whole => {
                tracing::info!(room.id = %room_id, "The whole state of a room is known");
                engine.partial.completed();
                return Ok(Outcome::Done);
            }
            Settled::Gone => return Ok(Outcome::Done),
            Settled::Lacks(lacking) => lacking,
        };
        if !inquiry.learn(lacking, &mut states).await? {
            return failed(engine, &room_id).await;
        }
    }
}

/// Whom to ask for the states of a room.
struct Inquiry<'a> {
    engine: &'a Engine,
    room_id: &'a RoomId,
    version: &'a (RoomVersionId, RoomVersionRules),
    servers: &'a [OwnedServerName],
}

impl Inquiry<'_> {
    /// Asks for what is lacking; `false` when nobody tells what nothing goes on without.
    async fn learn(&self, lacking: Lacking, states: &mut States) -> Result<bool, Internal> {
        let Lacking { after, before, is_vital } = lacking;
        let limit = if is_vital { SERVERS } else { SERVERS_FOR_OTHERS };
        for event_id in after {
            let mut state = None;
            for peer in self.peers().take(limit) {
                state = fetch::state_after(&peer, &self.version.0, &event_id).await?;
                if state.is_some() {
                    break;
                }
            }
            // Without the states after all that an event follows, the merged others are an older state.
            if state.is_none() {
                let is_told = self.learn_before(&before, states, limit).await?;
                if is_told || is_vital {
                    return Ok(is_told);
                }
            }
            states.after.insert(event_id, state);
        }
        Ok(true)
    }

    /// Servers withhold what was said before we were in the room, and with it the events that our join
    /// follows, but not the state before the join.
    async fn learn_before(
        &self,
        event_id: &OwnedEventId,
        states: &mut States,
        limit: usize,
    ) -> Result<bool, Internal> {
        for peer in self.peers().take(limit) {
            let state = fetch::state_before(&peer, &self.version.0, event_id).await?;
            if let Some(state) = state {
                states.before.insert(event_id.clone(), state);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn peers(&self) -> impl Iterator<Item = Peer<'_>> {
        let Self { engine, room_id, .. } = *self;
        self.servers.iter().map(move |server| Peer {
            engine,
            server,
            room_id,
            rules: &self.version.1,
        })
    }
}

/// Without anybody in the room there is nobody to ask, and nobody who would want to know.
async fn failed(engine: &Engine, room_id: &RoomId) -> Result<Outcome, Internal> {
    if local::is_resident(engine, room_id).await? {
        return Ok(Outcome::Failed);
    }
    settle::abandon(engine, room_id).await?;
    engine.partial.completed();
    Ok(Outcome::Done)
}

/// Whom to ask: by whom the room was joined, then others, in each round other ones.
async fn servers(
    engine: &Engine,
    row: &PartialRow,
    round: u32,
) -> Result<Vec<OwnedServerName>, Internal> {
    let said: Vec<OwnedServerName> = serde_json::from_str(&row.resident_servers)?;
    let mut conn = engine.storage.read().await?;
    let known = rooms::servers_in(&mut conn, &row.room_id).await?;
    drop(conn);
    let known = known.into_iter().filter_map(|name| OwnedServerName::try_from(name).ok());
    let (mut servers, mut seen) = (Vec::new(), HashSet::new());
    for server in said.into_iter().chain(known) {
        if server != engine.config.server_name && seen.insert(server.clone()) {
            servers.push(server);
        }
    }
    if let Some(others) = servers.get_mut(1..).filter(|others| !others.is_empty()) {
        let step = usize::try_from(round).unwrap_or(0).saturating_mul(SERVERS - 1);
        others.rotate_left(step % others.len());
    }
    servers.truncate(SERVERS);
    Ok(servers)
}

/// Events after which the state is not known.
#[derive(Debug)]
struct Lacking {
    after: Vec<OwnedEventId>,
    /// The event that follows them.
    before: OwnedEventId,
    /// Whether nothing else tells the state before it.
    is_vital: bool,
}
