//! Registration tokens, as administrators see them.

use crate::db::{Conn, Result, Row, sql};

/// A registration token and how it was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUse {
    /// The token.
    pub token: String,
    /// How many accounts it is for; `None`: any number.
    pub uses_allowed: Option<i64>,
    /// How many accounts were made with it.
    pub completed: i64,
    /// How many registrations with it have begun and not ended.
    pub pending: i64,
    /// From when on it is not valid.
    pub expires_ts: Option<i64>,
}

impl TokenUse {
    /// Whether an account can be made with it now.
    #[must_use]
    pub fn is_valid(&self, now_ts: i64) -> bool {
        self.uses_allowed.is_none_or(|allowed| self.completed < allowed)
            && self.expires_ts.is_none_or(|expiry| expiry > now_ts)
    }
}

fn token(row: &Row) -> Result<TokenUse> {
    Ok(TokenUse {
        token: row.get(0)?,
        uses_allowed: row.get(1)?,
        completed: row.get(2)?,
        expires_ts: row.get(3)?,
        pending: row.get(4)?,
    })
}

/// All registration tokens, the oldest first, at most `limit`.
///
/// # Errors
///
/// When the database fails.
pub async fn all(conn: &mut Conn, limit: i64) -> Result<Vec<TokenUse>> {
    sql("SELECT t.token, t.uses_allowed, t.completed, t.expires_ts, \
         (SELECT COUNT(*) FROM uia_sessions s WHERE s.registration_token = t.token) \
         FROM registration_tokens t ORDER BY t.created_ts, t.token LIMIT $1")
    .bind(limit)
    .map(conn, token)
    .await
}

/// A registration token.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, name: &str) -> Result<Option<TokenUse>> {
    let row = sql("SELECT t.token, t.uses_allowed, t.completed, t.expires_ts, \
         (SELECT COUNT(*) FROM uia_sessions s WHERE s.registration_token = t.token) \
         FROM registration_tokens t WHERE t.token = $1")
    .bind(name)
    .optional(conn)
    .await?;
    row.map(|row| token(&row.row())).transpose()
}
