//! A Starling that has joined the room, and a client that follows it there.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::merge::{Expected, People};
use crate::{
    bench::{large_join::room::LargeRoom, process::Watched},
    client::{Sync, User, path, text},
    evil::{Event, Room},
    random,
    servers::{DatabaseKind, Kind, Server, Spec, TestCa},
};

/// How many events a transaction has at most.
const TRANSACTION: usize = 50;

/// The server, its user, and the room as the peer sees it.
pub(super) struct Joined<'a> {
    pub(super) room: &'a LargeRoom,
    pub(super) watched: Watched,
    /// The room without most of its members: enough to write events.
    pub(super) view: Room,
    server: Server,
    user: User,
    followed: Sync,
    join: Event,
    renamed: String,
}

impl<'a> Joined<'a> {
    /// Starts a server whose user joins the room, given all of its state.
    pub(super) async fn join(
        ca: &TestCa,
        room: &'a LargeRoom,
        database: DatabaseKind,
    ) -> Result<Self> {
        let mut spec = Spec::new(Kind::Starling)?.on(database);
        spec.peers.extend(room.names.clone());
        let server = spec.start(ca).await?;
        let user = User::register(&server, "alice").await?;
        let filter = json!({
            "room": { "timeline": { "limit": 500 }, "state": { "lazy_load_members": true } },
        });
        let mut followed = Sync::start_with(&user, &filter).await?;
        room.serve(false);
        user.join(&room.id, &[&room.peer.name]).await?;
        let join = room.peer.seen("send_join").pop().context("nobody joined")?;
        let join = Event::received(&room.version, &join.body)?;
        followed.event_with_id(&room.id, &join.id).await?;
        let view = room.beginning()?;
        view.add(&join);
        let watched = Watched::server(&server)?;
        let renamed = room.peer.user("renamed");
        let mut joined = Self { room, watched, view, server, user, followed, join, renamed };
        joined.let_in(&joined.renamed.clone()).await?;
        Ok(joined)
    }

    /// Those who have to do with a merge. Who is to be banned comes only now.
    pub(super) async fn people(&mut self) -> Result<People> {
        let banned = self.room.peer.user(&format!("banned-{}", random::suffix()?));
        self.let_in(&banned).await?;
        let creator = self.room.peer.user("creator");
        Ok(People { creator, renamed: self.renamed.clone(), banned })
    }

    async fn let_in(&mut self, user: &str) -> Result<()> {
        let event = self.room.peer.put_in(&self.view, &self.view.member(user, user, "join")?)?;
        self.deliver(std::slice::from_ref(&event)).await.map(drop)
    }

    /// Sends events, each of which must be taken, and gives how long it took until the client was told of the last.
    pub(super) async fn deliver(&mut self, events: &[Event]) -> Result<Duration> {
        let last = events.last().context("nothing to send")?;
        let (peer, server, begun) = (&self.room.peer, &self.server, Instant::now());
        let send = async {
            for some in events.chunks(TRANSACTION) {
                let answer = peer.send(server, &some.iter().collect::<Vec<_>>()).await?;
                let outcomes = answer["pdus"].as_object().context("no pdus")?;
                let refused = outcomes.values().find(|it| it.get("error").is_some());
                ensure!(refused.is_none(), "an event was refused: {refused:?}");
            }
            Ok(())
        };
        let see = async {
            self.followed.event_with_id(&self.room.id, &last.id).await?;
            anyhow::Ok(begun.elapsed())
        };
        let ((), seen) = tokio::try_join!(send, see)?;
        Ok(seen)
    }

    /// Fails unless the client is told the state that must be, and was told once of each event that ties branches.
    pub(super) async fn proves(&self, expected: &Expected) -> Result<()> {
        let target = path("/_matrix/client/v3/rooms/{}/state", &[&self.room.id]);
        let events = self.user.api.get(&target).await?.ok()?;
        let found = by_key(events.as_array().context("no state")?)?;
        for (key, event) in &expected.state {
            let found = found.get(key);
            ensure!(found == Some(event), "{key:?} is {found:?}, not {event}");
        }
        let ids: BTreeSet<&String> = found.values().collect();
        // Of the state that was there only the power levels were said anew.
        let power = self.room.beginning()?.state_id("m.room.power_levels", "")?;
        let others = self.room.state().iter().filter(|id| **id != power);
        let lost = others.chain([&self.join.id]).filter(|id| !ids.contains(id)).count();
        ensure!(lost == 0, "{lost} state events are lost that nobody changed");
        for id in &expected.shown {
            let timeline = self.followed.timeline(&self.room.id);
            let shown = timeline.iter().filter(|event| event["event_id"] == id.as_str()).count();
            ensure!(shown == 1, "{id} was shown {shown} times");
        }
        Ok(())
    }
}

/// The ids of state events by type and state key, of which each must be there once.
fn by_key(events: &[Value]) -> Result<BTreeMap<(String, String), String>> {
    let mut state = BTreeMap::new();
    for event in events {
        let key = (text(event, "/type")?.to_owned(), text(event, "/state_key")?.to_owned());
        let twin = state.insert(key, text(event, "/event_id")?.to_owned());
        ensure!(twin.is_none(), "two events say the same: {event}");
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_there_once() {
        let event = |key: &str, id: &str| json!({ "type": "x", "state_key": key, "event_id": id });
        let state = by_key(&[event("a", "$1"), event("b", "$2")]).unwrap();
        assert_eq!(state.values().collect::<Vec<_>>(), ["$1", "$2"]);
        assert!(by_key(&[event("a", "$1"), event("a", "$2")]).is_err());
    }
}
