//! One transaction: what is in it, and whether the other server took it.

use std::time::Duration;

use crate::{Engine, remote::Limits, rng};
use bytes::Bytes;
use ruma::ServerName;
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::{
    DbError,
    events::EventRow,
    federation::{DestinationRow, InFlight},
    timeline::{self, Entry},
};

/// How many events a transaction has at most (by the specification).
pub(super) const MAX_PDUS: usize = 50;
/// How many ephemeral messages a transaction has at most (by the specification).
pub(super) const MAX_EDUS: usize = 100;
/// A server that is owed more events than this, and was away for long, gets the newest of each room and asks for the
/// others. One that is only slower than we are is given everything: clients that follow may not hear of what their
/// server had to ask for.
const CATCH_UP_ABOVE: usize = 500;
/// How old the oldest event is that a server was not given when it was away for long, in milliseconds.
const CATCH_UP_AFTER_MS: i64 = 10 * 60 * 1_000;
/// What a transaction may cost. A server that has to fetch what it missed takes its time.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(60), max_body: 256 * 1024 };

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// No answer, or one that may be another next time.
    #[error("{0}")]
    Later(String),
    /// The server will never take this body.
    #[error("{0}")]
    Never(String),
}

#[derive(Serialize)]
struct Body<'a> {
    origin: &'a ServerName,
    origin_server_ts: i64,
    pdus: Vec<&'a RawValue>,
    edus: Vec<Box<RawValue>>,
}

/// The events that a server is owed next, at most `limit`, and where its cursor goes when it has
/// them.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn owed(
    engine: &Engine,
    server: &ServerName,
    cursor: i64,
    limit: usize,
) -> Result<(Vec<EventRow>, i64), DbError> {
    let head = engine.storage.feed().head();
    if cursor >= head {
        return Ok((Vec::new(), cursor));
    }
    let page = |count| i64::try_from(count).unwrap_or(i64::MAX);
    let (server_name, page_of_all) = (server.as_str(), page(CATCH_UP_ABOVE + 1));
    let mut conn = engine.storage.read().await?;
    let mut rows = timeline::owed_to(&mut conn, server_name, cursor, head, page(limit)).await?;
    let long_ago = engine.clock.now_ms() - CATCH_UP_AFTER_MS;
    if rows.first().is_some_and(|(oldest, _)| oldest.received_ts < long_ago) {
        let all = timeline::owed_to(&mut conn, server_name, cursor, head, page_of_all).await?;
        if all.len() > CATCH_UP_ABOVE {
            let newest = timeline::newest_owed_to;
            rows = newest(&mut conn, server_name, cursor, head, page(limit)).await?;
        }
    }
    Ok(first(rows, limit, head, server))
}

fn first(
    mut rows: Vec<(EventRow, Entry)>,
    limit: usize,
    head: i64,
    server: &ServerName,
) -> (Vec<EventRow>, i64) {
    let whole = rows.len() < limit;
    rows.truncate(limit);
    let last = rows.last().map_or(head, |(_, entry)| entry.pos);
    // What its own user sent through us (a join, say) it knows.
    let events = rows.into_iter().map(|(event, _)| event).filter(|event| {
        event.sender.split_once(':').is_none_or(|(_, domain)| domain != server.as_str())
    });
    (events.collect(), if whole { head } else { last })
}

/// Puts events and ephemeral messages into a transaction with a new ID.
///
/// # Errors
///
/// When a stored event is not JSON.
pub(super) fn compose(
    engine: &Engine,
    events: &[EventRow],
    edus: Vec<Box<RawValue>>,
    (pos, rows): (i64, Option<String>),
) -> Result<InFlight, serde_json::Error> {
    let pdus = events.iter().map(|event| serde_json::from_str(&event.json));
    let body = Body {
        origin: &engine.config.server_name,
        origin_server_ts: engine.clock.now_ms(),
        pdus: pdus.collect::<Result<_, _>>()?,
        edus,
    };
    Ok(InFlight { txn_id: rng::token::<12>(), body: serde_json::to_string(&body)?, pos, rows })
}

/// Sends a transaction.
///
/// # Errors
///
/// [`Refused`] when the server did not take it.
pub(super) async fn send(
    engine: &Engine,
    server: &ServerName,
    txn: &InFlight,
) -> Result<(), Refused> {
    let later = |error: &dyn std::fmt::Display| Refused::Later(error.to_string());
    let request = http::Request::put(format!("/_matrix/federation/v1/send/{}", txn.txn_id))
        .body(Bytes::from(txn.body.clone()))
        .map_err(|error| later(&error))?;
    let response =
        engine.transport.send(server, request, LIMITS).await.map_err(|error| later(&error))?;
    let status = response.status();
    match status.as_u16() {
        200..=299 => {
            log_refused_events(server, response.body());
            Ok(())
        }
        400 | 413 if is_about_the_body(status, response.body()) => {
            Err(Refused::Never(format!("status {status}")))
        }
        _ => Err(Refused::Later(format!("status {status}"))),
    }
}

/// A server that cannot read a transaction will not read it the next time either. Of other servers
/// (a proxy, say) nothing is believed.
fn is_about_the_body(status: http::StatusCode, body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Refusal {
        errcode: String,
    }
    let errcode = serde_json::from_slice::<Refusal>(body).map(|refusal| refusal.errcode);
    status == http::StatusCode::PAYLOAD_TOO_LARGE
        || matches!(errcode.as_deref(), Ok("M_BAD_JSON" | "M_NOT_JSON" | "M_TOO_LARGE"))
}

/// What became of each event is the other server's business; it helps to find faults.
fn log_refused_events(server: &ServerName, body: &[u8]) {
    #[derive(serde::Deserialize)]
    struct Answer {
        #[serde(default)]
        pdus: std::collections::BTreeMap<String, serde_json::Value>,
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else { return };
    for (event_id, result) in answer.pdus {
        if let Some(error) = result.get("error") {
            tracing::info!(server.name = %server, event.id = event_id, %error, "An event was refused");
        }
    }
}

/// The row of a server that was never sent anything: it is owed what happened since it came.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn destination(
    engine: &Engine,
    server: &ServerName,
) -> Result<DestinationRow, DbError> {
    let mut conn = engine.storage.read().await?;
    let row = starling_storage::federation::destination(&mut conn, server.as_str()).await?;
    if let Some(row) = row {
        return Ok(row);
    }
    let head = engine.storage.feed().head();
    let joined = starling_storage::rooms::first_joined_pos(&mut conn, server.as_str()).await?;
    let cursor_pos = joined.map_or(head, |pos| pos.saturating_sub(1));
    Ok(DestinationRow { server: server.to_string(), cursor_pos, ..DestinationRow::default() })
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;
    use crate::{
        reading::stage::{ALICE, Stage, message},
        testing::{config, on_each_database_with},
    };

    #[tokio::test]
    async fn who_was_away_for_long_is_given_the_newest_and_who_is_slow_everything() {
        on_each_database_with(config(server_name!("a.org")), async |test| {
            let (engine, carol) = (&test.engine, "@carol:b.org");
            let mut stage = Stage::new(engine.clone()).await;
            stage.member(carol, carol, "join").await;
            let cursor = engine.storage.feed().head();
            let said: Vec<_> =
                (0..=CATCH_UP_ABOVE).map(|_| stage.room.send(message(ALICE, "hello"))).collect();
            stage.append(&said).await;
            let owed = async || {
                let server = server_name!("b.org");
                let (events, cursor) = owed(engine, server, cursor, MAX_PDUS).await.unwrap();
                (events.into_iter().map(|event| event.event_id).collect::<Vec<_>>(), cursor)
            };
            let (events, next) = owed().await;
            assert!(events.iter().eq(said[..MAX_PDUS].iter().map(|pdu| pdu.event_id.as_str())));
            assert!(next < engine.storage.feed().head());
            test.clock.advance(CATCH_UP_AFTER_MS + 1_000);
            let newest = said.last().unwrap().event_id.to_string();
            assert_eq!(owed().await, (vec![newest], engine.storage.feed().head()));
            test
        })
        .await
        .unwrap();
    }
}
