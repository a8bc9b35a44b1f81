//! GET /_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms
//!
//! The name that mutual rooms had before they were in the specification.

use serde::Serialize;
use starling_engine::rooms::mutual::Page;

use super::super::mutual_rooms;
use crate::{
    answer::{Answer, json},
    call::Call,
};

/// A page that says under both names where the next one begins.
#[derive(Serialize)]
struct Named {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch_token: Option<String>,
    #[serde(flatten)]
    page: Page,
}

pub(crate) async fn get(call: Call) -> Answer {
    let page = mutual_rooms::page(&call).await?;
    json(&Named { next_batch_token: page.next_batch.clone(), page })
}
