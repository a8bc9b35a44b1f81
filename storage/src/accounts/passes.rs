//! Tokens that stand for a user for a short while: one-time log-in tokens, and OpenID tokens. Both by
//! their SHA-256.

use crate::db::{Conn, Result, Row, composed, sql};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One log-in.
    Login,
    /// Showing to another service who one is.
    OpenId,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Login, Self::OpenId];

    fn table(self) -> &'static str {
        match self {
            Self::Login => "login_tokens",
            Self::OpenId => "openid_tokens",
        }
    }

    /// How many tokens of one user are kept: those that expire last.
    fn kept(self) -> i64 {
        match self {
            Self::Login => 10,
            Self::OpenId => 1_000,
        }
    }
}

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

/// Adds a token.
#[derive(Clone, Debug)]
pub struct Write {
    /// What it is for.
    pub kind: Kind,
    /// The token.
    pub row: PassRow,
}

pub(crate) async fn apply(conn: &mut Conn, Write { kind, row }: Write) -> Result<()> {
    let table = kind.table();
    let text = format!("INSERT INTO {table} (token_hash, user_id, expires_ts) VALUES ($1, $2, $3)");
    let user_id = row.user_id.clone();
    let values = vec![row.token_hash.into(), row.user_id.into(), row.expires_ts.into()];
    composed(text, values).execute(conn).await?;
    let text = format!(
        "DELETE FROM {table} WHERE user_id = $1 AND token_hash NOT IN \
         (SELECT token_hash FROM {table} WHERE user_id = $1 \
          ORDER BY expires_ts DESC, token_hash LIMIT $2)"
    );
    composed(text, vec![user_id.into(), kind.kept().into()]).execute(conn).await?;
    Ok(())
}

/// Removes the tokens that expired before a time.
pub(crate) async fn forget(conn: &mut Conn, before: i64) -> Result<()> {
    for kind in Kind::ALL {
        let text = format!("DELETE FROM {} WHERE expires_ts < $1", kind.table());
        composed(text, vec![before.into()]).execute(conn).await?;
    }
    Ok(())
}

/// Removes the log-in tokens of a user.
pub(crate) async fn forget_logins(conn: &mut Conn, user_id: &str) -> Result<()> {
    sql("DELETE FROM login_tokens WHERE user_id = $1").bind(user_id).execute(conn).await?;
    Ok(())
}

/// A token.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, kind: Kind, token_hash: &[u8]) -> Result<Option<PassRow>> {
    let text = format!(
        "SELECT token_hash, user_id, expires_ts FROM {} WHERE token_hash = $1",
        kind.table()
    );
    let row = composed(text, vec![token_hash.to_vec().into()]).optional(conn).await?;
    row.map(|row| pass_row(&row.row())).transpose()
}

fn pass_row(row: &Row) -> Result<PassRow> {
    Ok(PassRow { token_hash: row.get(0)?, user_id: row.get(1)?, expires_ts: row.get(2)? })
}
