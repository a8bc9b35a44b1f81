//! POST /_synapse/admin/v1/user/{userId}/media/quarantine

use ruma::OwnedUserId;
use serde_json::json;
use starling_engine::admin::{
    media::{self, Selection},
    users,
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn post_quarantine(call: Call) -> Answer {
    let by = call.administrator().await?.user_id;
    let user: OwnedUserId = call.path_id(0)?;
    users::get(&call.engine, &user).await?;
    let selection = Selection::Of(&user);
    let count = media::quarantine(&call.engine, by.as_str(), selection).await?;
    answer_json(&json!({ "num_quarantined": count }))
}
