//! Reading PDUs of one room: their format, signatures and hashes, in this order. What passes may be
//! judged; nothing is written here.

use std::sync::Arc;

use futures_util::future::join_all;
use ruma::{OwnedEventId, RoomId, room_version_rules::RoomVersionRules};
use serde_json::value::RawValue;

use crate::{
    Engine,
    events::{Pdu, PduError},
    internal::Internal,
    keys::remote::{RemoteKeysError, keys_for_event},
    rooms::checks,
};

/// How many PDUs are verified before others get their turn.
const AT_A_TIME: usize = 64;

/// A PDU that was not taken.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its ID, if it has one.
    pub event_id: Option<OwnedEventId>,
    /// Why, for the peer and the log.
    pub reason: String,
}

/// What came out of one PDU.
pub type Taken = Result<Arc<Pdu>, Refused>;

/// Reads and verifies PDUs that are to be events of a room. The outcomes stand in their order.
///
/// # Errors
///
/// When our own database fails. What a PDU is cannot make it fail.
pub async fn take(
    engine: &Engine,
    room_id: &RoomId,
    rules: &RoomVersionRules,
    pdus: &[Box<RawValue>],
) -> Result<Vec<Taken>, Internal> {
    let mut all = Vec::with_capacity(pdus.len());
    for some in pdus.chunks(AT_A_TIME) {
        // Together, so that the keys of all servers are fetched at the same time.
        let taken = join_all(some.iter().map(|pdu| take_one(engine, room_id, rules, pdu))).await;
        for outcome in taken {
            all.push(outcome?);
        }
        tokio::task::yield_now().await;
    }
    Ok(all)
}

async fn take_one(
    engine: &Engine,
    room_id: &RoomId,
    rules: &RoomVersionRules,
    raw: &RawValue,
) -> Result<Taken, Internal> {
    let pdu = match parse(room_id, rules, raw) {
        Ok(pdu) => pdu,
        Err(refused) => return Ok(Err(refused)),
    };
    let event_id = Some(pdu.event_id.clone());
    let refuse = |reason: String| Ok(Err(Refused { event_id, reason }));
    let keys = match keys_for_event(engine, &pdu, rules).await {
        Ok(keys) => keys,
        Err(RemoteKeysError::Malformed(error)) => return refuse(error.to_string()),
        Err(RemoteKeysError::Internal(error)) => return Err(Internal::Damaged(error.to_string())),
    };
    match checks::check_integrity(pdu, &keys, rules) {
        Ok(pdu) => Ok(Ok(Arc::new(pdu))),
        Err(error) => refuse(error.to_string()),
    }
}

/// Reads a PDU and checks its format, and that it is of the room.
///
/// # Errors
///
/// Why it is refused.
pub fn parse(room_id: &RoomId, rules: &RoomVersionRules, raw: &RawValue) -> Result<Pdu, Refused> {
    let pdu = Pdu::from_json(raw.get(), rules).map_err(|error| {
        let reason = error.to_string();
        match error {
            PduError::Refused { event_id, .. } => Refused { event_id: Some(event_id), reason },
            _ => Refused { event_id: None, reason },
        }
    })?;
    if pdu.room_id == room_id {
        return Ok(pdu);
    }
    let reason = format!("the event is of {}, not of {room_id}", pdu.room_id);
    Err(Refused { event_id: Some(pdu.event_id), reason })
}
