//! The servers that this one sends to, and how that goes.

use std::time::Duration;

use bytes::Bytes;
use ruma::ServerName;
use starling_storage::{admin::destinations as rows, db::Conn};

pub use starling_storage::admin::destinations::Order;

use crate::{Engine, Internal, ask, outbound, remote::Limits};

/// What a look at another server may cost.
const REACH: Limits = Limits { timeout: Duration::from_secs(40), max_body: 64 * 1024 };

/// A server and how sending to it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The server.
    pub server: String,
    /// When it failed last; 0 when the last attempt succeeded.
    pub failed_ts: i64,
    /// For how long it is left alone, about; 0 when the last attempt succeeded.
    pub pause_ms: i64,
    /// How often it failed in a row.
    pub failures: i64,
    /// When it last took something.
    pub last_success_ts: Option<i64>,
    /// Why it last did not take something; `None` since it did again.
    pub last_error: Option<String>,
    /// Up to which position it was sent everything.
    pub sent_pos: Option<i64>,
    /// How many events it is owed, counted up to [`MAX_COUNTED`].
    pub queued: i64,
}

/// Beyond this nobody counts what a server is owed.
pub const MAX_COUNTED: i64 = 10_000;

impl From<rows::DestinationState> for Destination {
    fn from(row: rows::DestinationState) -> Self {
        let pause_ms = outbound::pause_ms(row.failures);
        let failed_ts = if row.failures == 0 { 0 } else { (row.retry_ts - pause_ms).max(1) };
        Self {
            server: row.server,
            failed_ts,
            pause_ms,
            failures: row.failures,
            last_success_ts: row.last_success_ts,
            last_error: row.last_error,
            queued: 0,
            sent_pos: row.cursor_pos,
        }
    }
}

/// A page of the servers, and how many there are.
///
/// # Errors
///
/// When the database fails.
pub async fn list(
    engine: &Engine,
    order: (Order, bool),
    (offset, limit): (i64, i64),
) -> Result<(Vec<Destination>, i64), Internal> {
    let own = engine.config.server_name.as_str();
    let mut conn = engine.storage.read().await?;
    let (rows, total) = rows::page(&mut conn, own, order, (offset, limit)).await?;
    let mut servers = Vec::with_capacity(rows.len());
    for row in rows {
        servers.push(counted(&mut conn, row.into()).await?);
    }
    Ok((servers, total))
}

async fn counted(conn: &mut Conn, mut server: Destination) -> Result<Destination, Internal> {
    if let Some(sent) = server.sent_pos {
        server.queued = rows::owed(conn, &server.server, sent, MAX_COUNTED).await?;
    }
    Ok(server)
}

/// How many servers there are, and how many of them do not take what they are sent.
///
/// # Errors
///
/// When the database fails.
pub async fn count(engine: &Engine) -> Result<(i64, i64), Internal> {
    let own = engine.config.server_name.as_str();
    Ok(rows::count(&mut engine.storage.read().await?, own).await?)
}

/// One server; `None` when this one has nothing to do with it.
///
/// # Errors
///
/// When the database fails.
pub async fn get(engine: &Engine, server: &ServerName) -> Result<Option<Destination>, Internal> {
    let own = engine.config.server_name.as_str();
    let mut conn = engine.storage.read().await?;
    match rows::get(&mut conn, own, server.as_str()).await? {
        Some(row) => counted(&mut conn, row.into()).await.map(Some),
        None => Ok(None),
    }
}

/// A page of the rooms that a server is in, each with the position where this server last said
/// something there, and how many there are.
///
/// # Errors
///
/// When the database fails.
pub async fn rooms(
    engine: &Engine,
    server: &ServerName,
    backwards: bool,
    page: (i64, i64),
) -> Result<(Vec<(String, i64)>, i64), Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(rows::rooms(&mut conn, server.as_str(), backwards, page).await?)
}

/// Tries a server again now that is left alone because it failed.
pub fn retry(engine: &Engine, server: &ServerName) {
    engine.outbound.spoke(server);
}

/// Asks a server something as this one, and says whether it knew who asked: then it has reached us for
/// our keys, now or earlier.
///
/// # Errors
///
/// Why the way there, or the way back, does not work; for people.
pub async fn reach(engine: &Engine, server: &ServerName) -> Result<String, String> {
    let user = format!("@starling-doctor:{server}");
    let path = ask::query(ask::path("v1/query/profile", &[]), &[("user_id", user.as_str())]);
    let request = http::Request::get(path).body(Bytes::new()).map_err(|error| error.to_string())?;
    let answer = engine.transport.send(server, request, REACH).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let errcode = body.get("errcode").and_then(serde_json::Value::as_str).unwrap_or_default();
    match (answer.status().as_u16(), errcode) {
        (200, _) | (404, "M_NOT_FOUND") => Ok("it knows our keys".to_owned()),
        (401, _) | (403, "M_UNAUTHORIZED") => {
            Err(format!("it does not accept our signature ({errcode}): it may not reach us"))
        }
        (403, _) => Ok("it knows our keys, and tells nobody of its users".to_owned()),
        (status, errcode) => Err(format!("it answers status {status} {errcode}")),
    }
}
