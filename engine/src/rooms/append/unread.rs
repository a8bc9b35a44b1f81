//! Whom an event notifies: running numbers for everybody who has the default push rules, and rows for
//! those to whom it means something else. What an event costs does not grow with the members, but
//! with those whose rules are their own.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ruma::{
    Int, OwnedEventId, OwnedUserId, UserId,
    events::{TimelineEventType, room::power_levels::UserPowerLevel},
    power_levels::NotificationPowerLevels,
    push::PushConditionPowerLevelsCtx,
    room_version_rules::RoomPowerLevelsRules,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use starling_storage::{
    At, Conn,
    rooms::partial,
    subscriptions,
    timeline::{self, Entry},
    unread::{self, MAIN, Mark, NotificationRow, Write, notifies},
};

use super::{members, relations};
use crate::{
    Engine,
    events::{Pdu, StoredEvent},
    internal::Internal,
    push::{
        evaluate::{Listener, Outcome, Subject},
        rules,
    },
    rooms::{
        batch::Batch,
        membership::permission,
        power::{self, Powers},
    },
};

/// How many threads of a room are kept with their numbers.
const MAX_KEPT: usize = 100;

/// Counts an event for everybody and for those to whom it means something else; notes at its place
/// what it does.
pub(super) async fn count(
    batch: &mut Batch,
    event: &StoredEvent,
    entry: &mut Entry,
    at: At,
) -> Result<(), Internal> {
    if event.redacted_by.is_some() {
        return Ok(());
    }
    let levels = power_levels(batch, event).await?;
    let members = member_count(batch).await?;
    let Some(subject) = Subject::new(&event.pdu, members, levels) else { return Ok(()) };
    let nobody = Listener {
        user_id: ruma::user_id!("@:localhost").to_owned(),
        display_name: String::new(),
        rules: batch.engine.push.everybody(),
        follows: false,
    };
    let by_default = subject.outcome(&nobody);
    if by_default.is_something() {
        raise(batch, by_default, entry, at).await?;
    }
    notify_some(batch, event, &subject, by_default, entry, at).await
}

/// How many members the room has, as far as can be told.
async fn member_count(batch: &Batch) -> Result<i64, Internal> {
    let known = batch.room.row.joined_members;
    if !batch.room.is_partial() {
        return Ok(known);
    }
    let mut conn = batch.engine.storage.read().await?;
    Ok(known + partial::unseen_members(&mut conn, batch.room.id.as_str()).await?)
}

/// Raises the numbers of the event's thread.
async fn raise(
    batch: &mut Batch,
    outcome: Outcome,
    entry: &mut Entry,
    at: At,
) -> Result<(), Internal> {
    let thread = thread_of(entry);
    let mut numbers = match batch.room.threads.get(&thread) {
        Some(numbers) => *numbers,
        None => {
            let mut conn = batch.engine.storage.read().await?;
            unread::numbers(&mut conn, &entry.room_id, &thread).await?
        }
    };
    numbers.notify += i64::from(outcome.notify);
    numbers.highlight += i64::from(outcome.highlight);
    entry.numbers = numbers;
    entry.notifies = i16::from(outcome.notify) * notifies::NOTIFY
        + i16::from(outcome.highlight) * notifies::HIGHLIGHT;
    if batch.room.threads.len() >= MAX_KEPT {
        batch.room.threads.clear();
    }
    batch.room.threads.insert(thread.clone(), numbers);
    batch.change.write(Write::Numbers { room_id: entry.room_id.clone(), thread, numbers, at });
    Ok(())
}

/// Writes rows for those to whom the event does something else than to everybody.
async fn notify_some(
    batch: &mut Batch,
    event: &StoredEvent,
    subject: &Subject,
    by_default: Outcome,
    entry: &Entry,
    at: At,
) -> Result<(), Internal> {
    let engine = batch.engine.clone();
    let mentioned = mentioned(&event.pdu, &engine.config.server_name);
    let mut conn = engine.storage.read().await?;
    let followers = followers(&engine, &mut conn, &event.pdu).await?;
    let concerned: BTreeSet<String> = mentioned.into_iter().chain(followers.clone()).collect();
    let concerned: Vec<String> = concerned.into_iter().collect();
    let mut listeners = unread::listeners(&mut conn, &entry.room_id, &concerned).await?;
    listeners.extend(invited(&mut conn, &event.pdu, &engine.config.server_name).await?);
    for listener in listeners {
        let Ok(user_id) = OwnedUserId::try_from(listener.user_id.as_str()) else { continue };
        let sender = &event.pdu.sender;
        if rules::ignores(&engine, &mut conn, &user_id, sender, listener.ignored_pos).await? {
            continue;
        }
        let rules = rules::set_at(&engine, &mut conn, &user_id, listener.rules_pos).await?;
        let display_name = listener.display_name.unwrap_or_default();
        let follows = followers.contains(&listener.user_id);
        let outcome = subject.outcome(&Listener { user_id, display_name, rules: &rules, follows });
        // Whoever has rules of their own is not counted with everybody.
        let counted = if listener.own_rules { Outcome::default() } else { by_default };
        let more = |is: bool, was: bool| i16::from(is) - i16::from(was);
        let notify = more(outcome.notify, counted.notify);
        let highlight = more(outcome.highlight, counted.highlight);
        if sender.as_str() != listener.user_id && (notify != 0 || highlight != 0) {
            let row = NotificationRow {
                user_id: listener.user_id,
                room_id: entry.room_id.clone(),
                pos: 0,
                event_id: entry.event_id.clone(),
                thread: thread_of(entry),
                notify,
                highlight,
            };
            batch.change.write(Write::Notification { row, at });
        }
    }
    Ok(())
}

/// The users who follow the thread that an event says it belongs to, where that makes a difference.
async fn followers(
    engine: &Engine,
    conn: &mut Conn,
    pdu: &Pdu,
) -> Result<HashSet<String>, Internal> {
    let Some(root) = thread_root(pdu).filter(|_| engine.config.push.follow_threads) else {
        return Ok(HashSet::new());
    };
    let followers = subscriptions::followers(conn, pdu.room_id.as_str(), root.as_str()).await?;
    Ok(followers.into_iter().collect())
}

/// The users of this server that an event mentions.
fn mentioned(pdu: &Pdu, server_name: &ruma::ServerName) -> Vec<String> {
    let users = mentions(pdu).user_ids.into_iter().flatten();
    let users = users.filter_map(|id| serde_json::from_str::<OwnedUserId>(id.get()).ok());
    users.filter(|id| id.server_name() == server_name).map(|id| id.to_string()).collect()
}

/// The user of this server whom an event invites, if they are shown the invite. Their rules before
/// they joined are the default ones.
async fn invited(
    conn: &mut Conn,
    pdu: &Pdu,
    server_name: &ruma::ServerName,
) -> Result<Option<unread::Listener>, Internal> {
    if pdu.kind != TimelineEventType::RoomMember || members::membership(Some(pdu)) != "invite" {
        return Ok(None);
    }
    let user_id = pdu.state_key.as_deref().and_then(|key| OwnedUserId::try_from(key).ok());
    let Some(user_id) = user_id.filter(|id| id.server_name() == server_name) else {
        return Ok(None);
    };
    let shown = !permission::hides(conn, &user_id, &pdu.sender).await?;
    Ok(shown.then(|| unread::Listener {
        user_id: user_id.to_string(),
        display_name: None,
        own_rules: false,
        rules_pos: None,
        ignored_pos: None,
    }))
}

#[derive(Default, Deserialize)]
struct Mentions<'a> {
    #[serde(borrow)]
    user_ids: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
}

/// The `m.mentions` of an event; what is malformed mentions nobody.
fn mentions(pdu: &Pdu) -> Mentions<'_> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow, rename = "m.mentions")]
        mentions: Option<Mentions<'a>>,
    }
    let content = serde_json::from_str::<Content<'_>>(pdu.content.get());
    content.ok().and_then(|content| content.mentions).unwrap_or_default()
}

/// The power of the sender to notify the whole room, where the event asks for that.
async fn power_levels(
    batch: &Batch,
    event: &StoredEvent,
) -> Result<Option<PushConditionPowerLevelsCtx>, Internal> {
    let asks = mentions(&event.pdu).room.is_some();
    let Some(root) = event.state_before.filter(|_| asks) else { return Ok(None) };
    let rules = &batch.room.rules().authorization;
    let state = batch.state(root, &power::state_keys()).await?;
    let sender = &event.pdu.sender;
    let power = match Powers::new(&state, rules).of(sender) {
        UserPowerLevel::Int(level) => level,
        _ => Int::MAX,
    };
    let [levels, _] = power::state_keys();
    let mut notifications = NotificationPowerLevels::new();
    if let Some(room) = state.get(&levels).and_then(|pdu| level_for_room(pdu)) {
        notifications.room = room;
    }
    Ok(Some(PushConditionPowerLevelsCtx::new(
        BTreeMap::from([(sender.clone(), power)]),
        Int::default(),
        notifications,
        RoomPowerLevelsRules::new(rules, []),
    )))
}

/// `notifications.room` of power levels; what is malformed is not set.
fn level_for_room(pdu: &Pdu) -> Option<Int> {
    #[derive(Deserialize)]
    struct Content {
        notifications: NotificationPowerLevels,
    }
    let content = serde_json::from_str::<Content>(pdu.content.get());
    Some(content.ok()?.notifications.room)
}

/// Who says something has read what was before it.
pub(super) fn read_by_sender(batch: &mut Batch, event: &StoredEvent, entry: &Entry, at: At) {
    let pdu = &event.pdu;
    // Clients and servers set state without anybody looking at the room.
    let is_said = pdu.state_key.is_none() || entry.notifies != 0;
    if pdu.sender.server_name() != batch.engine.config.server_name || !is_said {
        return;
    }
    let mark = Mark {
        user_id: pdu.sender.to_string(),
        room_id: entry.room_id.clone(),
        thread: entry.thread_root.clone().unwrap_or_default(),
        pos: 0,
    };
    batch.change.write(Write::OwnEvent { mark, at });
}

/// Who joins begins with nothing unread, and with the rules that they have.
pub(super) fn read_by_joining(batch: &mut Batch, user_id: &UserId, at: At) {
    let (user_id, room_id) = (user_id.to_string(), batch.room.id.to_string());
    let mark =
        Mark { user_id: user_id.clone(), room_id: room_id.clone(), thread: String::new(), pos: 0 };
    batch.change.write(Write::OwnEvent { mark, at });
    batch.change.write(Write::Joined { user_id, room_id, at });
}

/// The thread that an event belongs to: the one that it says, or that of the event to which it
/// relates. `None`: the main timeline.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts>
pub(super) async fn thread(batch: &Batch, pdu: &Pdu) -> Result<Option<String>, Internal> {
    if let Some(root) = thread_root(pdu) {
        return Ok(Some(root.to_string()));
    }
    let Some(parent) = relations::of(pdu).map(|relation| relation.event_id) else {
        return Ok(None);
    };
    let mut conn = batch.engine.storage.read().await?;
    let entry = timeline::find(&mut conn, batch.room.id.as_str(), &parent).await?;
    drop(conn);
    if let Some(entry) = entry {
        return Ok(entry.thread_root);
    }
    // It may be on the way.
    let Ok(parent) = OwnedEventId::try_from(parent) else { return Ok(None) };
    let parent = batch.event(&parent).await?;
    Ok(parent.and_then(|parent| thread_root(&parent.pdu)).map(|root| root.to_string()))
}

/// The thread that an event says it belongs to.
#[must_use]
pub fn thread_root(pdu: &Pdu) -> Option<OwnedEventId> {
    let relation = relations::of(pdu)?;
    (relation.rel_type == "m.thread").then(|| relation.event_id.try_into().ok()).flatten()
}

fn thread_of(entry: &Entry) -> String {
    entry.thread_root.clone().unwrap_or_else(|| MAIN.to_owned())
}
