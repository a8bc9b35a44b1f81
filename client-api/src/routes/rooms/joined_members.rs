//! GET /_matrix/client/v3/rooms/{roomId}/joined_members

use std::collections::BTreeMap;

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::reading::{access::Asking, state};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    let members = state::joined_members(&call.engine, asking, &room_id).await?;
    let joined: BTreeMap<_, _> =
        members.into_iter().map(|member| (member.user_id.clone(), member)).collect();
    answer_json(&json!({ "joined": joined }))
}
