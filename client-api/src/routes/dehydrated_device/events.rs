//! GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events
//! POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events

use serde::Deserialize;
use starling_engine::encryption::dehydrated;

use crate::{
    answer::{Answer, json},
    call::Call,
};

#[derive(Deserialize)]
struct Page {
    next_batch: Option<String>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let page: Page = call.query_as()?;
    page_of(&call, page).await
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.authenticated().await?;
    let page: Page = call.body_as().await?;
    page_of(&call, page).await
}

async fn page_of(call: &Call, page: Page) -> Answer {
    let user = call.authenticated().await?.user_id;
    let from = page.next_batch.as_deref();
    json(&dehydrated::messages(&call.engine, &user, call.path_arg(0), from).await?)
}
