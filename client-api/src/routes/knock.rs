//! POST /_matrix/client/v3/knock/{roomIdOrAlias}

use serde_json::{Map, json};
use starling_engine::rooms::membership::{join::Join, knock};

use crate::wish::{Named, Wish};
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    limits::Doing,
};

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    call.limit(Doing::Joining, &session)?;
    let Named { room_id, via } = Named::of(&call).await?;
    let Wish { reason, .. } = Wish::of(&mut call).await?;
    if session.is_shadow_banned() {
        return answer_json(&json!({ "room_id": room_id }));
    }
    let more = Map::new();
    let knock = Join { user_id: &session.user_id, room_id: &room_id, via, reason, more };
    knock::knock(&call.engine, knock).await?;
    answer_json(&json!({ "room_id": room_id }))
}
