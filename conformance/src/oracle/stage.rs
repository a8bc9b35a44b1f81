//! The two servers, and what is sent to and asked of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::{chance::Chance, graph::Graph, house::House, order};
use crate::{
    client::{User, path},
    evil::{Event, Room, references},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// How many events a transaction has at most.
const TRANSACTION: usize = 50;
/// How many questions are asked at once.
const AT_ONCE: usize = 8;
/// How long a server may take to judge a graph.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(200);

/// How a graph is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Way {
    /// To both in the order in which it was made.
    InOrder,
    /// To each in an order of its own, with holes, so that they have to ask.
    Shuffled,
}

/// What a server makes of a graph.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct View {
    /// The events that it accepted.
    pub(super) accepted: BTreeSet<String>,
    /// The events that its user is shown.
    pub(super) shown: BTreeSet<String>,
    /// The state before each event that it accepted.
    pub(super) states: BTreeMap<String, BTreeSet<String>>,
    /// The same, with all that it rests on.
    pub(super) chains: BTreeMap<String, BTreeSet<String>>,
    /// The state at the end as its user sees it: (type, state key) → id and content.
    pub(super) current: BTreeMap<(String, String), (String, Value)>,
}

/// Both servers, with a user on each, and the house between them.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) house: House,
    seats: Vec<Seat>,
}

#[derive(Debug)]
struct Seat {
    server: Server,
    user: User,
}

impl Stage {
    /// Starts all of them: Starling first, then the oracle.
    pub(super) async fn set(database: DatabaseKind, oracle: Kind) -> Result<Self> {
        let ca = TestCa::new()?;
        let house = House::start(&ca).await?;
        let mut seats = Vec::new();
        for kind in [Kind::Starling, oracle] {
            let server = Spec::new(kind)?.on(database).start(&ca).await?;
            let user = User::register(&server, "onlooker").await?;
            seats.push(Seat { server, user });
        }
        Ok(Self { house, seats })
    }

    /// A room of the house's in which both users are.
    pub(super) async fn room(&self, version: &str) -> Result<Room> {
        let room = self.house.room(version)?;
        let mut there: Vec<&Seat> = Vec::new();
        for seat in &self.seats {
            let known = room.timeline().len();
            seat.user.join(&room.id, &[&self.house.peer.name]).await?;
            let joined: Vec<Event> = room.timeline().into_iter().skip(known).collect();
            for other in &there {
                self.house.peer.send(&other.server, &joined.iter().collect::<Vec<_>>()).await?;
            }
            there.push(seat);
        }
        Ok(room)
    }

    /// Sends a graph to both; the control, too, to all but the first, if it is to be sent.
    pub(super) async fn send(
        &self,
        graph: &Graph,
        way: Way,
        seed: u64,
        with_control: bool,
    ) -> Result<()> {
        let sending = self.seats.iter().enumerate().map(|(number, seat)| async move {
            let mut order = graph.events.clone();
            if way == Way::Shuffled {
                let mut chance = Chance::new(seed, 100 + number as u64);
                let plan = order::shuffled(&graph.events, &mut chance);
                plan.gaps.iter().for_each(|(id, events)| self.house.tell_before(id, events));
                order = plan.sent;
            }
            if with_control && number > 0 {
                order.push(graph.control.clone());
            }
            order.push(graph.probe.clone());
            let size = if way == Way::InOrder { TRANSACTION } else { 1 };
            for some in order.chunks(size) {
                self.house.peer.send(&seat.server, &some.iter().collect::<Vec<_>>()).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
        futures_util::future::try_join_all(sending).await?;
        Ok(())
    }

    /// What each server makes of a graph, once it has judged all of it.
    pub(super) async fn views(&self, room: &Room, graph: &Graph) -> Result<Vec<View>> {
        let views = self.seats.iter().map(|seat| async move {
            self.judged(seat, room, &graph.probe).await?;
            self.view(seat, room, graph).await
        });
        futures_util::future::try_join_all(views).await
    }

    /// What the servers' logs end with.
    pub(super) fn logs(&self) -> Vec<String> {
        let log = |seat: &Seat| format!("--- {}\n{}", seat.server.name(), seat.server.log_tail());
        self.seats.iter().map(log).collect()
    }

    async fn judged(&self, seat: &Seat, room: &Room, probe: &Event) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.state_ids(seat, room, &probe.id).await?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(GLANCE).await;
        }
        bail!("{} has not judged all after {PATIENCE:?}", seat.server.name());
    }

    async fn view(&self, seat: &Seat, room: &Room, graph: &Graph) -> Result<View> {
        let all = graph.events.iter().chain([&graph.control, &graph.probe]);
        let asked = all.map(|event| async move {
            // Synapse gives single events that it rejected, Starling the state before them.
            let state = match self.state_ids(seat, room, &event.id).await? {
                Some(state) if self.is_told(seat, &event.id).await? => Some(state),
                _ => None,
            };
            let shown = seat.user.event(&room.id, &event.id).await?.status == 200;
            Ok::<_, anyhow::Error>((event.id.clone(), state, shown))
        });
        let answers: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).try_collect().await?;
        let mut view = View::default();
        for (id, state, shown) in answers {
            if shown {
                view.shown.insert(id.clone());
            }
            if let Some((state, mut chain)) = state {
                view.accepted.insert(id.clone());
                chain.extend(state.iter().cloned());
                view.states.insert(id.clone(), state);
                view.chains.insert(id, chain);
            }
        }
        view.current = current(seat, room).await?;
        Ok(view)
    }

    async fn is_told(&self, seat: &Seat, id: &str) -> Result<bool> {
        let target = path("/_matrix/federation/v1/event/{}", &[id]);
        let answer = self.house.peer.get(&seat.server, &target).await?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            status => bail!("{} answers {status} for {id}", seat.server.name()),
        }
    }

    /// The ids of the state before an event, and of what it rests on.
    async fn state_ids(
        &self,
        seat: &Seat,
        room: &Room,
        id: &str,
    ) -> Result<Option<(BTreeSet<String>, BTreeSet<String>)>> {
        let target = path("/_matrix/federation/v1/state_ids/{}?event_id={}", &[&room.id, id]);
        let answer = self.house.peer.get(&seat.server, &target).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let body = answer.ok()?;
        let ids = |name: &str| references(&body[name]).into_iter().collect();
        Ok(Some((ids("pdu_ids"), ids("auth_chain_ids"))))
    }
}

/// The state of a room as a user sees it.
async fn current(seat: &Seat, room: &Room) -> Result<BTreeMap<(String, String), (String, Value)>> {
    let target = path("/_matrix/client/v3/rooms/{}/state", &[&room.id]);
    let state = seat.user.api.get(&target).await?.ok()?;
    let mut current = BTreeMap::new();
    for event in state.as_array().context("no state")? {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let entry = (text("event_id"), event["content"].clone());
        current.insert((text("type"), text("state_key")), entry);
    }
    Ok(current)
}
