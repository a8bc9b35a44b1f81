//! What the people of a world do: anything, whether they may or not.

use std::fmt::Display;

use ruma::{OwnedEventId, OwnedServerName, OwnedUserId, RoomVersionId};
use serde_json::{Map, Value, json, value::to_raw_value};
use starling_engine::rooms::{
    create::{CreateError, CreateRoom, Preset, create},
    membership::{
        MembershipError,
        content::Member,
        invite::{Invite, invite},
        join::{Join, join},
        knock::knock,
        leave::leave,
        remove::{Removal, ban, kick, unban},
    },
    send::{Message, Redaction, SendError, SetState, message, redact, state},
    upgrade::{Upgrade, UpgradeError, upgrade},
};
use starling_storage::state as state_rows;

use crate::world::{Room, World};

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Told {
    /// It is not allowed, or nobody helped.
    Refused(String),
    /// The server failed, which it may not.
    Broken(String),
}

/// What came of an act: the event that was made, if it was one.
pub(crate) type Outcome = Result<Option<OwnedEventId>, Told>;

trait Failure: Display {
    fn is_internal(&self) -> bool;
}

impl Failure for SendError {
    fn is_internal(&self) -> bool {
        matches!(self, Self::Internal(_))
    }
}

impl Failure for MembershipError {
    fn is_internal(&self) -> bool {
        matches!(self, Self::Internal(_))
    }
}

impl Failure for CreateError {
    fn is_internal(&self) -> bool {
        matches!(self, Self::Internal(_))
    }
}

impl Failure for UpgradeError {
    fn is_internal(&self) -> bool {
        matches!(self, Self::Internal(_))
    }
}

fn told<T>(outcome: Result<T, impl Failure>) -> Result<T, Told> {
    outcome.map_err(|error| match error.is_internal() {
        true => Told::Broken(error.to_string()),
        false => Told::Refused(error.to_string()),
    })
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Say,
    Topic,
    Custom,
    Profile,
    Join,
    Leave,
    Invite,
    Knock,
    Kick,
    Ban,
    Unban,
    Powers,
    JoinRules,
    Visibility,
    Acl,
    Redact,
    Upgrade,
}

const ACTS: [(usize, Act); 17] = [
    (18, Act::Say),
    (8, Act::Topic),
    (4, Act::Custom),
    (3, Act::Profile),
    (4, Act::Join),
    (2, Act::Leave),
    (6, Act::Invite),
    (2, Act::Knock),
    (4, Act::Kick),
    (6, Act::Ban),
    (5, Act::Unban),
    (10, Act::Powers),
    (6, Act::JoinRules),
    (2, Act::Visibility),
    (1, Act::Acl),
    (6, Act::Redact),
    (1, Act::Upgrade),
];

/// Somebody on some server does something in some room.
pub(crate) async fn act(world: &mut World) -> (String, Outcome) {
    let room = world.numbers.one(&world.rooms).clone();
    let at = world.numbers.below(world.servers.len());
    let user = world.numbers.one(&world.servers[at].users).clone();
    let joined = world.servers[at].joined(&room.id).await;
    let kind = match joined.contains(user.as_str()) {
        false if world.numbers.percent(70) => Act::Join,
        _ => world.numbers.weighted(&ACTS),
    };
    let outcome = Doing { at, user: user.clone(), room: room.clone() }.perform(world, kind).await;
    (format!("{user} {kind:?} in {}", room.id), outcome)
}

/// A room of some version is made by somebody; it is open or not.
pub(crate) async fn found(world: &mut World, at: usize, version: &RoomVersionId) -> Outcome {
    let creator = world.numbers.one(&world.servers[at].users).clone();
    let preset = match world.numbers.percent(60) {
        true => Preset::PublicChat,
        false => Preset::PrivateChat,
    };
    let mut powers = json!({ "users": {} });
    if world.numbers.percent(50) {
        powers["state_default"] = 0.into();
    }
    for user in world.servers.iter().flat_map(|server| &server.users) {
        let level = *world.numbers.one(&[0, 0, 50, 100]);
        if *user != creator && level > 0 {
            powers["users"][user.as_str()] = level.into();
        }
    }
    if !version.rules().unwrap().authorization.explicitly_privilege_room_creators {
        powers["users"][creator.as_str()] = 100.into();
    }
    let wanted = CreateRoom {
        creator,
        version: Some(version.clone()),
        preset,
        published: false,
        alias: None,
        name: Some(format!("Room {}", world.rooms.len())),
        topic: None,
        invite: vec![],
        is_direct: false,
        creation_content: Map::new(),
        initial_state: vec![],
        power_level_content_override: powers.as_object().cloned().unwrap_or_default(),
    };
    let id = told(create(world.servers[at].engine(), &wanted).await)?;
    world.rooms.push(Room { id: id.clone() });
    let founder = world.servers[at].name().to_owned();
    for guest in 0..world.servers.len() {
        let user = world.servers[guest].users[0].clone();
        if preset_is_closed(&wanted) {
            let (sender, target) = (&*wanted.creator, &*user);
            let invited = Invite { room_id: &id, sender, target, member: Member::default() };
            let _ = told(invite(world.servers[at].engine(), invited).await);
        }
        let doing = Doing { at: guest, user, room: Room { id: id.clone() } };
        doing.join_via(world, vec![founder.clone()]).await?;
    }
    Ok(None)
}

fn preset_is_closed(wanted: &CreateRoom) -> bool {
    matches!(wanted.preset, Preset::PrivateChat)
}

/// Who does something where.
pub(crate) struct Doing {
    pub(crate) at: usize,
    pub(crate) user: OwnedUserId,
    pub(crate) room: Room,
}

impl Doing {
    async fn perform(&self, world: &mut World, act: Act) -> Outcome {
        match act {
            Act::Say => self.say(world, "something").await,
            Act::Topic => {
                let topic = json!({ "topic": world.numbers.below(1_000_000).to_string() });
                self.set(world, "m.room.topic", "", topic).await
            }
            Act::Custom => {
                let key = world.numbers.below(3).to_string();
                let content = json!({ "n": world.numbers.below(1_000_000) });
                self.set(world, "org.example.custom", &key, content).await
            }
            Act::Profile => self.show_up(world).await,
            Act::Join => self.join(world).await,
            Act::Leave => {
                let engine = world.servers[self.at].engine();
                told(leave(engine, &self.user, &self.room.id, None).await).map(|()| None)
            }
            Act::Knock => {
                let via = world.via(self.at);
                let wish = self.wish(via, 0);
                told(knock(world.servers[self.at].engine(), wish).await).map(Some)
            }
            Act::Invite => {
                let target = somebody(world);
                let (room_id, sender) = (&*self.room.id, &*self.user);
                let wanted = Invite { room_id, sender, target: &target, member: Member::default() };
                told(invite(world.servers[self.at].engine(), wanted).await).map(Some)
            }
            Act::Kick | Act::Ban | Act::Unban => self.remove(world, act).await,
            Act::Powers => self.change_powers(world).await,
            Act::JoinRules => {
                let rule = *world.numbers.one(&["public", "invite", "knock", "public"]);
                self.set(world, "m.room.join_rules", "", json!({ "join_rule": rule })).await
            }
            Act::Visibility => {
                let to = *world.numbers.one(&["shared", "joined", "invited", "world_readable"]);
                let content = json!({ "history_visibility": to });
                self.set(world, "m.room.history_visibility", "", content).await
            }
            Act::Acl => {
                let deny = match world.numbers.percent(50) {
                    true => vec![],
                    false => vec![world.numbers.one(&world.servers).name().to_owned()],
                };
                let content = json!({ "allow": ["*"], "deny": deny });
                self.set(world, "m.room.server_acl", "", content).await
            }
            Act::Redact => self.redact(world).await,
            Act::Upgrade => self.upgrade(world).await,
        }
    }

    pub(crate) async fn say(&self, world: &World, body: &str) -> Outcome {
        let content = json!({ "msgtype": "m.text", "body": body });
        let said = Message {
            room_id: self.room.id.clone(),
            sender: self.user.clone(),
            kind: "m.room.message".into(),
            content: to_raw_value(&content).unwrap(),
            ts: None,
            transaction: None,
        };
        told(message(world.servers[self.at].engine(), said).await).map(Some)
    }

    async fn set(&self, world: &World, kind: &str, key: &str, content: Value) -> Outcome {
        let wanted = SetState {
            room_id: self.room.id.clone(),
            sender: self.user.clone(),
            kind: kind.into(),
            state_key: key.to_owned(),
            content: to_raw_value(&content).unwrap(),
            ts: None,
        };
        told(state(world.servers[self.at].engine(), wanted).await).map(Some)
    }

    /// Says something that everybody who is joined may say, by the profile in the room.
    pub(crate) async fn show_up(&self, world: &mut World) -> Outcome {
        let wish = self.wish(vec![], world.numbers.next());
        told(join(world.servers[self.at].engine(), wish).await).map(Some)
    }

    pub(crate) async fn join(&self, world: &mut World) -> Outcome {
        let via = world.via(self.at);
        self.join_via(world, via).await
    }

    pub(crate) async fn join_via(&self, world: &World, via: Vec<OwnedServerName>) -> Outcome {
        told(join(world.servers[self.at].engine(), self.wish(via, 0)).await).map(Some)
    }

    fn wish(&self, via: Vec<OwnedServerName>, number: u64) -> Join<'_> {
        let mut more = Map::new();
        if number > 0 {
            more.insert("org.example.n".to_owned(), (number >> 16).into());
        }
        Join { user_id: &self.user, room_id: &self.room.id, via, reason: None, more }
    }

    async fn remove(&self, world: &mut World, act: Act) -> Outcome {
        let target = somebody(world);
        let (room_id, sender, target) = (&*self.room.id, &*self.user, &*target);
        let removal = Removal { room_id, sender, target, reason: None };
        let engine = world.servers[self.at].engine();
        let done = match act {
            Act::Kick => kick(engine, removal).await,
            Act::Ban => ban(engine, removal).await,
            _ => unban(engine, removal).await,
        };
        told(done).map(|()| None)
    }

    /// Changes one thing of the power levels as they are known here.
    async fn change_powers(&self, world: &mut World) -> Outcome {
        let mut powers = self.content(world, "m.room.power_levels").await.unwrap_or(json!({}));
        let level = *world.numbers.one(&[0, 0, 50, 50, 100]);
        let keys = ["ban", "kick", "redact", "invite", "state_default", "events_default"];
        match world.numbers.below(10) {
            0..=6 => powers["users"][somebody(world).as_str()] = level.into(),
            7 => powers["events"]["m.room.power_levels"] = level.into(),
            _ => powers[*world.numbers.one(&keys)] = (level / 2).into(),
        }
        self.set(world, "m.room.power_levels", "", powers).await
    }

    async fn redact(&self, world: &mut World) -> Outcome {
        let of_room = |(room, id): &(usize, OwnedEventId)| {
            (world.rooms[*room].id == self.room.id).then(|| id.clone())
        };
        let known: Vec<_> = world.said.iter().filter_map(of_room).collect();
        let Some(target) = (!known.is_empty()).then(|| world.numbers.one(&known).clone()) else {
            return Err(Told::Refused("there is nothing to redact".to_owned()));
        };
        let redaction = Redaction {
            room_id: self.room.id.clone(),
            sender: self.user.clone(),
            own_only: false,
            target,
            content: to_raw_value(&json!({})).unwrap(),
            ts: None,
            transaction: None,
        };
        told(redact(world.servers[self.at].engine(), redaction).await).map(Some)
    }

    async fn upgrade(&self, world: &mut World) -> Outcome {
        let version = world.numbers.one(&world.versions).clone();
        let wanted = Upgrade {
            room_id: self.room.id.clone(),
            user_id: self.user.clone(),
            version,
            additional_creators: vec![],
        };
        let id = told(upgrade(world.servers[self.at].engine(), &wanted).await)?;
        world.rooms.push(Room { id });
        Ok(None)
    }

    /// The content of a state event, as this server has it.
    async fn content(&self, world: &World, kind: &str) -> Option<Value> {
        let mut conn = world.servers[self.at].engine().storage.read().await.unwrap();
        let rooms = [self.room.id.to_string()];
        let rows = state_rows::current_events(&mut conn, &rooms, kind).await.unwrap();
        let event: Value = serde_json::from_str(&rows.first()?.2).unwrap();
        Some(event["content"].clone())
    }
}

fn somebody(world: &mut World) -> OwnedUserId {
    let at = world.numbers.below(world.servers.len());
    world.numbers.one(&world.servers[at].users).clone()
}
