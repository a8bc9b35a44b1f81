//! Whole copies of a database: made while somebody works on it, looked at, and put in order when they were
//! restored.

use std::path::Path;

use crate::db::{Conn, Db, DbError, Result, sql};

/// Copies an SQLite file as it is at one moment. Whoever works on it is not held up.
///
/// # Errors
///
/// When the file is not there, or the copy is there already or cannot be written.
pub async fn copy_file(from: &Path, into: &Path) -> Result<()> {
    let into = into.to_str().ok_or_else(|| DbError::Unavailable("not UTF-8".to_owned()))?;
    let db = Db::open_file(from, false)?;
    let outcome = sql("VACUUM INTO $1").bind(into).long().execute(&mut db.read().await?).await;
    db.close().await;
    outcome.map(|_| ())
}

/// Whether a copied SQLite file is sound: that its pages, tables and indexes fit together.
///
/// # Errors
///
/// [`DbError::Corrupt`] when it is not; when it cannot be read.
pub async fn check_file(path: &Path) -> Result<()> {
    let db = Db::open_file(path, true)?;
    let check = sql("PRAGMA integrity_check").long();
    let found = check.map(&mut db.read().await?, |row| row.get::<String>(0)).await;
    db.close().await;
    match found?.as_slice() {
        [fine] if fine == "ok" => Ok(()),
        found => Err(DbError::Corrupt(found.join("; "))),
    }
}

/// Whose database it is; `None` when no server has used it.
///
/// # Errors
///
/// When the database fails, or has other tables.
pub async fn server_name(conn: &mut Conn) -> Result<Option<String>> {
    let row = sql("SELECT value FROM meta WHERE key = 'server_name'").optional(conn).await?;
    row.map(|row| row.get(0)).transpose()
}

/// Whether a database of PostgreSQL has no tables.
///
/// # Errors
///
/// When the database fails.
pub async fn is_empty(conn: &mut Conn) -> Result<bool> {
    let row = sql("SELECT COUNT(*) FROM information_schema.tables \
         WHERE table_schema NOT IN ('pg_catalog', 'information_schema')")
    .optional(conn)
    .await?;
    Ok(row.map_or(Ok(0), |row| row.get::<i64>(0))? == 0)
}

/// The names of all bytes that rows need: of files and of smaller pictures.
///
/// # Errors
///
/// When the database fails.
pub async fn files(conn: &mut Conn) -> Result<Vec<String>> {
    sql("SELECT hash FROM media WHERE hash IS NOT NULL \
         UNION SELECT thumbnail_hash FROM media_thumbnails ORDER BY 1")
    .map(conn, |row| row.get(0))
    .await
}

/// Puts a restored database in order: one-time keys that it offers may have been handed out since it was
/// copied, and are not handed out again; files whose bytes are missing are forgotten.
///
/// # Errors
///
/// When the database fails.
pub async fn settle(db: &Db, missing: &[String]) -> Result<()> {
    let mut conn = db.write().await?;
    sql("UPDATE one_time_keys SET claimed = 1").execute(&mut conn).await?;
    for text in [
        "DELETE FROM media WHERE hash = ANY($1)",
        "DELETE FROM media_thumbnails WHERE hash = ANY($1)",
        "DELETE FROM media_thumbnails WHERE thumbnail_hash = ANY($1)",
    ] {
        sql(text).bind(missing).execute(&mut conn).await?;
    }
    conn.commit().await
}
