//! Tokens that stand for a user for a short while: one-time log-in tokens, and OpenID tokens. Both by
//! their SHA-256.

use crate::db::{Conn, Result, Row, sql};

/// How many log-in tokens of one user are kept: those that expire last.
const KEPT_LOGIN: i64 = 10;

/// How many OpenID tokens of one user are kept: those that expire last.
const KEPT_OPENID: i64 = 1_000;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassRow {
    /// SHA-256 of the token.
    pub token_hash: Vec<u8>,
    /// The user.
    pub user_id: String,
    /// From when on it is not valid.
    pub expires_ts: i64,
}

/// Rows of these tables.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds a log-in token.
    Login(PassRow),
    /// Adds an OpenID token.
    OpenId(PassRow),
}

pub(crate) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    match write {
        Write::Login(row) => {
            sql("INSERT INTO login_tokens (token_hash, user_id, expires_ts) VALUES ($1, $2, $3)")
                .bind(row.token_hash)
                .bind(&row.user_id)
                .bind(row.expires_ts)
                .execute(conn)
                .await?;
            sql("DELETE FROM login_tokens WHERE user_id = $1 AND token_hash NOT IN \
                 (SELECT token_hash FROM login_tokens WHERE user_id = $1 \
                  ORDER BY expires_ts DESC, token_hash LIMIT $2)")
            .bind(row.user_id)
            .bind(KEPT_LOGIN)
            .execute(conn)
            .await?;
        }
        Write::OpenId(row) => {
            sql("INSERT INTO openid_tokens (token_hash, user_id, expires_ts) VALUES ($1, $2, $3)")
                .bind(row.token_hash)
                .bind(&row.user_id)
                .bind(row.expires_ts)
                .execute(conn)
                .await?;
            sql("DELETE FROM openid_tokens WHERE user_id = $1 AND token_hash NOT IN \
                 (SELECT token_hash FROM openid_tokens WHERE user_id = $1 \
                  ORDER BY expires_ts DESC, token_hash LIMIT $2)")
            .bind(row.user_id)
            .bind(KEPT_OPENID)
            .execute(conn)
            .await?;
        }
    }
    Ok(())
}

/// Removes the tokens that expired before a time.
pub(crate) async fn forget(conn: &mut Conn, before: i64) -> Result<()> {
    for text in [
        "DELETE FROM login_tokens WHERE expires_ts < $1",
        "DELETE FROM openid_tokens WHERE expires_ts < $1",
    ] {
        sql(text).bind(before).execute(conn).await?;
    }
    Ok(())
}

/// Removes the log-in tokens of a user.
pub(crate) async fn forget_logins(conn: &mut Conn, user_id: &str) -> Result<()> {
    sql("DELETE FROM login_tokens WHERE user_id = $1").bind(user_id).execute(conn).await?;
    Ok(())
}

fn pass_row(row: &Row) -> Result<PassRow> {
    Ok(PassRow { token_hash: row.get(0)?, user_id: row.get(1)?, expires_ts: row.get(2)? })
}

/// A log-in token.
///
/// # Errors
///
/// When the database fails.
pub async fn login(conn: &mut Conn, token_hash: &[u8]) -> Result<Option<PassRow>> {
    let row = sql("SELECT token_hash, user_id, expires_ts FROM login_tokens WHERE token_hash = $1")
        .bind(token_hash)
        .optional(conn)
        .await?;
    row.as_ref().map(pass_row).transpose()
}

/// An OpenID token.
///
/// # Errors
///
/// When the database fails.
pub async fn openid(conn: &mut Conn, token_hash: &[u8]) -> Result<Option<PassRow>> {
    let row =
        sql("SELECT token_hash, user_id, expires_ts FROM openid_tokens WHERE token_hash = $1")
            .bind(token_hash)
            .optional(conn)
            .await?;
    row.as_ref().map(pass_row).transpose()
}
