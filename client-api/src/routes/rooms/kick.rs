//! POST /_matrix/client/v3/rooms/{roomId}/kick

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::rooms::membership::remove::{self, Removal};

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
    let about: About = call.body_as().await?;
    let (sender, target) = (&session.user_id, &about.target()?);
    if session.is_shadow_banned() {
        return shadow::done();
    }
    let removal = Removal { room_id: &room_id, sender, target, reason: about.reason };
    remove::kick(&call.engine, removal).await?;
    answer_json(&json!({}))
}
