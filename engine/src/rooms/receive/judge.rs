//! One event of a room in which we are: what is missing to judge it, or its fate.

use std::{collections::HashMap, sync::Arc};

use ruma::{EventId, OwnedEventId, events::StateEventType};
use starling_storage::events::flags;

use crate::{
    events::{Pdu, StoredEvent},
    internal::Internal,
    rooms::{
        append::{Disposition, NewEvent},
        authorize::{self, Denied},
        batch::{Batch, State},
        checks::{self, Verdict},
        partial, state_at,
    },
};

/// What can be said of an event.
#[derive(Debug)]
pub enum Judged {
    /// It is stored already, in its place.
    Known,
    /// It can be appended.
    Ready(NewEvent),
    /// Events that it follows are not known, or without their place.
    MissingPrev(Vec<OwnedEventId>),
    /// Events that are to authorise it are not known.
    MissingAuth(Vec<OwnedEventId>),
}

/// Judges an event by all rules, in the specification's order. It is not of our making.
///
/// `state_before` is given when others had to say what the state before it is; else it follows from
/// the events before it.
///
/// # Errors
///
/// When the database fails.
pub async fn judge(
    batch: &mut Batch,
    pdu: &Arc<Pdu>,
    state_before: Option<i64>,
) -> Result<Judged, Internal> {
    let outlier = batch.event(&pdu.event_id).await?;
    if outlier.as_ref().is_some_and(|event| !event.has(flags::OUTLIER)) {
        return Ok(Judged::Known);
    }
    // What was redacted meanwhile stays so, whoever still tells the whole.
    let redacted = outlier.filter(|event| event.redacted_by.is_some());
    let redacted_by = redacted.as_ref().and_then(|event| event.redacted_by.clone());
    let pdu = &redacted.map_or_else(|| pdu.clone(), |event| event.pdu.clone());
    let state_before = match state_before {
        Some(root) => root,
        None => {
            let missing = missing_prev(batch, pdu).await?;
            if !missing.is_empty() {
                return Ok(Judged::MissingPrev(missing));
            }
            match state_at::before(batch, &pdu.prev_events).await? {
                Some(root) => root,
                None => return Ok(Judged::MissingPrev(pdu.prev_events.clone())),
            }
        }
    };
    let auth = auth_events(batch, pdu).await?;
    let missing: Vec<_> =
        named_auth(batch, pdu).into_iter().filter(|id| !auth.contains_key(id)).collect();
    if !missing.is_empty() {
        return Ok(Judged::MissingAuth(missing));
    }
    let in_part = partial::follows_part(batch, pdu).await?;
    let known_before = match in_part {
        true => partial::supplement(batch, state_before, &auth).await?,
        false => state_before,
    };
    // Of who is not known to be there now, the event itself tells.
    let now = match batch.room.row.current_state {
        now if now == state_before => known_before,
        now if batch.room.is_partial() => partial::supplement(batch, now, &auth).await?,
        now => now,
    };
    let disposition = match verdict(batch, pdu, (known_before, now), &auth).await? {
        Verdict::Accepted => Disposition::Accepted,
        Verdict::SoftFailed(denied) => {
            note(pdu, "soft-failed", &denied);
            Disposition::SoftFailed
        }
        Verdict::Rejected(denied) => {
            note(pdu, "rejected", &denied);
            Disposition::Rejected
        }
        Verdict::Missing(event_id) => return Ok(Judged::MissingAuth(vec![event_id])),
    };
    let pdu = pdu.clone();
    // What a rejected event claims is not believed.
    let rejected = disposition == Disposition::Rejected;
    let state_before = Some(if rejected { state_before } else { known_before });
    Ok(Judged::Ready(NewEvent { pdu, state_before, disposition, redacted_by, local: false }))
}

/// Whether an event in its place holds by its auth events and by the state before it.
///
/// # Errors
///
/// When the database fails.
pub async fn holds(batch: &Batch, pdu: &Pdu, state_before: i64) -> Result<bool, Internal> {
    let Ok(keys) = authorize::state_keys(pdu, batch.room.rules()) else { return Ok(false) };
    let auth = auth_events(batch, pdu).await?;
    let before = batch.state(state_before, &keys).await?;
    let verdict = checks::check_authorisation(
        pdu,
        batch.room.rules(),
        |id: &EventId| Some(auth.get(id)?.pdu.clone()),
        |kind, state_key| at(&before, kind, state_key),
        |kind, state_key| at(&before, kind, state_key),
    );
    Ok(verdict == Verdict::Accepted)
}

fn note(pdu: &Pdu, fate: &str, denied: &Denied) {
    tracing::info!(
        event.id = %pdu.event_id, room.id = %pdu.room_id, sender = %pdu.sender, fate,
        reason = %denied, "An event was not accepted"
    );
}

/// The events that an event follows and that are not there, or not in their place.
async fn missing_prev(batch: &Batch, pdu: &Pdu) -> Result<Vec<OwnedEventId>, Internal> {
    let known = batch.events(&pdu.prev_events).await?;
    let in_place = |id: &OwnedEventId| known.get(id).is_some_and(|event| event.is_in_place());
    Ok(pdu.prev_events.iter().filter(|id| !in_place(id)).cloned().collect())
}

/// The IDs of the events that authorise an event, the one included that its room ID names.
fn named_auth(batch: &Batch, pdu: &Pdu) -> Vec<OwnedEventId> {
    let rules = &batch.room.rules().authorization;
    let create = authorize::create_event_id(&pdu.room_id, rules);
    let create = create.filter(|create| *create != pdu.event_id);
    pdu.auth_events.iter().cloned().chain(create).collect()
}

async fn auth_events(
    batch: &Batch,
    pdu: &Pdu,
) -> Result<HashMap<OwnedEventId, Arc<StoredEvent>>, Internal> {
    batch.events(&named_auth(batch, pdu)).await
}

async fn verdict(
    batch: &Batch,
    pdu: &Pdu,
    (before, now): (i64, i64),
    auth: &HashMap<OwnedEventId, Arc<StoredEvent>>,
) -> Result<Verdict, Internal> {
    let keys = match authorize::state_keys(pdu, batch.room.rules()) {
        Ok(keys) => keys,
        Err(denied) => return Ok(Verdict::Rejected(denied)),
    };
    let before = batch.state(before, &keys).await?;
    let now = batch.state(now, &keys).await?;
    Ok(checks::check_authorisation(
        pdu,
        batch.room.rules(),
        |id: &EventId| Some(auth.get(id)?.pdu.clone()),
        |kind, state_key| at(&before, kind, state_key),
        |kind, state_key| at(&now, kind, state_key),
    ))
}

fn at(state: &State, kind: &StateEventType, state_key: &str) -> Option<Arc<Pdu>> {
    state.get(&(kind.clone(), state_key.to_owned())).cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        events::store,
        reading::stage::{ALICE, Stage, message, on_stage},
        rooms::{append, receive::outliers, room, testing},
    };

    /// Judges an event and appends it, as an outlier or in its place.
    async fn take(stage: &Stage, pdu: &Arc<Pdu>, in_place: bool) {
        let mut guard = room::lock(&stage.engine, &stage.room.room_id).await.unwrap().unwrap();
        let mut batch = Batch::new(&stage.engine, &guard);
        let Judged::Ready(mut new) = judge(&mut batch, pdu, None).await.unwrap() else {
            panic!("nothing is missing")
        };
        if !in_place {
            new.state_before = None;
            new.disposition = Disposition::Outlier;
        }
        append::append(&mut batch, new).await.unwrap();
        batch.commit(&mut guard).await.unwrap();
    }

    #[tokio::test]
    async fn an_outlier_that_was_redacted_stays_so_when_it_gets_its_place() {
        on_stage(async |mut stage| {
            let said = stage.room.make(message(ALICE, "a mistake"));
            take(&stage, &said, false).await;
            let content = json!({ "redacts": said.event_id });
            let draft = testing::draft("m.room.redaction", ALICE, "", content);
            let redaction = stage.send(testing::Draft { state_key: None, ..draft }).await;
            take(&stage, &said, true).await;
            let stored = store::get(&stage.engine, &stage.room.room_id, &said.event_id).await;
            let stored = stored.unwrap().unwrap();
            assert!(stored.is_visible());
            assert_eq!(stored.redacted_by.as_ref(), Some(&redaction.event_id));
            assert_eq!(stored.pdu.content.get(), "{}");
        })
        .await;
    }

    /// The rules of the versions before 12 let who made the room make a second create event.
    #[tokio::test]
    async fn a_room_is_created_once() {
        on_stage(async |stage| {
            let create = stage.room.get(&StateEventType::RoomCreate, "").unwrap();
            let content = serde_json::from_str(create.content.get()).unwrap();
            let draft = testing::draft("m.room.create", create.sender.as_str(), "", content);
            let another = |ts| {
                let draft = testing::Draft { ts, ..draft.clone() };
                testing::build(&draft, Some(&stage.room.room_id), &[], &[], &stage.room.rules)
            };
            let (in_place, outlier) = (another(77), another(78));
            take(&stage, &in_place, true).await;
            let mut guard = room::lock(&stage.engine, &stage.room.room_id).await.unwrap().unwrap();
            let mut batch = Batch::new(&stage.engine, &guard);
            let outliers = [&outlier, &create].map(|pdu| (pdu.event_id.clone(), pdu.clone()));
            outliers::add(&mut batch, &outliers.into()).await.unwrap();
            batch.commit(&mut guard).await.unwrap();
            let ids = [&create, &in_place, &outlier].map(|pdu| pdu.event_id.clone());
            let batch = Batch::new(&stage.engine, &guard);
            let stored = batch.events(&ids).await.unwrap();
            let rejected = ids.map(|id| stored[&id].has(flags::REJECTED));
            assert_eq!(rejected, [false, true, true]);
        })
        .await;
    }
}
