//! POST /_synapse/admin/v1/media/quarantine/{serverName}/{mediaId}

use serde_json::json;
use starling_engine::admin::media;

use super::known;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn post(call: Call) -> Answer {
    let session = call.administrator().await?;
    let (id, _) = known(&call).await?;
    let selection = media::Selection::One(&id);
    media::quarantine(&call.engine, session.user_id.as_str(), selection).await?;
    answer_json(&json!({}))
}
