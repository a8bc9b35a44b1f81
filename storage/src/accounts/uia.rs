//! User-interactive sessions.

use crate::db::{Conn, Result, sql};

/// A session: what was asked, and which stages are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id, which only the client knows.
    pub session_id: String,
    /// The operation that it is for.
    pub action: String,
    /// Who asked for it.
    pub user_id: Option<String>,
    /// The request's body, without secrets (JSON object).
    pub body: String,
    /// The stages that are done (JSON array of strings).
    pub completed: String,
    /// The registration token that was shown.
    pub registration_token: Option<String>,
    /// The email session by which a stage was passed.
    pub email_session: Option<String>,
    /// When it was made.
    pub created_ts: i64,
}

/// Rows of this table.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds a session.
    Add(SessionRow),
}

/// A session goes on from where it was seen.
#[derive(Clone, Debug)]
pub struct Progress {
    /// How it is to be.
    pub row: SessionRow,
    /// The stages that were done when it was looked at.
    pub completed_before: String,
    /// The body that it kept then.
    pub body_before: String,
}

pub(crate) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    let Write::Add(s) = write;
    sql("INSERT INTO uia_sessions (session_id, action, user_id, body, completed, \
         registration_token, created_ts, email_session) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
    .bind(s.session_id)
    .bind(s.action)
    .bind(s.user_id)
    .bind(s.body)
    .bind(s.completed)
    .bind(s.registration_token)
    .bind(s.created_ts)
    .bind(s.email_session)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes the progress of a session; `false` when it is gone, or is not where it was seen.
pub(crate) async fn claim(conn: &mut Conn, progress: &Progress) -> Result<bool> {
    let row = &progress.row;
    let changed = sql("UPDATE uia_sessions SET body = $2, completed = $3, \
         registration_token = $4, email_session = $5 \
         WHERE session_id = $1 AND completed = $6 AND body = $7")
    .bind(&row.session_id)
    .bind(&row.body)
    .bind(&row.completed)
    .bind(row.registration_token.clone())
    .bind(row.email_session.clone())
    .bind(&progress.completed_before)
    .bind(&progress.body_before)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Forgets the sessions of a user.
pub(crate) async fn forget_of(conn: &mut Conn, user_id: &str) -> Result<()> {
    sql("DELETE FROM uia_sessions WHERE user_id = $1").bind(user_id).execute(conn).await?;
    Ok(())
}

pub(crate) async fn forget(conn: &mut Conn, before: i64) -> Result<()> {
    sql("DELETE FROM uia_sessions WHERE created_ts < $1").bind(before).execute(conn).await?;
    Ok(())
}

/// A session.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, session_id: &str) -> Result<Option<SessionRow>> {
    let row = sql("SELECT session_id, action, user_id, body, completed, \
         registration_token, created_ts, email_session FROM uia_sessions WHERE session_id = $1")
    .bind(session_id)
    .optional(conn)
    .await?;
    row.map(|row| {
        Ok(SessionRow {
            session_id: row.get(0)?,
            action: row.get(1)?,
            user_id: row.get(2)?,
            body: row.get(3)?,
            completed: row.get(4)?,
            registration_token: row.get(5)?,
            created_ts: row.get(6)?,
            email_session: row.get(7)?,
        })
    })
    .transpose()
}
