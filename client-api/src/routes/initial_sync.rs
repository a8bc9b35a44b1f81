//! GET /_matrix/client/v3/initialSync

use serde::Deserialize;
use starling_engine::{reading::access::Asking, sync::old};

use crate::{
    answer::{Answer, json},
    call::Call,
};

#[derive(Deserialize)]
struct Query {
    limit: Option<u64>,
    #[serde(default)]
    archived: bool,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    let Query { limit, archived } = call.query_as()?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    json(&old::initial(&call.engine, asking, limit, archived).await?)
}
