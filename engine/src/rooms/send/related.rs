//! What the server asks of events of its own users that relate to others.

use ruma::{OwnedEventId, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;
use starling_storage::relations::{self as rows, Related};

use super::SendError;
use crate::{
    Engine,
    events::store,
    rooms::{append::relations, build::Draft},
};

/// How many annotations of one event by one user are compared with a new one.
const MAX_ANNOTATIONS: i64 = 500;

/// Checks a draft that is about to become an event; the room is locked.
pub(super) async fn check(
    engine: &Engine,
    room_id: &RoomId,
    draft: &Draft,
) -> Result<(), SendError> {
    let Some(relation) = relations::of_content(&draft.content) else { return Ok(()) };
    if draft.state_key.is_some() {
        return Ok(());
    }
    match relation.rel_type.as_str() {
        "m.thread" => check_thread(engine, room_id, &relation.event_id).await,
        "m.annotation" => check_annotation(engine, room_id, draft, &relation.event_id).await,
        _ => Ok(()),
    }
}

/// A thread cannot begin with an event that relates to another.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships>
async fn check_thread(engine: &Engine, room_id: &RoomId, root: &str) -> Result<(), SendError> {
    let Ok(root) = OwnedEventId::try_from(root) else { return Ok(()) };
    let Some(root) = store::get(engine, room_id, &root).await? else { return Ok(()) };
    match relations::of(&root.pdu) {
        Some(_) => Err(SendError::NoThreadRoot),
        None => Ok(()),
    }
}

/// Nobody annotates an event twice with the same key.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations>
async fn check_annotation(
    engine: &Engine,
    room_id: &RoomId,
    draft: &Draft,
    parent_id: &str,
) -> Result<(), SendError> {
    let Some(key) = key(&draft.content) else { return Ok(()) };
    let kind = draft.kind.to_string();
    let same = Related { parent_id, rel_type: Some("m.annotation"), kind: Some(&kind), depth: 1 };
    let mut conn = engine.storage.read().await.map_err(crate::Internal::from)?;
    let sender = draft.sender.as_str();
    let found = rows::of_user(&mut conn, room_id.as_str(), same, sender, MAX_ANNOTATIONS).await;
    drop(conn);
    let ids = found.map_err(crate::Internal::from)?.into_iter();
    let ids: Vec<_> = ids.filter_map(|id| OwnedEventId::try_from(id).ok()).collect();
    let events = store::get_many(engine, room_id, &ids).await?;
    match events.values().any(|event| self::key(&event.pdu.content).as_ref() == Some(&key)) {
        true => Err(SendError::DuplicateAnnotation),
        false => Ok(()),
    }
}

fn key(content: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: Annotation,
    }
    #[derive(Deserialize)]
    struct Annotation {
        key: String,
    }
    Some(serde_json::from_str::<Content>(content.get()).ok()?.relates_to.key)
}
