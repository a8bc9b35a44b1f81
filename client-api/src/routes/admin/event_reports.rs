//! GET /_synapse/admin/v1/event_reports
//! GET /_synapse/admin/v1/event_reports/{reportId}
//! DELETE /_synapse/admin/v1/event_reports/{reportId}

use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::{
    Engine,
    admin::{
        reports::{self, Wanted},
        rooms,
    },
};

use crate::{
    admin::{Direction, next},
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Query {
    from: Option<i64>,
    limit: Option<i64>,
    #[serde(default = "backward")]
    dir: Direction,
    user_id: Option<String>,
    room_id: Option<String>,
    event_sender_user_id: Option<String>,
}

fn backward() -> Direction {
    Direction::Backward
}

pub(crate) async fn get_all(call: Call) -> Answer {
    call.administrator().await?;
    let query: Query = call.query_as()?;
    let page = crate::admin::Paging::of(query.from, query.limit).page()?;
    let wanted = Wanted {
        reporter: query.user_id,
        room_id: query.room_id,
        user_id: query.event_sender_user_id,
        events_only: true,
        oldest_first: query.dir == Direction::Forward,
        offset: page.0,
        limit: page.1,
    };
    let (rows, total) = reports::list(&call.engine, &wanted).await?;
    let mut shown = Vec::with_capacity(rows.len());
    for row in &rows {
        shown.push(report(&call.engine, row).await?);
    }
    let mut body = json!({ "event_reports": shown, "total": total });
    if let Some(next) = next(page, rows.len(), total) {
        body["next_token"] = next.into();
    }
    answer_json(&body)
}

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let row = reports::get(&call.engine, call.path_arg(0)).await?;
    let row = row.filter(|row| row.event_id.is_some()).ok_or_else(no_report)?;
    let mut body = report(&call.engine, &row).await?;
    let event = reports::event(&call.engine, &row).await?;
    body["event_json"] = json!(event);
    answer_json(&body)
}

pub(crate) async fn delete(call: Call) -> Answer {
    call.administrator().await?;
    match reports::remove(&call.engine, call.path_arg(0)).await? {
        true => answer_json(&json!({})),
        false => Err(no_report()),
    }
}

fn no_report() -> Error {
    Error::not_found("There is no such report")
}

async fn report(engine: &Engine, row: &reports::Row) -> Result<Value, Error> {
    let room = match &row.room_id {
        Some(room_id) => rooms::summary(engine, room_id).await?,
        None => None,
    };
    let room = room.as_ref();
    Ok(json!({
        "id": row.report_id,
        "received_ts": row.received_ts,
        "room_id": row.room_id,
        "name": room.and_then(|room| room.name.as_ref()),
        "canonical_alias": room.and_then(|room| room.canonical_alias.as_ref()),
        "event_id": row.event_id,
        "user_id": row.reporter,
        "reason": row.reason,
        "score": null,
        "sender": row.user_id,
    }))
}
