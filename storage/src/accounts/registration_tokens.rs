//! Tokens by which people may register.

use crate::db::{Conn, Result, sql};

/// A registration token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationTokenRow {
    /// The token.
    pub token: String,
    /// How many accounts it is for; `None`: any number.
    pub uses_allowed: Option<i64>,
    /// From when on it is not valid.
    pub expires_ts: Option<i64>,
    /// When it was made.
    pub created_ts: i64,
}

/// Writes a new registration token; `false` when there is one of that name.
pub(crate) async fn claim_new(conn: &mut Conn, row: &RegistrationTokenRow) -> Result<bool> {
    let changed = sql(
        "INSERT INTO registration_tokens (token, uses_allowed, completed, expires_ts, created_ts) \
         VALUES ($1, $2, 0, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(&row.token)
    .bind(row.uses_allowed)
    .bind(row.expires_ts)
    .bind(row.created_ts)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Counts a use of a registration token; `false` when it has none left.
pub(crate) async fn claim(conn: &mut Conn, token: &str, now_ts: i64) -> Result<bool> {
    let changed = sql("UPDATE registration_tokens SET completed = completed + 1 \
         WHERE token = $1 AND (uses_allowed IS NULL OR completed < uses_allowed) \
         AND (expires_ts IS NULL OR expires_ts > $2)")
    .bind(token)
    .bind(now_ts)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Whether a registration token has a use left.
///
/// # Errors
///
/// When the database fails.
pub async fn usable(conn: &mut Conn, token: &str, now_ts: i64) -> Result<bool> {
    let row = sql("SELECT token FROM registration_tokens \
         WHERE token = $1 AND (uses_allowed IS NULL OR completed < uses_allowed) \
         AND (expires_ts IS NULL OR expires_ts > $2)")
    .bind(token)
    .bind(now_ts)
    .optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Whether there was ever a registration token.
///
/// # Errors
///
/// When the database fails.
pub async fn any(conn: &mut Conn) -> Result<bool> {
    Ok(sql("SELECT token FROM registration_tokens LIMIT 1").optional(conn).await?.is_some())
}
