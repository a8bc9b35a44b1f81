//! GET /_synapse/admin/v1/users/{userId}/media
//! DELETE /_synapse/admin/v1/users/{userId}/media

use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::admin::{
    media::{self, File, Order, Page},
    users,
};

use crate::{
    admin::{Paging, next},
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    routes::admin::media::{deleted, shown},
};

/// Without an order, the newest come first.
#[derive(Deserialize)]
struct Query {
    order_by: Option<Order>,
    dir: Option<String>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let (page, files, total) = found(&call).await?;
    let shown: Vec<Value> = files.iter().map(shown).collect();
    let mut body = json!({ "media": shown, "total": total });
    if let Some(next) = next((page.offset, page.limit), shown.len(), total) {
        body["next_token"] = next.into();
    }
    answer_json(&body)
}

pub(crate) async fn delete(call: Call) -> Answer {
    let (_, files, _) = found(&call).await?;
    deleted(&media::remove(&call.engine, files).await?)
}

/// The files that the query selects, and how many there are in all.
async fn found(call: &Call) -> Result<(Page<Order>, Vec<File>, i64), Error> {
    call.administrator().await?;
    let user: OwnedUserId = call.path_id(0)?;
    users::get(&call.engine, &user).await?;
    let (query, paging): (Query, Paging) = (call.query_as()?, call.query_as()?);
    let (offset, limit) = paging.page()?;
    let newest_first = query.order_by.is_none() && query.dir.is_none();
    let backwards = newest_first || paging.is_backward();
    let page = Page { order: query.order_by.unwrap_or_default(), backwards, offset, limit };
    let (files, total) = media::of_user(&call.engine, &user, page).await?;
    Ok((page, files, total))
}
