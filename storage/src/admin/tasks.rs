//! Work of administrators that is done in the background.

use crate::db::{Conn, Result, Row, sql};

/// Some work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskRow {
    /// A name for it.
    pub task_id: String,
    /// What is done.
    pub kind: String,
    /// To which room or user.
    pub subject: String,
    /// `scheduled`, `active`, `complete` or `failed`.
    pub status: String,
    /// What was asked for, JSON.
    pub request: String,
    /// How far it is, JSON.
    pub progress: String,
    /// When it was asked for.
    pub created_ts: i64,
    /// When it changed last.
    pub changed_ts: i64,
}

/// Rows of this table.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds some work, or what became of it.
    Put(TaskRow),
    /// Forgets what ended before a time.
    Forget {
        /// The time.
        before: i64,
    },
}

pub(crate) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    let statement = match write {
        Write::Put(task) => sql("INSERT INTO admin_tasks (task_id, kind, subject, status, \
             request, progress, created_ts, changed_ts) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (task_id) DO UPDATE SET status = excluded.status, \
             progress = excluded.progress, changed_ts = excluded.changed_ts")
        .bind(task.task_id)
        .bind(task.kind)
        .bind(task.subject)
        .bind(task.status)
        .bind(task.request)
        .bind(task.progress)
        .bind(task.created_ts)
        .bind(task.changed_ts),
        Write::Forget { before } => sql(
            "DELETE FROM admin_tasks WHERE changed_ts < $1 AND status IN ('complete', 'failed')",
        )
        .bind(before),
    };
    statement.execute(conn).await?;
    Ok(())
}

const COLUMNS: &str = "task_id, kind, subject, status, request, progress, created_ts, changed_ts";

fn task(row: &Row) -> Result<TaskRow> {
    Ok(TaskRow {
        task_id: row.get(0)?,
        kind: row.get(1)?,
        subject: row.get(2)?,
        status: row.get(3)?,
        request: row.get(4)?,
        progress: row.get(5)?,
        created_ts: row.get(6)?,
        changed_ts: row.get(7)?,
    })
}

/// Some work, by its name.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, task_id: &str) -> Result<Option<TaskRow>> {
    let text = format!("SELECT {COLUMNS} FROM admin_tasks WHERE task_id = $1");
    let rows = crate::db::composed(text, vec![task_id.into()]).map(conn, task).await?;
    Ok(rows.into_iter().next())
}

/// All that is done to a room or user, and was done lately, the oldest first.
///
/// # Errors
///
/// When the database fails.
pub async fn of_subject(conn: &mut Conn, subject: &str, kind: &str) -> Result<Vec<TaskRow>> {
    let text = format!(
        "SELECT {COLUMNS} FROM admin_tasks WHERE subject = $1 AND kind = $2 \
         ORDER BY created_ts, task_id"
    );
    crate::db::composed(text, vec![subject.into(), kind.into()]).map(conn, task).await
}

/// What is still to be done, the oldest first.
///
/// # Errors
///
/// When the database fails.
pub async fn open(conn: &mut Conn, limit: i64) -> Result<Vec<TaskRow>> {
    let text = format!(
        "SELECT {COLUMNS} FROM admin_tasks WHERE status IN ('scheduled', 'active') \
         ORDER BY created_ts, task_id LIMIT $1"
    );
    crate::db::composed(text, vec![limit.into()]).map(conn, task).await
}
