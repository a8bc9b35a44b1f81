//! A room with many members of many servers, each with a key of its own, all of whom one peer plays.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    evil::{Event, Key, Peer, Received, Reply, Room, now, power_levels, room_id},
    random,
    servers::TestCa,
};

/// The room version, where nothing of what is measured depends on it.
const VERSION: &str = "11";
/// How long keys are valid.
const KEY_LIFE_MS: u64 = 24 * 60 * 60 * 1000;

/// How large a room is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Members, beside who created it.
    pub members: usize,
    /// Servers that the members are on.
    pub servers: usize,
}

/// A room, and the servers in it.
#[derive(Debug)]
pub struct LargeRoom {
    /// Who plays all servers.
    pub peer: Peer,
    /// The room.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The names of the servers, and the port at which they are all reached.
    pub names: Vec<(String, u16)>,
    /// The users in the room.
    pub members: Vec<String>,
    /// Released when the whole state may be told.
    pub tell: Arc<Notify>,
    pdus: Pdus,
}

/// The events of the room as they are sent.
#[derive(Debug)]
struct Pdus {
    first: Vec<Value>,
    members: String,
    ids: Vec<String>,
    last: String,
    depth: u64,
    authority: Vec<String>,
}

impl LargeRoom {
    /// Makes the room.
    pub async fn make(ca: &TestCa, size: Size) -> Result<Self> {
        Self::make_in(ca, VERSION, size).await
    }

    /// Makes a room of this version.
    pub async fn make_in(ca: &TestCa, version: &str, size: Size) -> Result<Self> {
        let domain = format!("{}.large.test", random::suffix()?);
        let peer = Peer::start_as(ca, &[&format!("*.{domain}")]).await?;
        let port = peer.port()?;
        let mut keys = BTreeMap::new();
        for number in 0..size.servers.max(1) {
            keys.insert(format!("s{number}.{domain}"), Key::new()?);
        }
        let names: Vec<(String, u16)> = keys.keys().map(|name| (name.clone(), port)).collect();
        let (id, pdus, members) = events(&peer, version, &keys, size.members)?;
        publish(&peer, keys);
        let (version, tell) = (version.to_owned(), Arc::new(Notify::new()));
        Ok(Self { peer, id, version, names, members, tell, pdus })
    }

    /// The ids of the events of its state.
    pub fn state(&self) -> &[String] {
        &self.pdus.ids
    }

    /// The room as somebody sees it who knows how it began and none of the members.
    pub fn beginning(&self) -> Result<Room> {
        let first = self.pdus.first.iter().map(|pdu| Event::received(&self.version, pdu));
        let room = Room::empty(&self.id, &self.version);
        room.learn(first.collect::<Result<_>>()?, Vec::new());
        Ok(room)
    }

    /// Lets the peer take joins. It answers with all members or, where it is asked to and `omit` is
    /// set, without them; then questions for the state wait for [`Self::tell`].
    pub fn serve(&self, omit: bool) {
        let Pdus { first, members, ids, last, depth, authority } = &self.pdus;
        let state: Vec<&Value> =
            first.iter().filter(|pdu| pdu["type"] != "m.room.member").collect();
        let servers: Vec<&String> = self.names.iter().map(|(name, _)| name).collect();
        let part = json!({
            "state": state, "auth_chain": first, "members_omitted": true, "servers_in_room": servers,
        });
        let first_text = joined(first);
        let whole = format!(
            r#"{{"auth_chain":[{first_text}],"state":[{first_text}{}{members}]}}"#,
            if members.is_empty() { "" } else { "," }
        );
        let pdu_list = whole.replacen("\"state\"", "\"pdus\"", 1);
        let ids = json!({ "pdu_ids": ids, "auth_chain_ids": [] });
        let template = json!({
            "type": "m.room.member", "room_id": self.id, "depth": depth + 1,
            "prev_events": [last], "auth_events": authority, "content": { "membership": "join" },
        });
        let json = |text: String| Reply::Bytes(200, "application/json", Bytes::from(text));
        let (whole, pdu_list) = (json(whole), json(pdu_list));
        let (tell, held, version) = (self.tell.clone(), omit, self.version.clone());
        self.peer.script(move |request| {
            let piece = |piece: &str| request.pieces.iter().any(|it| it == piece);
            if piece("make_join") {
                let mut event = template.clone();
                let user = request.pieces.last()?;
                event["sender"] = json!(user);
                event["state_key"] = json!(user);
                event["origin_server_ts"] = json!(now());
                return Some(Reply::ok(json!({ "room_version": version, "event": event })));
            }
            if piece("send_join") {
                let may_omit = omit && request.query.contains("omit_members=true");
                return Some(if may_omit { Reply::ok(part.clone()) } else { whole.clone() });
            }
            if piece("state_ids") {
                let reply = Reply::ok(ids.clone());
                return Some(match held {
                    true => Reply::OnSign(tell.clone(), Box::new(reply)),
                    false => reply,
                });
            }
            if piece("state") {
                return Some(pdu_list.clone());
            }
            None
        });
    }
}

/// Makes the events: those by which the room is created, and the joins of all members.
fn events(
    peer: &Peer,
    version: &str,
    keys: &BTreeMap<String, Key>,
    count: usize,
) -> Result<(String, Pdus, Vec<String>)> {
    let creator = peer.user("creator");
    let create = peer.create_event(version, &creator)?;
    let id = room_id(&create)?;
    let last = create.id.clone();
    let mut chain = Chain { version, id: id.clone(), last, depth: 1, ts: now() };
    // A room that is named by its create event is known by it, so that no event names it once more.
    let names_create = create.pdu.get("room_id").is_some();
    let of = |first: &[Event], kinds: [&str; 3]| -> Vec<String> {
        let is_named = |kind| kinds.contains(&kind) && (names_create || kind != "m.room.create");
        first.iter().filter(|event| is_named(event.kind())).map(|event| event.id.clone()).collect()
    };
    let mut first: Vec<Event> = vec![create];
    for (kind, key, content) in [
        ("m.room.member", creator.as_str(), json!({ "membership": "join" })),
        ("m.room.power_levels", "", power_levels(version, &creator)?),
        ("m.room.join_rules", "", json!({ "join_rule": "public" })),
        ("m.room.history_visibility", "", json!({ "history_visibility": "shared" })),
        ("m.room.name", "", json!({ "name": "Large" })),
    ] {
        let before = of(&first, ["m.room.create", "m.room.member", "m.room.power_levels"]);
        let draft = chain.draft(&creator, kind, key, content, before);
        first.push(chain.seal(&draft, &peer.name, &peer.key)?);
    }
    let authority = of(&first, ["m.room.create", "m.room.power_levels", "m.room.join_rules"]);
    let mut ids: Vec<String> = first.iter().map(|event| event.id.clone()).collect();
    let (mut members, mut texts) = (vec![creator], String::new());
    for (number, (server, key)) in (0..count).zip(keys.iter().cycle()) {
        let user = format!("@user{number}:{server}");
        let name = format!("User number {number}");
        let content = json!({ "membership": "join", "displayname": name });
        let draft = chain.draft(&user, "m.room.member", &user, content, authority.clone());
        let event = chain.seal(&draft, server, key)?;
        if number > 0 {
            texts.push(',');
        }
        texts.push_str(&event.pdu.to_string());
        ids.push(event.id);
        members.push(user);
    }
    let pdus = Pdus {
        first: first.into_iter().map(|event| event.pdu).collect(),
        members: texts,
        last: chain.last.clone(),
        depth: chain.depth,
        ids,
        authority,
    };
    Ok((id, pdus, members))
}

/// Events, each of which follows the one before.
struct Chain<'a> {
    version: &'a str,
    id: String,
    last: String,
    depth: u64,
    ts: u64,
}

impl Chain<'_> {
    fn draft(
        &self,
        sender: &str,
        kind: &str,
        state_key: &str,
        content: Value,
        auth_events: Vec<String>,
    ) -> Value {
        json!({
            "type": kind, "room_id": self.id, "sender": sender, "state_key": state_key,
            "content": content, "origin_server_ts": self.ts, "depth": self.depth + 1,
            "prev_events": [self.last], "auth_events": auth_events,
        })
    }

    fn seal(&mut self, draft: &Value, server: &str, key: &Key) -> Result<Event> {
        let event = Event::seal(self.version, draft, server, key)?;
        self.last.clone_from(&event.id);
        self.depth += 1;
        Ok(event)
    }
}

/// Lets the peer publish the key of each server under its name, and take what it is sent.
fn publish(peer: &Peer, keys: BTreeMap<String, Key>) {
    let (own, own_key) = (peer.name.clone(), peer.key.clone());
    peer.script(move |request: &Received| {
        if !request.path.starts_with("/_matrix/key/v2/server") {
            return None;
        }
        let host = request.host.split(':').next().unwrap_or_default();
        let (name, key) =
            keys.get_key_value(host).map_or((&own, &own_key), |(name, key)| (name, key));
        let document = key.document(name, now() + KEY_LIFE_MS).ok()?;
        Some(Reply::ok(document))
    });
    peer.script(|request: &Received| {
        let is_transaction = request.pieces.iter().any(|piece| piece == "send");
        is_transaction.then(|| Reply::ok(json!({ "pdus": {} })))
    });
}

fn joined(pdus: &[Value]) -> String {
    pdus.iter().map(Value::to_string).collect::<Vec<_>>().join(",")
}
