//! Ephemeral messages of other servers. Each is taken or dropped by itself: none is an error.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#edus>

use std::collections::BTreeMap;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Engine,
    encryption::receive as encryption,
    internal::Internal,
    presence,
    rooms::{
        receipts::{self, RemoteReceipt},
        serve::access,
        typing,
    },
};

/// How many receipts one transaction may hold; what is more is dropped.
const MAX_RECEIPTS: usize = 1000;
/// How long an event ID may be.
const MAX_ID_BYTES: usize = 255;

#[derive(Deserialize)]
struct Edu<'a> {
    edu_type: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Typing {
    room_id: OwnedRoomId,
    user_id: OwnedUserId,
    typing: bool,
}

/// By room, by receipt type, by user.
type Receipts = BTreeMap<String, BTreeMap<String, BTreeMap<String, Box<RawValue>>>>;

#[derive(Deserialize)]
struct Receipt {
    event_ids: Vec<String>,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    ts: Option<i64>,
    thread_id: Option<String>,
}

/// Takes in what a server says about its own users in rooms that it may take part in, about their
/// devices, and to devices here.
///
/// # Errors
///
/// When what must not be lost could not be stored: the server will send it again.
pub async fn receive(
    engine: &Engine,
    origin: &ServerName,
    edus: &[Box<RawValue>],
) -> Result<(), Internal> {
    let mut left = MAX_RECEIPTS;
    for edu in edus {
        let Ok(edu) = serde_json::from_str::<Edu<'_>>(edu.get()) else { continue };
        let taken = match edu.edu_type.as_str() {
            "m.typing" => receive_typing(engine, origin, edu.content).await,
            "m.receipt" => receive_receipts(engine, origin, edu.content, &mut left).await,
            "m.presence" => presence::receive(engine, origin, edu.content).await,
            "m.direct_to_device" => {
                encryption::direct_to_device(engine, origin, edu.content).await?;
                Ok(())
            }
            "m.device_list_update" => {
                encryption::device_list_update(engine, origin, edu.content).await?;
                Ok(())
            }
            "m.signing_key_update" => {
                encryption::signing_key_update(engine, origin, edu.content).await?;
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = taken {
            tracing::error!(%error, server.name = %origin, "An EDU could not be taken in");
        }
    }
    Ok(())
}

async fn receive_typing(
    engine: &Engine,
    origin: &ServerName,
    content: &RawValue,
) -> Result<(), Internal> {
    let Ok(content) = serde_json::from_str::<Typing>(content.get()) else { return Ok(()) };
    if content.user_id.server_name() != origin
        || !access::acl_allows(engine, &content.room_id, origin).await?
    {
        return Ok(());
    }
    typing::receive(engine, &content.room_id, &content.user_id, content.typing).await
}

async fn receive_receipts(
    engine: &Engine,
    origin: &ServerName,
    content: &RawValue,
    left: &mut usize,
) -> Result<(), Internal> {
    let Ok(content) = serde_json::from_str::<Receipts>(content.get()) else { return Ok(()) };
    for (room_id, mut by_type) in content {
        let Ok(room_id) = OwnedRoomId::try_from(room_id) else { continue };
        // Private receipts are nobody's business, and no other type is specified.
        let Some(by_user) = by_type.remove("m.read") else { continue };
        if !access::acl_allows(engine, &room_id, origin).await? {
            continue;
        }
        for (user_id, receipt) in by_user {
            if *left == 0 {
                return Ok(());
            }
            *left -= 1;
            receive_receipt(engine, origin, &room_id, &user_id, &receipt).await?;
        }
    }
    Ok(())
}

async fn receive_receipt(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    user_id: &str,
    receipt: &RawValue,
) -> Result<(), Internal> {
    let Ok(user_id) = <&UserId>::try_from(user_id) else { return Ok(()) };
    let Ok(receipt) = serde_json::from_str::<Receipt>(receipt.get()) else { return Ok(()) };
    let Some(event_id) = receipt.event_ids.last() else { return Ok(()) };
    // It may name an event that is not known here, which nobody can check.
    if event_id.is_empty() || event_id.len() > MAX_ID_BYTES {
        return Ok(());
    }
    if user_id.server_name() != origin {
        return Ok(());
    }
    let ts = receipt.data.ts.unwrap_or_else(|| engine.clock.now_ms());
    let thread_id = receipt.data.thread_id.as_deref();
    receipts::receive(engine, RemoteReceipt { room_id, user_id, event_id, ts, thread_id }).await
}
