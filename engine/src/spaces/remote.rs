//! What other servers say of rooms that this one is not in.
//!
//! An answer counts only for those who name the server that gave it: nobody can be made to see what
//! a stranger's server says of somebody else's room. Refusals are not kept, since a room may open at
//! any moment, but servers that do not answer are left alone for a while.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid>

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache;
use ruma::{OwnedRoomId, OwnedServerName, RoomId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    child::Child,
    summary::{MAX_CHILDREN, Outside, Summary},
};
use crate::{
    Engine,
    ask::{self, AskError},
    at_most::AtMost,
    remote::Limits,
};

/// How many servers are asked about one room.
const MAX_SERVERS: usize = 4;

/// How long they are waited for, all together.
const PATIENCE: Duration = Duration::from_secs(15);

/// What one of them may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(8), max_body: 4 * 1024 * 1024 };

/// For how long an answer counts.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// For how long a server that did not answer is not asked again.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes that answers may take in memory.
const MAX_BYTES: u64 = 32 << 20;

/// How many servers that did not answer are remembered.
const MAX_SILENT: u64 = 10_000;

/// How many events or rooms are read of one list.
const MAX_LIST: usize = 10_000;

/// What a server said of a room and those that it lists.
#[derive(Debug)]
pub struct Answer {
    /// The room.
    pub room: Arc<Outside>,
    /// Those of its children of which the server told.
    pub children: HashMap<OwnedRoomId, Arc<Summary>>,
    /// Those to which nobody of this server has access, says the server.
    pub inaccessible: HashSet<OwnedRoomId>,
}

impl Answer {
    fn bytes(&self) -> usize {
        self.room.bytes() + 1_024 * self.children.len() + 128 * self.inaccessible.len()
    }
}

type Key = (OwnedServerName, OwnedRoomId, bool);

/// Answers that count.
#[derive(Clone, Debug)]
pub struct Told {
    answers: Cache<Key, Arc<Answer>>,
    silent: Cache<OwnedServerName, ()>,
}

impl Default for Told {
    fn default() -> Self {
        let weigh = |_: &Key, answer: &Arc<Answer>| answer.bytes().try_into().unwrap_or(u32::MAX);
        Self {
            answers: Cache::builder()
                .weigher(weigh)
                .max_capacity(MAX_BYTES)
                .time_to_live(FRESH)
                .build(),
            silent: Cache::builder().max_capacity(MAX_SILENT).time_to_live(SILENCE).build(),
        }
    }
}

/// Asks servers about a room, until one answers.
pub async fn ask(
    engine: &Engine,
    room_id: &RoomId,
    via: &[OwnedServerName],
    suggested_only: bool,
) -> Option<Arc<Answer>> {
    let others = via.iter().filter(|server| **server != engine.config.server_name);
    let asking = async {
        for server in others.take(MAX_SERVERS) {
            let answer = ask_one(engine, server, room_id, suggested_only).await;
            if answer.is_some() {
                return answer;
            }
        }
        None
    };
    tokio::time::timeout(PATIENCE, asking).await.ok().flatten()
}

async fn ask_one(
    engine: &Engine,
    server: &ServerName,
    room_id: &RoomId,
    suggested_only: bool,
) -> Option<Arc<Answer>> {
    let told = &engine.spaces.told;
    let key = (server.to_owned(), room_id.to_owned(), suggested_only);
    if let Some(answer) = told.answers.get(&key) {
        return Some(answer);
    }
    if told.silent.contains_key(server) {
        return None;
    }
    let path = ask::path("v1/hierarchy", &[room_id.as_str()]);
    let flag = if suggested_only { "true" } else { "false" };
    let path = ask::query(path, &[("suggested_only", flag)]);
    let body: Body = match ask::get(engine, server, path, LIMITS).await {
        Ok(body) => body,
        Err(error) => {
            tracing::debug!(%server, %error, "a server did not describe a room");
            if matches!(error, AskError::Unreachable(_)) {
                told.silent.insert(server.to_owned(), ());
            }
            return None;
        }
    };
    let answer = Arc::new(body.read(room_id)?);
    told.answers.insert(key, answer.clone());
    Some(answer)
}

#[derive(Deserialize)]
struct Body {
    room: Box<RawValue>,
    children: AtMost<Box<RawValue>, MAX_LIST>,
    #[serde(default)]
    inaccessible_children: AtMost<Box<RawValue>, MAX_LIST>,
}

impl Body {
    /// Takes what fits together: the room that was asked for, and rooms that it lists.
    fn read(self, room_id: &RoomId) -> Option<Answer> {
        #[derive(Deserialize)]
        struct State {
            children_state: AtMost<Box<RawValue>, MAX_LIST>,
        }
        let summary = read_summary(&self.room).filter(|room| room.listed.room_id == room_id)?;
        let mut children = Vec::new();
        if summary.is_space() {
            let state: State = serde_json::from_str(self.room.get()).ok()?;
            children.extend(state.children_state.0.iter().filter_map(|event| Child::read(event)));
        }
        children.sort_by(Child::compare);
        children.dedup_by(|a, b| a.room_id == b.room_id);
        children.truncate(MAX_CHILDREN);
        let listed: HashSet<&OwnedRoomId> = children.iter().map(|child| &child.room_id).collect();
        let told = self.children.0.iter().filter_map(|child| read_summary(child));
        let told = told.filter(|child| listed.contains(&child.listed.room_id));
        let hopeless = self.inaccessible_children.0.iter();
        let hopeless = hopeless.filter_map(|it| serde_json::from_str::<OwnedRoomId>(it.get()).ok());
        Some(Answer {
            children: told.map(|it| (it.listed.room_id.clone(), Arc::new(it))).collect(),
            inaccessible: hopeless.filter(|it| listed.contains(it)).collect(),
            room: Arc::new(Outside { summary, children }),
        })
    }
}

fn read_summary(json: &RawValue) -> Option<Summary> {
    let mut summary: Summary = serde_json::from_str(json.get()).ok()?;
    summary.listed.num_joined_members = summary.listed.num_joined_members.max(0);
    Some(summary)
}

#[cfg(test)]
mod tests {
    use ruma::room_id;
    use serde_json::{Value, json};

    use super::*;

    fn summary(room_id: &str) -> Value {
        json!({ "room_id": room_id, "num_joined_members": -5, "guest_can_join": false,
                "world_readable": false, "join_rule": "public" })
    }

    fn event(room_id: &str, via: Value) -> Value {
        json!({ "type": "m.space.child", "state_key": room_id, "sender": "@a:b.org",
                "content": { "via": via }, "origin_server_ts": 1 })
    }

    fn space(children: Value) -> Value {
        let mut room = summary("!space:b.org");
        room["room_type"] = json!("m.space");
        room["children_state"] = children;
        room
    }

    fn read(body: Value) -> Option<Answer> {
        serde_json::from_value::<Body>(body).ok()?.read(room_id!("!space:b.org"))
    }

    #[test]
    fn what_fits_together_is_taken() {
        let room = space(json!([
            event("!a:b.org", json!(["b.org"])),
            event("!b:b.org", json!(["b.org"])),
            event("!gone:b.org", json!([])),
            { "type": "m.space.child" },
            7,
        ]));
        let children =
            json!([summary("!a:b.org"), summary("!other:b.org"), summary("!gone:b.org"), {}]);
        let hopeless = json!(["!b:b.org", "!other:b.org", 3, "x"]);
        let body = json!({ "room": room, "children": children, "inaccessible_children": hopeless });
        let answer = read(body).unwrap();
        assert_eq!(answer.room.summary.listed.num_joined_members, 0);
        assert_eq!(answer.room.children.len(), 2);
        assert_eq!(answer.children.keys().collect::<Vec<_>>(), ["!a:b.org"]);
        assert_eq!(answer.inaccessible.iter().collect::<Vec<_>>(), ["!b:b.org"]);
    }

    #[test]
    fn what_does_not_is_refused() {
        let of = |room: Value| json!({ "room": room, "children": [], "inaccessible_children": [] });
        assert!(read(of(summary("!other:b.org"))).is_none(), "another room");
        assert!(read(of(space(json!({})))).is_none());
        assert!(read(of(space(Value::Null))).is_none());
        assert!(read(json!({ "room": space(json!([])) })).is_none());
        assert!(read(json!([])).is_none());
        let room = summary("!space:b.org");
        assert!(read(of(room)).unwrap().room.children.is_empty(), "no space lists nothing");
    }

    #[test]
    fn long_lists_are_given_up() {
        let many: Vec<Value> = (0..=MAX_LIST).map(|_| json!({})).collect();
        let body = json!({ "room": space(json!([])), "children": many });
        assert!(read(body).is_none());
        let many = (0..MAX_LIST).map(|it| event(&format!("!{it}:b.org"), json!(["b.org"])));
        let room = space(many.collect());
        let answer = read(json!({ "room": room, "children": [] })).unwrap();
        assert_eq!(answer.room.children.len(), MAX_CHILDREN);
    }
}
