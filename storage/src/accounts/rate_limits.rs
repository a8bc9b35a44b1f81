//! How often single users may do something.

use crate::db::{Conn, Result, sql};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitRow {
    /// How many with each second.
    pub per_second: u32,
    /// How many at once.
    pub burst: u32,
}

/// Rows of this table.
#[derive(Clone, Debug)]
pub struct Write {
    /// Whose.
    pub user_id: String,
    /// `None`: as for everybody.
    pub limit: Option<RateLimitRow>,
}

pub(crate) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    let statement = match write.limit {
        Some(limit) => sql("INSERT INTO rate_limits (user_id, per_second, burst) \
             VALUES ($1, $2, $3) ON CONFLICT (user_id) \
             DO UPDATE SET per_second = excluded.per_second, burst = excluded.burst")
        .bind(write.user_id)
        .bind(i64::from(limit.per_second))
        .bind(i64::from(limit.burst)),
        None => sql("DELETE FROM rate_limits WHERE user_id = $1").bind(write.user_id),
    };
    statement.execute(conn).await?;
    Ok(())
}

/// What a user may do, if that is not as for everybody.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, user_id: &str) -> Result<Option<RateLimitRow>> {
    let row = sql("SELECT per_second, burst FROM rate_limits WHERE user_id = $1")
        .bind(user_id)
        .optional(conn)
        .await?;
    row.map(|row| Ok(of(row.get(0)?, row.get(1)?))).transpose()
}

/// What two columns say.
pub(crate) fn of(per_second: i64, burst: i64) -> RateLimitRow {
    let bounded = |number| u32::try_from(number).unwrap_or(u32::MAX);
    RateLimitRow { per_second: bounded(per_second), burst: bounded(burst) }
}
