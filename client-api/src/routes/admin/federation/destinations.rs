//! GET /_synapse/admin/v1/federation/destinations
//! GET /_synapse/admin/v1/federation/destinations/{destination}
//! GET /_synapse/admin/v1/federation/destinations/{destination}/rooms
//! POST /_synapse/admin/v1/federation/destinations/{destination}/reset_connection

use ruma::OwnedServerName;
use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::admin::destinations::{self, Destination, Order};

use crate::{
    admin::{Paging, next},
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    order_by: OrderBy,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OrderBy {
    #[default]
    Destination,
    RetryLastTs,
    RetryInterval,
    FailureTs,
    LastSuccessfulStreamOrdering,
}

pub(crate) async fn get_all(call: Call) -> Answer {
    call.administrator().await?;
    let (Query { order_by }, paging): (_, Paging) = (call.query_as()?, call.query_as()?);
    let order = match order_by {
        OrderBy::Destination => Order::Name,
        OrderBy::RetryLastTs | OrderBy::FailureTs => Order::Retry,
        OrderBy::RetryInterval => Order::Failures,
        OrderBy::LastSuccessfulStreamOrdering => Order::Cursor,
    };
    let page = paging.page()?;
    let order = (order, paging.is_backward());
    let (servers, total) = destinations::list(&call.engine, order, page).await?;
    let shown: Vec<Value> = servers.iter().map(shown).collect();
    let mut body = json!({ "destinations": shown, "total": total });
    if let Some(next) = next(page, servers.len(), total) {
        body["next_token"] = next.to_string().into();
    }
    answer_json(&body)
}

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    answer_json(&shown(&known(&call).await?.1))
}

pub(crate) async fn get_rooms(call: Call) -> Answer {
    call.administrator().await?;
    let (server, _) = known(&call).await?;
    let paging: Paging = call.query_as()?;
    let page = paging.page()?;
    let backward = paging.is_backward();
    let (rooms, total) = destinations::rooms(&call.engine, &server, backward, page).await?;
    let shown = rooms.iter().map(|(room, pos)| json!({ "room_id": room, "stream_ordering": pos }));
    let mut body = json!({ "rooms": shown.collect::<Vec<_>>(), "total": total });
    if let Some(next) = next(page, rooms.len(), total) {
        body["next_token"] = next.to_string().into();
    }
    answer_json(&body)
}

pub(crate) async fn post_reset_connection(call: Call) -> Answer {
    call.administrator().await?;
    let (server, state) = known(&call).await?;
    if state.failures == 0 {
        return Err(Error::unknown("Nothing went wrong with this server"));
    }
    destinations::retry(&call.engine, &server);
    answer_json(&json!({}))
}

async fn known(call: &Call) -> Result<(OwnedServerName, Destination), Error> {
    let server: OwnedServerName = call.path_id(0)?;
    let state = destinations::get(&call.engine, &server).await?;
    let state = state.ok_or_else(|| Error::not_found("This server has nothing to do with it"))?;
    Ok((server, state))
}

fn shown(server: &Destination) -> Value {
    json!({
        "destination": server.server,
        "retry_last_ts": server.failed_ts,
        "retry_interval": server.pause_ms,
        "failure_ts": Some(server.failed_ts).filter(|ts| *ts > 0),
        "last_successful_stream_ordering": server.sent_pos,
        "last_success_ts": server.last_success_ts,
        "last_error": server.last_error,
        "queued_events": server.queued,
    })
}
