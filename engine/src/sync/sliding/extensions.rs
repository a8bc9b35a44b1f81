//! What there is beside rooms: messages to the device, keys, account data, receipts, typing, threads.
//!
//! MSC3884, MSC3885, MSC3959, MSC3960, MSC3961 and MSC4308.

use std::collections::BTreeMap;

use ruma::RoomId;
use serde_json::{json, value::RawValue};
use starling_storage::{account_data::REMOVED, receipts};

use super::{
    Sliding,
    answer::{AccountData, Extensions, Keys, ToDevice},
    connection::Sent,
    request::Scope,
};
use crate::{
    Internal,
    push::rules,
    reading::subscriptions::{self, ChangesRequest},
    sync::streams::{account_data, ephemeral},
};

/// What the client asked for.
pub(super) async fn all(sliding: &mut Sliding<'_>) -> Result<Extensions, Internal> {
    let wanted = sliding.request.extensions.clone();
    let mut extensions = Extensions::default();
    if wanted.to_device.is_some() {
        extensions.to_device = Some(to_device(sliding)?);
    }
    if wanted.e2ee {
        extensions.e2ee = Some(keys(sliding));
    }
    if let Some(scope) = &wanted.account_data {
        extensions.account_data = Some(noted(sliding, scope)?);
    }
    if let Some(scope) = &wanted.receipts {
        extensions.receipts = Some(read(sliding, scope).await?);
    }
    if let Some(scope) = &wanted.typing {
        extensions.typing = Some(typing(sliding, scope)?);
    }
    if let Some(limit) = wanted.thread_subscriptions {
        let (from, to) = (Some(sliding.moment.head), sliding.moment.since);
        let request = ChangesRequest { from, to, limit: Some(limit) };
        let (engine, user_id) = (sliding.engine, sliding.asking.user_id);
        let changes = subscriptions::changes(engine, user_id, request).await?;
        extensions.thread_subscriptions = Some(changes);
    }
    Ok(extensions)
}

fn to_device(sliding: &Sliding<'_>) -> Result<ToDevice, Internal> {
    let wanted = sliding.request.extensions.to_device.and_then(|wanted| wanted.since);
    let last = sliding.moment.to_device.last().map(|(pos, _)| *pos);
    // A future that was lost was not seen.
    let next = last.unwrap_or_else(|| wanted.unwrap_or(0).min(sliding.moment.head));
    let messages = sliding.moment.to_device.iter();
    let events = messages.map(|(_, json)| RawValue::from_string(json.clone()));
    Ok(ToDevice { next_batch: next.to_string(), events: events.collect::<Result<_, _>>()? })
}

fn keys(sliding: &mut Sliding<'_>) -> Keys {
    let supply = sliding.moment.supply.clone();
    let known = sliding.state.supply.replace(supply.clone());
    Keys {
        device_lists: sliding.moment.since.map(|_| sliding.moment.device_lists.clone()),
        supply_changed: known.as_ref() != Some(&supply),
        supply,
    }
}

/// New account data; all of what was not sent on the connection yet.
fn noted(sliding: &mut Sliding<'_>, scope: &Scope) -> Result<AccountData, Internal> {
    let mut data = AccountData { global: global(sliding)?, ..AccountData::default() };
    let rooms: Vec<String> = sliding.shown_in(scope).collect();
    for room_id in rooms {
        let mut state = sliding.state.room(&room_id);
        let (all, new) = (&sliding.moment.all_account_data, &sliding.moment.account_data);
        let due = if state.account_data.is_all() { new } else { all };
        let due = due.get(&room_id).into_iter().flatten();
        let events = due.map(|(kind, content)| event(kind, content));
        let events: Vec<_> = events.collect::<Result<_, _>>()?;
        if !events.is_empty() {
            data.rooms.insert(room_id.clone(), events);
        }
        state.account_data = Sent::ALL;
        sliding.state.set_room(&room_id, state);
    }
    Ok(data)
}

/// Global account data. Push rules are there from the beginning on, also those that nobody set.
fn global(sliding: &mut Sliding<'_>) -> Result<Vec<Box<RawValue>>, Internal> {
    let begins = !sliding.state.account_data.is_all();
    let (all, new) = (&sliding.moment.all_account_data, &sliding.moment.account_data);
    let due = if begins { all } else { new };
    let mut events = Vec::new();
    let mut stored = None;
    for (kind, content) in due.get("").into_iter().flatten() {
        match kind.as_str() {
            rules::KIND => stored = Some(content.as_str()),
            _ if begins && content == REMOVED => {}
            _ => events.push(event(kind, content)?),
        }
    }
    if begins || stored.is_some() {
        let user_id = sliding.asking.user_id;
        events.push(account_data::rules_event(sliding.engine, user_id, stored)?);
    }
    sliding.state.account_data = Sent::ALL;
    Ok(events)
}

fn event(kind: &str, content: &str) -> Result<Box<RawValue>, Internal> {
    account_data::event(kind, serde_json::from_str(content)?)
}

/// New receipts. Where none were sent, the user's own and those for the events that are shown: clients
/// ask for no others.
async fn read(
    sliding: &mut Sliding<'_>,
    scope: &Scope,
) -> Result<BTreeMap<String, Box<RawValue>>, Internal> {
    let mut events = BTreeMap::new();
    let rooms: Vec<String> = sliding.shown_in(scope).collect();
    for room_id in rooms {
        if !sliding.moment.is_joined(&room_id) {
            continue;
        }
        let mut state = sliding.state.room(&room_id);
        let mut rows = due(sliding, &room_id, state.receipts).await?;
        rows.retain(|row| ephemeral::is_for(sliding.asking.user_id, &sliding.moment.ignored, row));
        // In one event a user has one receipt for an event: the one for the whole room counts most.
        rows.sort_by_key(|row| (row.thread_id.is_empty(), row.pos));
        if !rows.is_empty() {
            let mut content = json!({});
            rows.iter().for_each(|row| ephemeral::add_receipt(&mut content, row));
            events.insert(room_id.clone(), ephemeral::receipt_event(content)?);
        }
        state.receipts = Sent::ALL;
        sliding.state.set_room(&room_id, state);
    }
    Ok(events)
}

async fn due(
    sliding: &Sliding<'_>,
    room_id: &str,
    sent: Sent,
) -> Result<Vec<receipts::ReceiptRow>, Internal> {
    let (since, head) = (sliding.moment.since, sliding.moment.head);
    if sent.is_all() && since.is_some() {
        return Ok(sliding.moment.receipts.get(room_id).cloned().unwrap_or_default());
    }
    let mut conn = sliding.engine.storage.read().await?;
    let room = [room_id.to_owned()];
    if let Some(until) = sent.until(since) {
        return Ok(receipts::between(&mut conn, &room, until, head).await?);
    }
    let shown = sliding.timelines.get(room_id).map(Vec::as_slice).unwrap_or_default();
    let mut rows = vec![];
    if let Some((_, first)) = shown.first() {
        // Who reads an event does so after it happened.
        rows = receipts::between(&mut conn, &room, first.saturating_sub(1), head).await?;
        rows.retain(|row| shown.iter().any(|(event_id, _)| *event_id == row.event_id));
    }
    let user_id = sliding.asking.user_id.as_str();
    rows.retain(|row| row.user_id != user_id);
    let own = receipts::of_user(&mut conn, room_id, user_id).await?;
    rows.extend(own.into_iter().filter(|row| row.pos <= head));
    Ok(rows)
}

fn typing(
    sliding: &Sliding<'_>,
    scope: &Scope,
) -> Result<BTreeMap<String, Box<RawValue>>, Internal> {
    let mut events = BTreeMap::new();
    for room_id in sliding.shown_in(scope) {
        let Ok(id) = RoomId::parse(&room_id) else { continue };
        let fresh = !sliding.sent_before.contains(&room_id);
        let since = if fresh { 0 } else { sliding.moment.typing_since };
        let until = sliding.moment.token.typing;
        let Some(mut users) = sliding.engine.typing.changed(&id, since, until) else { continue };
        users.retain(|user_id| !sliding.moment.ignored.contains(user_id));
        if sliding.moment.is_joined(&room_id) && !(fresh && users.is_empty()) {
            events.insert(room_id, ephemeral::typing_event(&users)?);
        }
    }
    Ok(events)
}
