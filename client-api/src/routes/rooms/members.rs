//! GET /_matrix/client/v3/rooms/{roomId}/members

use ruma::{OwnedRoomId, events::room::member::MembershipState};
use serde::Deserialize;
use serde_json::json;
use starling_engine::reading::{
    access::Asking,
    state::{self, WantedMembers},
    token::PageToken,
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

#[derive(Deserialize)]
struct Query {
    at: Option<String>,
    membership: Option<MembershipState>,
    not_membership: Option<MembershipState>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let query: Query = call.query_as()?;
    let at = query.at.as_deref().map(PageToken::parse).transpose()?;
    let at = at.map_or(i64::MAX, PageToken::pos);
    let wanted =
        WantedMembers { at, membership: query.membership, not_membership: query.not_membership };
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    let chunk = state::members(&call.engine, asking, &room_id, &wanted).await?;
    answer_json(&json!({ "chunk": chunk }))
}
