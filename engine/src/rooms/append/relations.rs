//! What an event says it relates to.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events>

use serde::Deserialize;
use serde_json::value::RawValue;
use starling_storage::events::{RelationRow, Write};

use crate::{
    events::{Pdu, StoredEvent},
    rooms::batch::Batch,
};

/// The `m.relates_to` of an event.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Relation {
    /// How it relates.
    pub rel_type: String,
    /// To which event.
    pub event_id: String,
}

/// Notes the relation of an event, if it has one.
pub(super) fn note(batch: &mut Batch, event: &StoredEvent) {
    if let Some(row) = row(&event.pdu) {
        batch.change.write(Write::Relation(row));
    }
}

/// The row of the relation of an event, if it has one.
pub(crate) fn row(pdu: &Pdu) -> Option<RelationRow> {
    let relation = of(pdu)?;
    Some(RelationRow {
        room_id: pdu.room_id.to_string(),
        parent_id: relation.event_id,
        event_id: pdu.event_id.to_string(),
        rel_type: relation.rel_type,
        kind: pdu.kind.to_string(),
        sender: pdu.sender.to_string(),
        depth: pdu.depth,
        origin_server_ts: pdu.origin_server_ts.get().into(),
    })
}

/// The relation of an event. One that is malformed is none.
#[must_use]
pub fn of(pdu: &Pdu) -> Option<Relation> {
    of_content(&pdu.content)
}

/// The relation that an event with this content has.
#[must_use]
pub fn of_content(content: &RawValue) -> Option<Relation> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: Relation,
    }
    let relation = serde_json::from_str::<Content>(content.get()).ok()?.relates_to;
    let is_short = relation.rel_type.len() <= 255 && relation.event_id.len() <= 255;
    (is_short && relation.event_id.starts_with('$')).then_some(relation)
}
