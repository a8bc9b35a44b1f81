//! Attempts at log-in, registration and passwords, counted for the whole deployment.

use crate::db::{Conn, Result, sql};

/// One attempt, which must not be one too many.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What is counted.
    pub bucket: &'static str,
    /// Whose: an address, an account.
    pub key: String,
    /// The present.
    pub now_ts: i64,
    /// How long attempts count, in milliseconds from the first of them.
    pub window_ms: i64,
    /// How many there may be in that time.
    pub allowed: i64,
}

/// Counts an attempt; `false` when it is one too many.
pub(crate) async fn claim(conn: &mut Conn, attempt: &Attempt) -> Result<bool> {
    let changed = sql("INSERT INTO attempts (bucket, key, window_start, count) \
         VALUES ($1, $2, $3, 1) ON CONFLICT (bucket, key) DO UPDATE SET \
         count = CASE WHEN attempts.window_start <= $4 THEN 1 ELSE attempts.count + 1 END, \
         window_start = CASE WHEN attempts.window_start <= $4 THEN excluded.window_start \
         ELSE attempts.window_start END \
         WHERE attempts.window_start <= $4 OR attempts.count < $5")
    .bind(attempt.bucket)
    .bind(&attempt.key)
    .bind(attempt.now_ts)
    .bind(attempt.now_ts - attempt.window_ms)
    .bind(attempt.allowed)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

pub(crate) async fn reset(conn: &mut Conn, bucket: &str, key: String) -> Result<()> {
    sql("DELETE FROM attempts WHERE bucket = $1 AND key = $2")
        .bind(bucket)
        .bind(key)
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn forget(conn: &mut Conn, before: i64) -> Result<()> {
    sql("DELETE FROM attempts WHERE window_start < $1").bind(before).execute(conn).await?;
    Ok(())
}

/// When the attempts that count now began, and how many there are.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, bucket: &str, key: &str) -> Result<Option<(i64, i64)>> {
    let row = sql("SELECT window_start, count FROM attempts WHERE bucket = $1 AND key = $2")
        .bind(bucket)
        .bind(key)
        .optional(conn)
        .await?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}
