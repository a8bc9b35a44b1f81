//! Making events: from what a user wants to say to an event that is hashed and signed.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#pdus>

use std::{collections::BTreeMap, sync::Arc};

use ruma::{
    CanonicalJsonValue, OwnedEventId, OwnedUserId, RoomId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    append::{self, Disposition, NewEvent},
    authorize::{self, Denied},
    batch::{Batch, State},
    owned_state, state_at,
};
use crate::{
    Engine,
    events::{
        Canonical, Pdu, StoredEvent,
        format::{MAX_ID_BYTES, MAX_PDU_BYTES},
        hashes,
        sign::{Expectation, Role, SignError, sign_event},
    },
    internal::Internal,
    rng,
};

/// How many events a new one may follow.
const MAX_PREV_EVENTS: usize = 20;

/// The greatest depth, 2^53−1.
const MAX_DEPTH: i64 = (1 << 53) - 1;

/// Bytes that hash and signature add to an event at most.
const SEAL_BYTES: usize = 700;

/// What somebody wants to say in a room.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Who.
    pub sender: OwnedUserId,
    /// The event type.
    pub kind: TimelineEventType,
    /// For state events.
    pub state_key: Option<String>,
    /// The content, a JSON object.
    pub content: Box<RawValue>,
    /// For redactions: what is redacted. It goes where the room version keeps it.
    pub redacts: Option<OwnedEventId>,
    /// The time of the event instead of the present (milliseconds since the epoch).
    pub ts: Option<i64>,
}

impl Draft {
    /// A state event.
    #[must_use]
    pub fn state(
        sender: OwnedUserId,
        kind: impl Into<TimelineEventType>,
        state_key: impl Into<String>,
        content: Box<RawValue>,
    ) -> Self {
        let state_key = Some(state_key.into());
        Self { sender, kind: kind.into(), state_key, content, redacts: None, ts: None }
    }

    /// Whether somebody would be joined by it.
    #[must_use]
    pub fn is_join(&self) -> bool {
        self.kind == TimelineEventType::RoomMember
            && content_field(&self.content, "membership").as_deref() == Some("join")
    }
}

/// Why an event was not made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The content is not what the room version takes as JSON, or not what the event type needs.
    #[error("{0}")]
    BadContent(String),
    /// The event, its type or its state key is too large.
    #[error("the event is too large")]
    TooLarge,
    /// The rules of the room do not allow it.
    #[error(transparent)]
    Denied(Denied),
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// An event without hash and signatures.
#[derive(Clone, Debug)]
pub struct Outline {
    /// The event.
    pub event: Canonical,
    /// Root of the state before it.
    pub state_before: i64,
}

/// Makes an event at the end of the room and adds it to the batch, if the rules allow it.
///
/// # Errors
///
/// See [`BuildError`].
pub async fn author(batch: &mut Batch, draft: &Draft) -> Result<Arc<Pdu>, BuildError> {
    let (pdu, state_before) = compose(batch, draft).await?;
    let disposition = Disposition::Accepted;
    let state_before = Some(state_before);
    let new =
        NewEvent { pdu: pdu.clone(), state_before, disposition, redacted_by: None, local: true };
    append::append(batch, new).await?;
    Ok(pdu)
}

/// Makes an event at the end of the room, if the rules allow it, with the root of the state before
/// it; the room stays as it is.
///
/// # Errors
///
/// See [`BuildError`].
pub async fn compose(batch: &mut Batch, draft: &Draft) -> Result<(Arc<Pdu>, i64), BuildError> {
    let outline = outline(batch, draft).await?;
    let room_id = batch.room.id.clone();
    let pdu = seal(&batch.engine, Some(&room_id), draft, outline.event, batch.room.rules())?;
    authorise(batch, &pdu, outline.state_before).await?;
    Ok((Arc::new(pdu), outline.state_before))
}

/// Makes an event at the end of the room, without hash and signature: to be sealed here, or by the
/// server that asked for it.
///
/// # Errors
///
/// [`BuildError::BadContent`] or [`BuildError::Internal`].
pub async fn outline(batch: &mut Batch, draft: &Draft) -> Result<Outline, BuildError> {
    let prev = choose_prev(batch).await?;
    let prev_ids: Vec<OwnedEventId> = prev.iter().map(|event| event.pdu.event_id.clone()).collect();
    let state_before = state_at::before(batch, &prev_ids).await?;
    let state_before =
        state_before.ok_or_else(|| Internal::Damaged("an extremity has no state".to_owned()))?;
    let auth = auth_events(batch, draft, state_before).await?;
    let depth = prev.iter().map(|event| event.pdu.depth).max().unwrap_or(0);
    let links = Links {
        prev_events: prev.iter().map(|event| &*event.pdu).collect(),
        auth_events: auth.iter().map(|pdu| &**pdu).collect(),
        depth: depth.saturating_add(1).min(MAX_DEPTH),
    };
    let event = text(&batch.engine, Some(&batch.room.id), draft, &links, batch.room.rules())?;
    Ok(Outline { event, state_before })
}

/// The ends of the graph; of too many the deepest.
async fn choose_prev(batch: &Batch) -> Result<Vec<Arc<StoredEvent>>, Internal> {
    let ends: Vec<OwnedEventId> = batch.room.extremities.iter().cloned().collect();
    let mut prev: Vec<_> = batch.events(&ends).await?.into_values().collect();
    prev.sort_by(|a, b| (b.pdu.depth, &a.pdu.event_id).cmp(&(a.pdu.depth, &b.pdu.event_id)));
    prev.truncate(MAX_PREV_EVENTS);
    Ok(prev)
}

async fn auth_events(batch: &Batch, draft: &Draft, root: i64) -> Result<Vec<Arc<Pdu>>, BuildError> {
    let Draft { kind, sender, state_key, content, .. } = draft;
    let rules = batch.room.rules();
    let keys = authorize::auth_types(kind, sender, state_key.as_deref(), content, rules)
        .map_err(|denied| BuildError::BadContent(denied.to_string()))?;
    let state = batch.state(root, &keys).await?;
    Ok(keys.iter().filter_map(|key| state.get(key).cloned()).collect())
}

/// What an event builds upon.
#[derive(Default)]
struct Links<'a> {
    prev_events: Vec<&'a Pdu>,
    auth_events: Vec<&'a Pdu>,
    depth: i64,
}

#[derive(Serialize)]
struct EventText<'a> {
    #[serde(rename = "type")]
    kind: &'a TimelineEventType,
    sender: &'a OwnedUserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a RoomId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    content: BTreeMap<String, Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a OwnedEventId>,
    prev_events: CanonicalJsonValue,
    auth_events: CanonicalJsonValue,
    depth: i64,
    origin_server_ts: i64,
}

/// Writes an event down.
fn text(
    engine: &Engine,
    room_id: Option<&RoomId>,
    draft: &Draft,
    links: &Links<'_>,
    rules: &RoomVersionRules,
) -> Result<Canonical, BuildError> {
    let mut content: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(draft.content.get()).map_err(|error| bad_content(&error))?;
    let in_content = rules.redaction.content_field_redacts;
    if let Some(target) = draft.redacts.as_ref().filter(|_| in_content) {
        let target = serde_json::value::to_raw_value(target).map_err(Internal::from)?;
        content.insert("redacts".to_owned(), target);
    }
    let references = |events: &[&Pdu]| hashes::references(events.iter().copied(), rules);
    let damaged = |error: hashes::HashError| Internal::Damaged(error.to_string());
    let server_name = &engine.config.server_name;
    let event = EventText {
        kind: &draft.kind,
        sender: &draft.sender,
        room_id,
        event_id: rules
            .event_format
            .require_event_id
            .then(|| format!("${}:{server_name}", rng::token::<18>())),
        state_key: draft.state_key.as_deref(),
        content,
        redacts: draft.redacts.as_ref().filter(|_| !in_content),
        prev_events: references(&links.prev_events).map_err(damaged)?,
        auth_events: references(&links.auth_events).map_err(damaged)?,
        depth: links.depth,
        origin_server_ts: draft.ts.unwrap_or_else(|| engine.clock.now_ms()),
    };
    let text = serde_json::to_string(&event).map_err(Internal::from)?;
    Canonical::parse(&text, rules).map_err(|error| bad_content(&error))
}

/// Makes an event that follows one whose room is not known here. It never leaves this server: it tells
/// a user of ours how an invite or a knock ended when no server in the room could be told.
///
/// # Errors
///
/// See [`BuildError`].
pub(super) fn beside(
    engine: &Engine,
    last: &Pdu,
    draft: &Draft,
    rules: &RoomVersionRules,
) -> Result<Pdu, BuildError> {
    let depth = last.depth.saturating_add(1).min(MAX_DEPTH);
    let links = Links { prev_events: vec![last], auth_events: vec![last], depth };
    let event = text(engine, Some(&last.room_id), draft, &links, rules)?;
    seal(engine, Some(&last.room_id), draft, event, rules)
}

fn bad_content(error: &dyn std::fmt::Display) -> BuildError {
    BuildError::BadContent(error.to_string())
}

/// Makes the create event of a room, which builds upon nothing. `room_id` where it has one.
///
/// # Errors
///
/// See [`BuildError`].
pub fn create_event(
    engine: &Engine,
    room_id: Option<&RoomId>,
    draft: &Draft,
    rules: &RoomVersionRules,
) -> Result<Arc<Pdu>, BuildError> {
    let links = Links { depth: 1, ..Links::default() };
    let event = text(engine, room_id, draft, &links, rules)?;
    let pdu = Arc::new(seal(engine, room_id, draft, event, rules)?);
    authorize::check_event(&pdu, rules, |_| None).map_err(BuildError::Denied)?;
    Ok(pdu)
}

/// Hashes and signs an event of one of our users.
pub(super) fn seal(
    engine: &Engine,
    room_id: Option<&RoomId>,
    draft: &Draft,
    event: Canonical,
    rules: &RoomVersionRules,
) -> Result<Pdu, BuildError> {
    let too_long = |text: &str| text.len() > MAX_ID_BYTES;
    let kind = draft.kind.to_string();
    let size = event.to_text().len();
    if too_long(&kind) || draft.state_key.as_deref().is_some_and(too_long) || size > MAX_PDU_BYTES {
        return Err(BuildError::TooLarge);
    }
    let membership = content_field(&draft.content, "membership");
    let expected = Expectation {
        role: Role::Author,
        origin: &engine.config.server_name,
        kind: &kind,
        room_id,
        sender: &draft.sender,
        state_key: draft.state_key.as_deref(),
        membership: membership.as_deref(),
    };
    match sign_event(&expected, event, engine.signing_keys.current(), rules) {
        Ok(pdu) => Ok(pdu),
        Err(SignError::Format(_)) if size + SEAL_BYTES > MAX_PDU_BYTES => Err(BuildError::TooLarge),
        Err(error) => Err(BuildError::BadContent(error.to_string())),
    }
}

/// A string at the top of a content.
pub(super) fn content_field(content: &RawValue, field: &str) -> Option<String> {
    let content: BTreeMap<String, &RawValue> = serde_json::from_str(content.get()).ok()?;
    serde_json::from_str(content.get(field)?.get()).ok()
}

/// Checks an event of our own against the state before it, and against the current one where it
/// differs.
async fn authorise(batch: &Batch, pdu: &Pdu, state_before: i64) -> Result<(), BuildError> {
    let rules = batch.room.rules();
    let keys = authorize::state_keys(pdu, rules).map_err(BuildError::Denied)?;
    let before = batch.state(state_before, &keys).await?;
    let at =
        |kind: &StateEventType, key: &str| before.get(&(kind.clone(), key.to_owned())).cloned();
    owned_state::check_form(pdu, at).map_err(BuildError::BadContent)?;
    let known = |id: &ruma::EventId| before.values().find(|event| event.event_id == id).cloned();
    authorize::check_event(pdu, rules, known).map_err(BuildError::Denied)?;
    check_state(pdu, rules, &before)?;
    let current = batch.room.row.current_state;
    if current != state_before {
        check_state(pdu, rules, &batch.state(current, &keys).await?)?;
    }
    Ok(())
}

fn check_state(pdu: &Pdu, rules: &RoomVersionRules, state: &State) -> Result<(), BuildError> {
    let get = |kind: &_, key: &str| state.get(&(Clone::clone(kind), key.to_owned())).cloned();
    authorize::check_state(pdu, rules, get).map_err(BuildError::Denied)
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn a_join_is_one_however_it_is_written() {
        let alice = user_id!("@alice:x.org");
        let is_join = |kind: &str, content: &str| {
            let content = RawValue::from_string(content.to_owned()).unwrap();
            Draft::state(alice.to_owned(), kind, alice.as_str(), content).is_join()
        };
        assert!(is_join("m.room.member", r#"{"membership":"join"}"#));
        assert!(is_join("m.room.member", r#"{"member\u0073hip":"jo\u0069n"}"#));
        assert!(is_join("m.room.member", r#"{"membership":"leave","membership":"join"}"#));
        assert!(!is_join("m.room.member", r#"{"membership":"leave"}"#));
        assert!(!is_join("m.room.member", r#"{"membership":1}"#));
        assert!(!is_join("m.room.topic", r#"{"membership":"join"}"#));
    }
}
