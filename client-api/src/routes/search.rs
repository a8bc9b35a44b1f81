//! POST /_matrix/client/v3/search

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use starling_engine::{
    reading::{access::Asking, filter::EventFilter},
    search::{
        document::Key,
        find::{self, Around, DEFAULT_CONTEXT, Found, GroupBy, SearchRequest},
        token::Order,
    },
};

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Query {
    next_batch: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    search_categories: Categories,
}

#[derive(Deserialize)]
struct Categories {
    room_events: Option<Criteria>,
}

#[derive(Deserialize)]
struct Criteria {
    search_term: String,
    keys: Option<Vec<String>>,
    filter: Option<Box<RawValue>>,
    order_by: Option<String>,
    event_context: Option<EventContext>,
    #[serde(default)]
    include_state: bool,
    groupings: Option<Groupings>,
}

#[derive(Deserialize)]
struct EventContext {
    before_limit: Option<u64>,
    after_limit: Option<u64>,
    #[serde(default)]
    include_profile: bool,
}

#[derive(Deserialize)]
struct Groupings {
    #[serde(default)]
    group_by: Vec<Grouping>,
}

#[derive(Deserialize)]
struct Grouping {
    key: String,
}

#[derive(Serialize)]
struct Response {
    search_categories: Results,
}

#[derive(Serialize)]
struct Results {
    #[serde(skip_serializing_if = "Option::is_none")]
    room_events: Option<Found>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let query: Query = call.query_as()?;
    let request: Request = call.body_as().await?;
    let Some(criteria) = request.search_categories.room_events else {
        return json(&Response { search_categories: Results { room_events: None } });
    };
    let keys = keys(criteria.keys)?;
    let group_by = group_by(criteria.groupings)?;
    let filter = criteria.filter.map(|filter| EventFilter::parse(filter.get())).transpose()?;
    let request = SearchRequest {
        term: &criteria.search_term,
        keys: &keys,
        filter: filter.unwrap_or_default(),
        order: order(criteria.order_by.as_deref())?,
        around: criteria.event_context.map(around),
        include_state: criteria.include_state,
        group_by: &group_by,
        from: query.next_batch.as_deref(),
    };
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    let found = find::search(&call.engine, asking, request).await?;
    json(&Response { search_categories: Results { room_events: Some(found) } })
}

fn keys(keys: Option<Vec<String>>) -> Result<Vec<Key>, Error> {
    let Some(keys) = keys else { return Ok(Key::ALL.to_vec()) };
    let mut known = vec![];
    for key in keys {
        let key = match key.as_str() {
            "content.body" => Key::Body,
            "content.name" => Key::Name,
            "content.topic" => Key::Topic,
            _ => return Err(Error::invalid_param("One of the `keys` is unknown")),
        };
        if !known.contains(&key) {
            known.push(key);
        }
    }
    Ok(known)
}

fn group_by(groupings: Option<Groupings>) -> Result<Vec<GroupBy>, Error> {
    let mut known = vec![];
    for Grouping { key } in groupings.into_iter().flat_map(|groupings| groupings.group_by) {
        let key = match key.as_str() {
            "room_id" => GroupBy::Room,
            "sender" => GroupBy::Sender,
            _ => return Err(Error::invalid_param("A key in `group_by` is unknown")),
        };
        if !known.contains(&key) {
            known.push(key);
        }
    }
    Ok(known)
}

fn order(order: Option<&str>) -> Result<Order, Error> {
    match order {
        None | Some("rank") => Ok(Order::Rank),
        Some("recent") => Ok(Order::Recent),
        Some(_) => Err(Error::invalid_param("`order_by` is unknown")),
    }
}

fn around(context: EventContext) -> Around {
    Around {
        before: context.before_limit.unwrap_or(DEFAULT_CONTEXT),
        after: context.after_limit.unwrap_or(DEFAULT_CONTEXT),
        profiles: context.include_profile,
    }
}
