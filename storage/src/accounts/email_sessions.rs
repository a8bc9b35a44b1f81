//! Email sessions: who says that an address is theirs, and whether they have shown it.

use crate::db::{Conn, Result, Row, sql};

/// An email session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailSessionRow {
    /// Its id.
    pub session_id: String,
    /// The address, in its canonical form.
    pub address: String,
    /// What the address is wanted for.
    pub purpose: String,
    /// SHA-256 of the client's secret.
    pub secret_hash: Vec<u8>,
    /// The newest attempt for which a letter was sent.
    pub send_attempt: i64,
    /// SHA-256 of the token in the newest letter; `None`: that letter has none.
    pub token_hash: Option<Vec<u8>>,
    /// Where to go when the address is validated.
    pub next_link: Option<String>,
    /// When it was made.
    pub created_ts: i64,
    /// When the address was validated.
    pub validated_ts: Option<i64>,
}

const COLUMNS: &str = "SELECT session_id, address, purpose, secret_hash, send_attempt, token_hash, \
                       next_link, created_ts, validated_ts FROM email_sessions";

/// Adds a session, or a new attempt to one. `false` when that attempt was made already. A session
/// made before `expired` counts for nothing.
pub(crate) async fn claim(conn: &mut Conn, row: &EmailSessionRow, expired: i64) -> Result<bool> {
    sql("DELETE FROM email_sessions WHERE address = $1 AND purpose = $2 AND secret_hash = $3 \
         AND created_ts < $4")
    .bind(&row.address)
    .bind(&row.purpose)
    .bind(row.secret_hash.clone())
    .bind(expired)
    .execute(conn)
    .await?;
    let changed = sql("INSERT INTO email_sessions (session_id, address, purpose, secret_hash, \
         send_attempt, token_hash, next_link, created_ts, validated_ts) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL) \
         ON CONFLICT (address, purpose, secret_hash) DO UPDATE SET \
         send_attempt = excluded.send_attempt, token_hash = excluded.token_hash, \
         next_link = excluded.next_link \
         WHERE email_sessions.send_attempt < excluded.send_attempt")
    .bind(&row.session_id)
    .bind(&row.address)
    .bind(&row.purpose)
    .bind(row.secret_hash.clone())
    .bind(row.send_attempt)
    .bind(row.token_hash.clone())
    .bind(row.next_link.clone())
    .bind(row.created_ts)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Takes an attempt back whose letter was not sent, unless another followed: it may be made again.
pub(crate) async fn not_sent(conn: &mut Conn, session_id: String, send_attempt: i64) -> Result<()> {
    sql("UPDATE email_sessions SET send_attempt = send_attempt - 1 \
         WHERE session_id = $1 AND send_attempt = $2")
    .bind(session_id)
    .bind(send_attempt)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that an address is validated.
pub(crate) async fn validated(conn: &mut Conn, session_id: String, ts: i64) -> Result<()> {
    sql("UPDATE email_sessions SET validated_ts = $2 \
         WHERE session_id = $1 AND validated_ts IS NULL")
    .bind(session_id)
    .bind(ts)
    .execute(conn)
    .await?;
    Ok(())
}

pub(crate) async fn forget(conn: &mut Conn, before: i64) -> Result<()> {
    sql("DELETE FROM email_sessions WHERE created_ts < $1").bind(before).execute(conn).await?;
    Ok(())
}

fn from_row(row: &Row) -> Result<EmailSessionRow> {
    Ok(EmailSessionRow {
        session_id: row.get(0)?,
        address: row.get(1)?,
        purpose: row.get(2)?,
        secret_hash: row.get(3)?,
        send_attempt: row.get(4)?,
        token_hash: row.get(5)?,
        next_link: row.get(6)?,
        created_ts: row.get(7)?,
        validated_ts: row.get(8)?,
    })
}

/// A session.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, session_id: &str) -> Result<Option<EmailSessionRow>> {
    let row = crate::db::composed(
        format!("{COLUMNS} WHERE session_id = $1"),
        vec![session_id.to_owned().into()],
    );
    Ok(row.map(conn, from_row).await?.into_iter().next())
}

/// The session of a client's secret for an address.
///
/// # Errors
///
/// When the database fails.
pub async fn of_secret(
    conn: &mut Conn,
    address: &str,
    purpose: &str,
    secret_hash: &[u8],
) -> Result<Option<EmailSessionRow>> {
    let text = format!("{COLUMNS} WHERE address = $1 AND purpose = $2 AND secret_hash = $3");
    let values =
        vec![address.to_owned().into(), purpose.to_owned().into(), secret_hash.to_vec().into()];
    Ok(crate::db::composed(text, values).map(conn, from_row).await?.into_iter().next())
}
