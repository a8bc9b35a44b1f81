//! POST /_matrix/client/v3/rooms/{roomId}/invite

use ruma::OwnedRoomId;
use serde_json::{Map, Value, json};
use starling_engine::rooms::membership::{
    content::Member,
    invite::{self, Invite},
};

use crate::wish::About;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    limits::Doing,
    shadow,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    call.door.limits.user(Doing::Joining, &session.user_id)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let body: Map<String, Value> = call.body_as().await?;
    if body.contains_key("medium") || body.contains_key("id_server") {
        return Err(Error::threepid_denied("This server invites nobody by e-mail or telephone"));
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
