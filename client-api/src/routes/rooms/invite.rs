//! POST /_matrix/client/v3/rooms/{roomId}/invite

use ruma::{OwnedRoomId, RoomId, UserId};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use starling_engine::rooms::membership::{
    content::Member,
    invite::{self, Invite},
    threepid::{self, ThirdParty},
};

use crate::wish::About;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
    shadow,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    call.limit(Doing::Joining, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let body: Map<String, Value> = call.body_as().await?;
    if ["medium", "address", "id_server"].iter().any(|field| body.contains_key(*field)) {
        return match session.is_shadow_banned() {
            true => shadow::done(),
            false => by_address(&mut call, &room_id, &session.user_id).await,
        };
    }
    let about: About = call.body_as().await?;
    let target = about.target()?;
    if session.is_shadow_banned() {
        return shadow::done();
    }
    let member = Member { reason: about.reason, ..Member::default() };
    let sender = &session.user_id;
    let invite = Invite { room_id: &room_id, sender, target: &target, member };
    invite::invite(&call.engine, invite).await?;
    answer_json(&json!({}))
}

/// The other form of the request: whom it is about, an identity server knows.
async fn by_address(call: &mut Call, room_id: &RoomId, sender: &UserId) -> Answer {
    #[derive(Deserialize)]
    struct Reason {
        reason: Option<String>,
    }
    let whom: ThirdParty = call.body_as().await?;
    let Reason { reason } = call.body_as().await?;
    let member = Member { reason, ..Member::default() };
    threepid::invite(&call.engine, room_id, sender, &whom, member).await?;
    answer_json(&json!({}))
}
