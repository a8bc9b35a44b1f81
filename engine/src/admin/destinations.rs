//! The servers that this one sends to, and how that goes.

use ruma::ServerName;
use starling_storage::admin::destinations as rows;

pub use starling_storage::admin::destinations::Order;

use crate::{Engine, Internal, outbound};

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
    /// Up to which position it was sent everything.
    pub sent_pos: Option<i64>,
}

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
    Ok((rows.into_iter().map(Destination::from).collect(), total))
}

/// One server; `None` when this one has nothing to do with it.
///
/// # Errors
///
/// When the database fails.
pub async fn get(engine: &Engine, server: &ServerName) -> Result<Option<Destination>, Internal> {
    let own = engine.config.server_name.as_str();
    let mut conn = engine.storage.read().await?;
    Ok(rows::get(&mut conn, own, server.as_str()).await?.map(Destination::from))
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
