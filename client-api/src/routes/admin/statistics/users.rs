//! GET /_synapse/admin/v1/statistics/users/media

use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::admin::media::{self, Page, UserOrder, UserRow, Wanted};

use crate::{
    admin::{Paging, next},
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    order_by: UserOrder,
    #[serde(default)]
    from_ts: i64,
    until_ts: Option<i64>,
    search_term: Option<String>,
}

pub(crate) async fn get_media(call: Call) -> Answer {
    call.administrator().await?;
    let (query, paging): (Query, Paging) = (call.query_as()?, call.query_as()?);
    let page = paging.page()?;
    let until_ts = query.until_ts.unwrap_or(i64::MAX);
    if query.from_ts < 0 || until_ts <= query.from_ts {
        return Err(Error::invalid_param("`until_ts` must be after `from_ts`"));
    }
    if query.search_term.as_deref() == Some("") {
        return Err(Error::invalid_param("`search_term` must not be empty"));
    }
    let wanted = Wanted {
        from_ts: query.from_ts,
        until_ts,
        search: query.search_term,
        page: Page {
            order: query.order_by,
            backwards: paging.is_backward(),
            offset: page.0,
            limit: page.1,
        },
    };
    let (users, total) = media::users(&call.engine, &wanted).await?;
    let shown: Vec<Value> = users.iter().map(shown).collect();
    let mut body = json!({ "users": shown, "total": total });
    if let Some(next) = next(page, shown.len(), total) {
        body["next_token"] = next.into();
    }
    answer_json(&body)
}

fn shown(user: &UserRow) -> Value {
    let name = user.display_name.as_ref().and_then(|json| serde_json::from_str::<Value>(json).ok());
    json!({
        "user_id": user.user_id,
        "displayname": name,
        "media_count": user.count,
        "media_length": user.size,
    })
}
