//! POST /_matrix/client/v3/join/{roomIdOrAlias}

use serde_json::json;
use starling_engine::rooms::membership::join::{self, Join};

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
    let wish = Wish::of(&mut call).await?;
    wish.redeem(&call.engine, &session.user_id, &room_id).await?;
    let Wish { reason, more, .. } = wish;
    let join = Join { user_id: &session.user_id, room_id: &room_id, via, reason, more };
    join::join(&call.engine, join).await?;
    answer_json(&json!({ "room_id": room_id }))
}
