//! The server whose people make the graphs. It goes by two names, so that people of two servers meet, and it
//! makes the rooms, signs what they do, and tells whoever asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    chance::Chance,
    deeds::Deed,
    model::{Placed, State},
};
use crate::{
    evil::{Event, Peer, Reply, Room, references},
    servers::TestCa,
};

/// Who makes the rooms.
const CREATOR: usize = 0;
/// Valid for longer than a run.
const KEY_LIFE_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// The first time of a room, in milliseconds; before any that a graph has.
const BEGIN: u64 = 1_600_000_000_000;

/// The events before an event, for who lacks them.
type Gaps = Arc<Mutex<BTreeMap<String, Vec<Event>>>>;

/// The server.
#[derive(Debug)]
pub(super) struct House {
    gaps: Gaps,
    pub(super) peer: Peer,
    /// Creator, administrator, moderator, two members, two outside.
    pub(super) people: Vec<String>,
}

impl House {
    /// Starts the server.
    pub(super) async fn start(ca: &TestCa) -> Result<Self> {
        let peer = Peer::start(ca).await?;
        let second = format!("127.0.0.1:{}", peer.port()?);
        let document = peer.key.document(&second, crate::evil::now() + KEY_LIFE_MS)?;
        let host = second.clone();
        peer.script(move |request| {
            let key = request.path.starts_with("/_matrix/key/v2/server") && request.host == host;
            key.then(|| Reply::ok(document.clone()))
        });
        let gaps = Gaps::default();
        let known = gaps.clone();
        peer.script(move |request| {
            let asked = request.pieces.iter().any(|piece| piece == "get_missing_events");
            let latest = references(&request.body["latest_events"]);
            let gaps = known.lock().unwrap_or_else(PoisonError::into_inner);
            let events = gaps.get(latest.first().filter(|_| asked)?)?;
            Some(Reply::ok(
                json!({ "events": events.iter().map(|it| &it.pdu).collect::<Vec<_>>() }),
            ))
        });
        let first = peer.name.clone();
        let people = [
            ("creator", &first),
            ("ada", &first),
            ("mo", &second),
            ("mel", &first),
            ("ned", &second),
            ("out", &first),
            ("oz", &second),
        ];
        let people = people.iter().map(|(name, server)| format!("@{name}:{server}")).collect();
        Ok(Self { gaps, peer, people })
    }

    /// Makes a room of this version, with all but those outside in it.
    pub(super) fn room(&self, version: &str) -> Result<Room> {
        let room = self.peer.create_room_with(version, self.person(CREATOR), "public", &[])?;
        let inside = self.people.iter().skip(1).take(4);
        let mut levels = json!({ self.person(1): 100, self.person(2): 50 });
        // From room version 12 on a creator must not be listed.
        if version != "12" {
            levels[self.person(CREATOR)] = json!(100);
        }
        // Nobody has anything to do with the witness, so that the house is always in the room.
        let witness = self.peer.user("witness");
        for person in inside.chain([&witness]) {
            self.put(&room, room.member(person, person, "join")?)?;
        }
        let levels = json!({ "users": levels, "invite": 0 });
        let visibility = json!({ "history_visibility": "shared" });
        for (kind, content) in
            [("m.room.power_levels", levels), ("m.room.history_visibility", visibility)]
        {
            self.put(&room, room.state_draft(self.person(CREATOR), kind, "", content)?)?;
        }
        Ok(room)
    }

    /// A message of the creator's.
    pub(super) fn message(&self, body: &str) -> Deed {
        Deed {
            sender: self.person(CREATOR).to_owned(),
            kind: "m.room.message".to_owned(),
            state_key: None,
            content: json!({ "msgtype": "m.text", "body": body }),
            redacts: None,
        }
    }

    /// Whether events of this version bear an id of the sender's choosing.
    pub(super) fn names_events(&self, version: &str) -> bool {
        matches!(version, "1" | "2")
    }

    /// The id of an event, by its seed, number, and how often it was tried: no two attempts are near each other.
    pub(super) fn event_id(&self, draft: &Value, (seed, step, attempt): (u64, u64, u32)) -> String {
        let number = Chance::new(seed ^ (step << 32), 1000 + u64::from(attempt)).below(usize::MAX);
        format!("${number:016x}:{}", server(&draft["sender"]))
    }

    /// Hashes and signs a draft as the sender's server, and as that of who lets somebody join.
    pub(super) fn seal(&self, room: &Room, draft: &Value) -> Result<Event> {
        let (name, key) = (server(&draft["sender"]), &self.peer.key);
        let mut event = Event::seal(&room.version, draft, name, key)?;
        let voucher = server(&draft["content"]["join_authorised_via_users_server"]);
        if !voucher.is_empty() && voucher != name {
            event.pdu["signatures"][voucher] =
                json!({ &key.id: event.signature(&room.version, key)? });
        }
        Ok(event)
    }

    /// Tells whoever asks for an event or the state before it.
    pub(super) fn serve(&self, room: &Room, placed: &Placed) {
        room.place(&placed.event, slots(&placed.before));
    }

    /// Gives these events to whoever asks for those before another one.
    pub(super) fn tell_before(&self, id: &str, events: &[Event]) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let told = gaps.entry(id.to_owned()).or_default();
        for event in events {
            if !told.iter().any(|it| it.id == event.id) {
                told.push(event.clone());
            }
        }
        told.sort_by_key(|it| it.pdu["depth"].as_i64());
    }

    fn put(&self, room: &Room, mut draft: Value) -> Result<()> {
        let depth = draft["depth"].as_u64().unwrap_or_default();
        draft["origin_server_ts"] = (BEGIN + depth * 1000).into();
        room.add(&self.seal(room, &draft)?);
        Ok(())
    }

    fn person(&self, number: usize) -> &str {
        self.people.get(number).map_or("", String::as_str)
    }
}

fn slots(state: &State) -> impl Iterator<Item = ((String, String), String)> {
    state.iter().map(|((kind, key), id)| ((kind.to_string(), key.clone()), id.to_string()))
}

fn server(user: &Value) -> &str {
    user.as_str().and_then(|user| user.split_once(':')).map_or("", |(_, server)| server)
}
