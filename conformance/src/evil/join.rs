//! How the peer and its users get into rooms, and users of other servers into its own.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Peer, event::Event, event::rules, room::Room};
use crate::{client::path, random, servers::Server};

/// The room versions that the peer says it knows: all of them.
const VERSIONS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

impl Peer {
    /// Joins a room of `server` as `user` and serves it from then on.
    pub async fn join(&self, server: &Server, room: &str, user: &str) -> Result<Room> {
        let (version, event) = self.join_event(server, room, user).await?;
        let target = path("/_matrix/federation/v2/send_join/{}/{}", &[room, &event.id]);
        let answer = self.put(server, &target, &event.pdu).await?.ok()?;
        let room = self.hosted(room).unwrap_or_else(|| Room::empty(room, &version));
        let events = |name: &str| -> Result<Vec<Event>> {
            let list = answer[name].as_array().with_context(|| format!("no {name}"))?;
            list.iter().map(|pdu| Event::received(&version, pdu)).collect()
        };
        room.learn(events("state")?, events("auth_chain")?);
        room.add(&event);
        self.host(&room);
        Ok(room)
    }

    /// The signed event with which `user` would join a room of `server`, and the room's version.
    pub async fn join_event(
        &self,
        server: &Server,
        room: &str,
        user: &str,
    ) -> Result<(String, Event)> {
        let mut target = path("/_matrix/federation/v1/make_join/{}/{}", &[room, user]);
        for (index, version) in VERSIONS.iter().enumerate() {
            target.push_str(if index == 0 { "?ver=" } else { "&ver=" });
            target.push_str(version);
        }
        let answer = self.get(server, &target).await?.ok()?;
        let version = answer["room_version"].as_str().unwrap_or("1").to_owned();
        let mut draft = answer["event"].clone();
        draft["origin_server_ts"] = super::room::now().into();
        // In versions 1 and 2 the id is the joining server's to give, whatever the template says.
        draft.as_object_mut().context("no event")?.remove("event_id");
        let event = Event::seal(&version, &draft, &self.name, &self.key)?;
        Ok((version, event))
    }

    /// Makes a room of its own that everybody can join, with `creator` in it.
    pub fn create_room(&self, version: &str, creator: &str) -> Result<Room> {
        self.create_room_with(version, creator, "public", &[])
    }

    /// Makes a room with this join rule and further state events (type, content) with an empty key.
    pub fn create_room_with(
        &self,
        version: &str,
        creator: &str,
        join_rule: &str,
        state: &[(&str, Value)],
    ) -> Result<Room> {
        let create = self.create_event(version, creator)?;
        let room = Room::empty(&room_id(&create)?, version);
        room.add(&create);
        self.host(&room);
        self.put_in(&room, &room.member(creator, creator, "join")?)?;
        let power = power_levels(version, creator)?;
        let join_rule = json!({ "join_rule": join_rule });
        let first = [("m.room.power_levels", power), ("m.room.join_rules", join_rule)];
        for (kind, content) in first.iter().chain(state) {
            self.put_in(&room, &room.state_draft(creator, kind, "", content.clone())?)?;
        }
        Ok(room)
    }

    /// Seals a draft and takes it into the room, without sending it to anybody.
    pub fn put_in(&self, room: &Room, draft: &Value) -> Result<Event> {
        let event = self.seal(room, draft)?;
        room.add(&event);
        Ok(event)
    }

    /// Seals a draft, takes it into the room and delivers it to `server`.
    pub async fn put_out(&self, server: &Server, room: &Room, draft: &Value) -> Result<Event> {
        let event = self.put_in(room, draft)?;
        self.send(server, &[&event]).await?;
        Ok(event)
    }

    /// Invites a user of `server` to a room of this peer, and takes the signed invitation in.
    pub async fn invite(
        &self,
        server: &Server,
        room: &Room,
        sender: &str,
        user: &str,
    ) -> Result<Event> {
        let event = self.seal(room, &room.member(sender, user, "invite")?)?;
        let answer = self.send_invite(server, room, &event, invite_state(room)).await?.ok()?;
        let signed = Event::received(&room.version, &answer["event"])?;
        room.add(&signed);
        Ok(signed)
    }

    /// Sends this event as an invitation, with this state beside it.
    pub async fn send_invite(
        &self,
        server: &Server,
        room: &Room,
        event: &Event,
        state: Value,
    ) -> Result<crate::client::Answer> {
        let target = path("/_matrix/federation/v2/invite/{}/{}", &[&room.id, &event.id]);
        let body = json!({
            "room_version": room.version,
            "event": event.pdu,
            "invite_room_state": state,
        });
        self.put(server, &target, &body).await
    }

    /// The event with which `creator` makes a room, and nothing else of it.
    pub fn create_event(&self, version: &str, creator: &str) -> Result<Event> {
        let rules = rules(version)?;
        let mut content = json!({ "room_version": version });
        if !rules.authorization.use_room_create_sender {
            content["creator"] = creator.into();
        }
        let id = format!("!{}:{}", random::suffix()?, self.name);
        let mut draft =
            Room::empty(&id, version).state_draft(creator, "m.room.create", "", content)?;
        if rules.authorization.room_create_event_id_as_room_id {
            draft.as_object_mut().context("no object")?.remove("room_id");
        }
        Event::seal(version, &draft, &self.name, &self.key)
    }
}

/// Create event and join rules, as full events: what an invited server is shown of a room.
pub fn invite_state(room: &Room) -> Value {
    let kinds = ["m.room.create", "m.room.join_rules"];
    kinds.iter().filter_map(|kind| room.state_event(kind, "")).map(|event| event.pdu).collect()
}

/// The id of the room that this event makes.
pub fn room_id(create: &Event) -> Result<String> {
    match create.pdu["room_id"].as_str() {
        Some(id) => Ok(id.to_owned()),
        None => Ok(format!("!{}", create.id.strip_prefix('$').context("an id without sigil")?)),
    }
}

/// The content of the first power levels, which let the creator do everything. From room version 12 on a creator
/// must not be listed.
pub fn power_levels(version: &str, creator: &str) -> Result<Value> {
    let creator_is_above = rules(version)?.authorization.explicitly_privilege_room_creators;
    Ok(if creator_is_above { json!({ "users": {} }) } else { json!({ "users": { creator: 100 } }) })
}
