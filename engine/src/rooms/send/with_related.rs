//! Redacting an event together with what relates to it: its edits, or the reactions to it.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/3912>

use ruma::OwnedEventId;
use starling_storage::relations;

use super::{Redaction, SendError, redact};
use crate::Engine;

/// Stands for every kind of relation.
const ANY: &str = "*";

/// How many related events are redacted at most.
const MOST: i64 = 1_000;

/// Redacts an event, and those that relate to it directly in one of these ways (`*`: in any) as far as the
/// sender may redact them. Who repeats the request has the rest redacted that was not, as by a crash.
///
/// # Errors
///
/// See [`SendError`]; of the related events only [`SendError::Internal`].
pub async fn redact_with_related(
    engine: &Engine,
    redaction: Redaction,
    rel_types: &[String],
) -> Result<OwnedEventId, SendError> {
    let event_id = redact(engine, redaction.clone()).await?;
    let any = rel_types.iter().any(|rel_type| rel_type == ANY);
    let rel_types = Some(rel_types).filter(|_| !any);
    let (room_id, target) = (redaction.room_id.as_str(), redaction.target.as_str());
    let mut conn = engine.storage.read().await.map_err(crate::Internal::from)?;
    let related = relations::children(&mut conn, room_id, target, rel_types, MOST).await;
    drop(conn);
    for related in related.map_err(crate::Internal::from)? {
        let target = OwnedEventId::try_from(related).map_err(crate::Internal::from)?;
        let one = Redaction { target, transaction: None, ..redaction.clone() };
        // Events of others stay where the sender may redact only their own.
        if let Err(SendError::Internal(error)) = redact(engine, one).await {
            return Err(error.into());
        }
    }
    Ok(event_id)
}
