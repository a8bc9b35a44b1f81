//! What somebody who is invited to a room, or knocks, may know of it; and reading what other servers
//! say of theirs.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#stripped-state>

use std::sync::Arc;

use ruma::{
    OwnedEventId, RoomId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde::Deserialize;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use crate::{
    Engine,
    events::{Pdu, store, verify::SignatureError},
    internal::Internal,
    keys::remote::{RemoteKeysError, keys_for_event},
    rooms::{
        checks::{self, Dropped},
        receive::intake,
    },
    state::{StateKey, store::Snapshots},
};

/// What helps to recognise a room.
const TYPES: [StateEventType; 8] = [
    StateEventType::RoomCreate,
    StateEventType::RoomName,
    StateEventType::RoomAvatar,
    StateEventType::RoomTopic,
    StateEventType::RoomJoinRules,
    StateEventType::RoomCanonicalAlias,
    StateEventType::RoomEncryption,
    StateEventType::RoomHistoryVisibility,
];
/// How many stripped events of another server are kept ...
const MAX_EVENTS: usize = 50;
/// ... and of how many bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Why the state that came with an invite makes the invite void.
#[derive(Debug, thiserror::Error)]
pub enum StrippedError {
    /// What is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A failure of ours.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// The state events at a root that help to recognise the room.
///
/// # Errors
///
/// When the database fails.
pub async fn of_room(
    engine: &Engine,
    room_id: &RoomId,
    root: i64,
) -> Result<Vec<Arc<Pdu>>, Internal> {
    let keys: Vec<StateKey> = TYPES.into_iter().map(|kind| (kind, String::new())).collect();
    let ids = Snapshots::of(engine, room_id).get_many(root, &keys).await?;
    let ids: Vec<OwnedEventId> = ids.into_iter().flatten().collect();
    let events = store::get_many(engine, room_id, &ids).await?;
    Ok(ids.iter().filter_map(|id| Some(events.get(id)?.pdu.clone())).collect())
}

#[derive(Deserialize)]
struct Stripped<'a> {
    #[serde(rename = "type")]
    kind: String,
    state_key: String,
    sender: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// Reads the state that came with an invite or a knock: whole events where the room version asks for
/// it, which are checked then. What clients get of each is its type, key, sender and content.
///
/// # Errors
///
/// [`StrippedError::Invalid`] when the create event of a room that is named by it is missing or is of
/// another room, and for events of other rooms or with wrong signatures.
pub async fn read(
    engine: &Engine,
    room_id: &RoomId,
    rules: &RoomVersionRules,
    events: &[Box<RawValue>],
) -> Result<Vec<Box<RawValue>>, StrippedError> {
    // By its ID the room can be told from the create event, so that the event can be asked for.
    let strict = rules.authorization.room_create_event_id_as_room_id;
    let (mut kept, mut size, mut create) = (Vec::new(), 0, false);
    for event in events.iter().take(MAX_EVENTS) {
        if strict || is_whole(event) {
            match check(engine, room_id, rules, event).await? {
                Some(pdu) => create |= pdu.kind == TimelineEventType::RoomCreate,
                None => continue,
            }
        }
        let Some(stripped) = strip(event) else { continue };
        size += stripped.get().len();
        if size > MAX_BYTES {
            break;
        }
        kept.push(stripped);
    }
    if strict && !create {
        return Err(StrippedError::Invalid("`m.room.create` of the room is missing".to_owned()));
    }
    Ok(kept)
}

/// Whether an event is more than stripped.
fn is_whole(event: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Sealed<'a> {
        #[serde(borrow)]
        hashes: Option<&'a RawValue>,
        #[serde(borrow)]
        signatures: Option<&'a RawValue>,
    }
    serde_json::from_str::<Sealed<'_>>(event.get())
        .is_ok_and(|sealed| sealed.hashes.is_some() && sealed.signatures.is_some())
}

/// Checks a whole event. `None`: its signature cannot be checked now, and nothing else vouches for
/// it. The create event of a room that is named by it is vouched for by its hash.
async fn check(
    engine: &Engine,
    room_id: &RoomId,
    rules: &RoomVersionRules,
    event: &RawValue,
) -> Result<Option<Pdu>, StrippedError> {
    let invalid = |reason: String| StrippedError::Invalid(reason);
    let pdu = intake::parse(room_id, rules, event).map_err(|refused| invalid(refused.reason))?;
    let keys = match keys_for_event(engine, &pdu, rules).await {
        Ok(keys) => keys,
        Err(RemoteKeysError::Malformed(error)) => return Err(invalid(error.to_string())),
        Err(RemoteKeysError::Internal(error)) => {
            return Err(Internal::Damaged(error.to_string()).into());
        }
    };
    let names_room = pdu.names_its_room();
    match checks::check_integrity(pdu.clone(), &keys, rules) {
        Ok(checked) => Ok(Some(checked)),
        Err(Dropped::Signature(SignatureError::KeysMissing { .. })) => {
            Ok(Some(pdu).filter(|_| names_room))
        }
        Err(error) => Err(invalid(error.to_string())),
    }
}

fn strip(event: &RawValue) -> Option<Box<RawValue>> {
    let Stripped { kind, state_key, sender, content } = serde_json::from_str(event.get()).ok()?;
    // A content that is no object, or a sender that is no user, would make clients stumble.
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(content.get()).ok()?;
    <&ruma::UserId>::try_from(sender.as_str()).ok()?;
    let stripped =
        json!({ "type": kind, "state_key": state_key, "sender": sender, "content": content });
    to_raw_value(&stripped).ok()
}
