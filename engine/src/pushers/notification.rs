//! What a push gateway is told, as JSON.
//!
//! <https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify>

use std::sync::Arc;

use ruma::{
    OwnedRoomId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
    push::Action,
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use starling_storage::{
    memberships::{self, MembershipRow},
    pushers::PusherRow,
    rooms, unread as marks,
    unread::Notified,
};

use super::pending::Item;
use crate::{
    Engine, Internal,
    events::{Pdu, StoredEvent, pdu::content_str, store},
    push::evaluate::Outcome,
    reading::{
        notified::{Places, is_about, is_read},
        reader::Reader,
    },
    state::Snapshots,
};

/// The format that names the event and says nothing of it.
const EVENT_ID_ONLY: &str = "event_id_only";

/// Something to be told, with all that is known of it.
#[derive(Debug)]
pub(super) struct Told {
    /// The event.
    pub(super) event: Arc<StoredEvent>,
    /// What the user's rules say to do.
    pub(super) actions: Vec<Action>,
    /// What the sender and the room are called.
    pub(super) names: Names,
}

/// Looks up what is to be told; `None` when it is not to be: the user cannot see it, has read it, or it
/// is longer ago than `oldest_ms`.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn told(
    engine: &Engine,
    user_id: &UserId,
    places: &mut Places<'_>,
    item: &Item,
    oldest_ms: i64,
) -> Result<Option<Told>, Internal> {
    let told = match item {
        Item::Event(notified) => event(engine, user_id, places, notified).await?,
        Item::Invite(row) => invite(engine, user_id, places, row).await?,
    };
    let oldest = engine.clock.now_ms().saturating_sub(oldest_ms);
    Ok(told.filter(|told| told.event.received_ts >= oldest))
}

async fn event(
    engine: &Engine,
    user_id: &UserId,
    places: &mut Places<'_>,
    notified: &Notified,
) -> Result<Option<Told>, Internal> {
    let Some(judged) = places.judge(notified).await? else { return Ok(None) };
    let (event, actions) = (judged.event, judged.actions);
    let room_id = &event.pdu.room_id;
    let mut conn = engine.storage.read().await?;
    let marks = marks::marks(&mut conn, user_id.as_str(), room_id.as_str()).await?;
    drop(conn);
    // What was read while the gateway was away is not told.
    if judged.read || is_read(&marks, notified) {
        return Ok(None);
    }
    let names = Names::of(engine, room_id, event.pdu.sender.as_str()).await?;
    Ok(Some(Told { event, actions, names }))
}

/// What somebody and a room are called.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The sender, in the room.
    pub(super) sender: Option<String>,
    /// The room.
    pub(super) room: Option<String>,
    /// Its main alias.
    pub(super) alias: Option<String>,
}

impl Names {
    async fn of(engine: &Engine, room_id: &RoomId, sender: &str) -> Result<Self, Internal> {
        let mut conn = engine.storage.read().await?;
        let room = rooms::get(&mut conn, room_id.as_str()).await?;
        let sender = memberships::get(&mut conn, sender, room_id.as_str()).await?;
        drop(conn);
        let mut names = Self { sender: sender.and_then(|row| row.display_name), ..Self::default() };
        if let Some(room) = room {
            let named =
                async |kind, field| named(engine, room_id, room.current_state, kind, field).await;
            names.room = named(StateEventType::RoomName, "name").await?;
            names.alias = named(StateEventType::RoomCanonicalAlias, "alias").await?;
        }
        Ok(names)
    }

    /// What the state says that came with an invite.
    fn in_stripped(json: &str, sender: &str) -> Self {
        let state: Vec<Stripped<'_>> = serde_json::from_str(json).unwrap_or_default();
        Self {
            sender: Stripped::find(&state, "m.room.member", sender, "displayname"),
            room: Stripped::find(&state, "m.room.name", "", "name"),
            alias: Stripped::find(&state, "m.room.canonical_alias", "", "alias"),
        }
    }
}

async fn named(
    engine: &Engine,
    room_id: &RoomId,
    root: i64,
    kind: StateEventType,
    field: &str,
) -> Result<Option<String>, Internal> {
    let Some(event_id) = Snapshots::of(engine, room_id).get(root, kind, "").await? else {
        return Ok(None);
    };
    let event = store::get(engine, room_id, &event_id).await?;
    let name = event.and_then(|event| event.pdu.content_str(field));
    Ok(name.filter(|name| !name.is_empty()))
}

/// An invite. What came with it may be all that is known of the room.
async fn invite(
    engine: &Engine,
    user_id: &UserId,
    places: &Places<'_>,
    row: &MembershipRow,
) -> Result<Option<Told>, Internal> {
    let room_id = OwnedRoomId::try_from(row.room_id.as_str())?;
    let reader = Reader::new(engine, &room_id, user_id, None, Some(row)).await?;
    let Some(reader) = reader else { return Ok(None) };
    let Some(event) = reader.own_event(row).await? else { return Ok(None) };
    let actions = places.judge_invite(&event.pdu);
    if !Outcome::of(&actions).notify {
        return Ok(None);
    }
    let names = match &row.stripped_state {
        Some(json) => Names::in_stripped(json, &row.sender),
        None => Names::of(engine, &room_id, &row.sender).await?,
    };
    Ok(Some(Told { event, actions, names }))
}

#[derive(Deserialize)]
struct Stripped<'a> {
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

impl Stripped<'_> {
    fn find(all: &[Self], kind: &str, state_key: &str, field: &str) -> Option<String> {
        let it = all.iter().find(|event| event.kind == kind && event.state_key == state_key)?;
        content_str(it.content, field).filter(|text| !text.is_empty())
    }
}

/// A pusher as its gateway is to see it.
pub(super) struct Target<'a> {
    row: &'a PusherRow,
    data: Map<String, Value>,
    /// The address of the gateway.
    pub(super) url: String,
}

impl<'a> Target<'a> {
    /// `None` when what is stored is no pusher of a gateway.
    pub(super) fn of(row: &'a PusherRow) -> Option<Self> {
        let mut data: Map<String, Value> = serde_json::from_str(&row.data).ok()?;
        let url = data.remove("url")?.as_str()?.to_owned();
        Some(Self { row, data, url })
    }

    /// What is told of an event.
    pub(super) fn event(&self, user_id: &UserId, told: &Told, unread: i64) -> Value {
        let pdu = &told.event.pdu;
        let tweaks = tweaks(&told.actions);
        let mut notification = json!({
            "event_id": pdu.event_id,
            "room_id": pdu.room_id,
            "prio": priority(pdu, &tweaks),
            "counts": { "unread": unread },
        });
        if self.data.get("format").and_then(Value::as_str) == Some(EVENT_ID_ONLY) {
            notification["devices"] = self.devices(&Map::new());
            return json!({ "notification": notification });
        }
        notification["type"] = pdu.kind.to_string().into();
        notification["sender"] = pdu.sender.as_str().into();
        notification["content"] = serde_json::from_str(pdu.content.get()).unwrap_or_default();
        for (key, name) in [
            ("sender_display_name", &told.names.sender),
            ("room_name", &told.names.room),
            ("room_alias", &told.names.alias),
        ] {
            if let Some(name) = name {
                notification[key] = name.as_str().into();
            }
        }
        if pdu.kind == TimelineEventType::RoomMember {
            notification["user_is_target"] = is_about(user_id, pdu).into();
        }
        notification["devices"] = self.devices(&tweaks);
        json!({ "notification": notification })
    }

    /// The number of unread messages alone. Gateways leave a number as it is that they are not told, so
    /// it is named also when it is zero.
    pub(super) fn counts(&self, unread: i64) -> Value {
        let counts = json!({ "unread": unread });
        let devices = self.devices(&Map::new());
        json!({ "notification": { "prio": "low", "counts": counts, "devices": devices } })
    }

    fn devices(&self, tweaks: &Map<String, Value>) -> Value {
        let PusherRow { key, set_ts, .. } = self.row;
        let mut device = json!({
            "app_id": key.app_id,
            "pushkey": key.pushkey,
            "pushkey_ts": set_ts / 1_000,
            "data": self.data,
        });
        if !tweaks.is_empty() {
            device["tweaks"] = tweaks.clone().into();
        }
        json!([device])
    }
}

/// What rules say of how to present something.
fn tweaks(actions: &[Action]) -> Map<String, Value> {
    let mut tweaks = Map::new();
    for action in actions {
        let Ok(Value::Object(mut action)) = serde_json::to_value(action) else { continue };
        let Some(Value::String(name)) = action.remove("set_tweak") else { continue };
        // `highlight` alone is true.
        let value = action.remove("value").unwrap_or(Value::Bool(true));
        tweaks.insert(name, value);
    }
    tweaks
}

/// What is to be heard or seen at once wakes the device. What is encrypted may be, which only the device
/// can tell.
fn priority(pdu: &Pdu, tweaks: &Map<String, Value>) -> &'static str {
    let is_urgent = tweaks.contains_key("sound")
        || tweaks.get("highlight").is_some_and(|value| *value != Value::Bool(false))
        || pdu.kind == TimelineEventType::RoomEncrypted;
    if is_urgent { "high" } else { "low" }
}
