//! What was uploaded and what was fetched: all about it but the bytes, which are in [`crate::blobs`].

use crate::db::{Conn, KeptRow, Result, Row, composed, sql};

pub mod quarantine;

/// How many thumbnails are kept of one picture.
pub const MOST_THUMBNAILS: i64 = 8;

/// One piece of media.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaRow {
    /// The server that has it from its user.
    pub origin: String,
    /// Its id there.
    pub media_id: String,
    /// SHA-256 in hexadecimal; `None`: it is promised, not yet there.
    pub hash: Option<String>,
    /// Bytes.
    pub size: i64,
    /// The content type that the uploader named.
    pub content_type: Option<String>,
    /// The file name that the uploader named.
    pub file_name: Option<String>,
    /// The user of this server who uploaded it, or promised to.
    pub uploader: Option<String>,
    /// When it was promised, uploaded or fetched.
    pub created_ts: i64,
    /// When somebody last wanted it, give or take a day.
    pub used_ts: i64,
    /// Until when a promise can be kept.
    pub expires_ts: Option<i64>,
    /// Whether only those who are logged in may have it.
    pub authenticated: bool,
    /// The administrator who said that nobody may have it; how it is changed says [`quarantine`].
    pub quarantined_by: Option<String>,
    /// Whether an administrator said that it is not to be held back.
    pub protected: bool,
}

/// A smaller picture of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThumbnailRow {
    /// Which it is.
    pub key: ThumbnailKey,
    /// SHA-256 of its bytes in hexadecimal.
    pub thumbnail_hash: String,
    /// Bytes.
    pub size: i64,
    /// What format it has.
    pub content_type: String,
}

/// What a smaller picture is of, and how it was wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThumbnailKey {
    /// SHA-256 of the picture in hexadecimal.
    pub hash: String,
    /// Pixels.
    pub width: i64,
    /// Pixels.
    pub height: i64,
    /// Whether what does not fit was cut off.
    pub crop: bool,
    /// Whether it moves.
    pub animated: bool,
}

/// What a promise becomes when it is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The server.
    pub origin: String,
    /// The id.
    pub media_id: String,
    /// Who promised.
    pub uploader: String,
    /// The present, which the promise must outlast.
    pub now_ts: i64,
    /// SHA-256 in hexadecimal.
    pub hash: String,
    /// Bytes.
    pub size: i64,
    /// The content type.
    pub content_type: Option<String>,
    /// The file name.
    pub file_name: Option<String>,
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds media; what is there already stays.
    Add(MediaRow),
    /// Adds a thumbnail, unless there are [`MOST_THUMBNAILS`] of that picture.
    Thumbnail(ThumbnailRow),
    /// Somebody wanted it.
    Used {
        /// The server.
        origin: String,
        /// The id.
        media_id: String,
        /// When.
        ts: i64,
    },
    /// Removes media and, when nothing else has that content, its thumbnails. Their bytes are garbage
    /// then.
    Remove {
        /// The server.
        origin: String,
        /// The id.
        media_id: String,
    },
    /// Removes promises that were not kept in time.
    Expire {
        /// The present.
        now_ts: i64,
    },
    /// These bytes are about to be stored: should nothing come of it, they are garbage.
    Suspect {
        /// SHA-256 in hexadecimal.
        hash: String,
    },
    /// Holds content back, or gives it out.
    Quarantine(quarantine::Write),
    /// These bytes were looked at: something needs them, or they are gone.
    Swept {
        /// SHA-256 in hexadecimal.
        hash: String,
    },
}

pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    for row in rows {
        match row {
            Write::Add(row) => add(conn, row).await?,
            Write::Thumbnail(row) => add_thumbnail(conn, row).await?,
            Write::Used { origin, media_id, ts } => {
                sql("UPDATE media SET used_ts = $3 WHERE origin = $1 AND media_id = $2")
                    .bind(origin)
                    .bind(media_id)
                    .bind(ts)
                    .execute(conn)
                    .await?;
            }
            Write::Remove { origin, media_id } => remove(conn, &origin, &media_id).await?,
            Write::Expire { now_ts } => {
                sql("DELETE FROM media WHERE hash IS NULL AND expires_ts <= $1")
                    .bind(now_ts)
                    .execute(conn)
                    .await?;
            }
            Write::Quarantine(write) => quarantine::apply(conn, write).await?,
            Write::Suspect { hash } => discard(conn, &hash).await?,
            Write::Swept { hash } => {
                sql("DELETE FROM media_garbage WHERE hash = $1").bind(hash).execute(conn).await?;
            }
        }
    }
    Ok(())
}

async fn add(conn: &mut Conn, row: MediaRow) -> Result<()> {
    sql("INSERT INTO media (origin, media_id, hash, size, content_type, file_name, uploader, \
         created_ts, used_ts, expires_ts, authenticated) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING")
    .bind(row.origin)
    .bind(row.media_id)
    .bind(row.hash)
    .bind(row.size)
    .bind(row.content_type)
    .bind(row.file_name)
    .bind(row.uploader)
    .bind(row.created_ts)
    .bind(row.used_ts)
    .bind(row.expires_ts)
    .bind(row.authenticated)
    .execute(conn)
    .await?;
    Ok(())
}

async fn add_thumbnail(conn: &mut Conn, row: ThumbnailRow) -> Result<()> {
    let ThumbnailRow { key, thumbnail_hash, size, content_type } = row;
    let added = sql("INSERT INTO media_thumbnails (hash, width, height, crop, animated, \
         thumbnail_hash, size, content_type) SELECT $1, $2, $3, $4, $5, $6, $7, $8 \
         WHERE EXISTS (SELECT 1 FROM media WHERE hash = $1) \
         AND (SELECT COUNT(*) FROM media_thumbnails WHERE hash = $1) < $9 ON CONFLICT DO NOTHING")
    .bind(key.hash)
    .bind(key.width)
    .bind(key.height)
    .bind(key.crop)
    .bind(key.animated)
    .bind(&thumbnail_hash)
    .bind(size)
    .bind(content_type)
    .bind(MOST_THUMBNAILS)
    .execute(conn)
    .await?;
    match added {
        0 => discard(conn, &thumbnail_hash).await,
        _ => Ok(()),
    }
}

async fn remove(conn: &mut Conn, origin: &str, media_id: &str) -> Result<()> {
    let row = sql("DELETE FROM media WHERE origin = $1 AND media_id = $2 RETURNING hash")
        .bind(origin)
        .bind(media_id)
        .optional(conn)
        .await?;
    let Some(hash) = row.map(|row| row.get::<Option<String>>(0)).transpose()?.flatten() else {
        return Ok(());
    };
    if is_media(conn, &hash).await? {
        return Ok(());
    }
    sql("INSERT INTO media_garbage (hash) SELECT thumbnail_hash FROM media_thumbnails \
         WHERE hash = $1 ON CONFLICT DO NOTHING")
    .bind(&hash)
    .execute(conn)
    .await?;
    sql("DELETE FROM media_thumbnails WHERE hash = $1").bind(&hash).execute(conn).await?;
    discard(conn, &hash).await
}

async fn discard(conn: &mut Conn, hash: &str) -> Result<()> {
    sql("INSERT INTO media_garbage (hash) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(hash)
        .execute(conn)
        .await?;
    Ok(())
}

/// Keeps a promise; `false` when there is none, or not any more.
pub(crate) async fn claim(conn: &mut Conn, kept: &Kept) -> Result<bool> {
    let changed = sql("UPDATE media SET hash = $1, size = $2, content_type = $3, file_name = $4, \
         expires_ts = NULL WHERE origin = $5 AND media_id = $6 AND uploader = $7 \
         AND hash IS NULL AND expires_ts > $8")
    .bind(&kept.hash)
    .bind(kept.size)
    .bind(kept.content_type.clone())
    .bind(kept.file_name.clone())
    .bind(&kept.origin)
    .bind(&kept.media_id)
    .bind(&kept.uploader)
    .bind(kept.now_ts)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

pub(crate) const COLUMNS: &str = "SELECT m.origin, m.media_id, m.hash, m.size, m.content_type, m.file_name, m.uploader, \
     m.created_ts, m.used_ts, m.expires_ts, m.authenticated, q.quarantined_by, m.protected \
     FROM media m LEFT JOIN media_quarantine q ON q.hash = m.hash";

pub(crate) fn media_row(row: &Row) -> Result<MediaRow> {
    Ok(MediaRow {
        origin: row.get(0)?,
        media_id: row.get(1)?,
        hash: row.get(2)?,
        size: row.get(3)?,
        content_type: row.get(4)?,
        file_name: row.get(5)?,
        uploader: row.get(6)?,
        created_ts: row.get(7)?,
        used_ts: row.get(8)?,
        expires_ts: row.get(9)?,
        authenticated: row.get::<i16>(10)? != 0,
        quarantined_by: row.get(11)?,
        protected: row.get::<i16>(12)? != 0,
    })
}

/// One piece of media.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, origin: &str, media_id: &str) -> Result<Option<MediaRow>> {
    let text = format!("{COLUMNS} WHERE origin = $1 AND media_id = $2");
    let values = vec![origin.into(), media_id.into()];
    let row = composed(text, values).optional(conn).await?;
    row.map(|row| media_row(&row.row())).transpose()
}

/// A thumbnail of a picture.
///
/// # Errors
///
/// When the database fails.
pub async fn thumbnail(conn: &mut Conn, key: &ThumbnailKey) -> Result<Option<ThumbnailRow>> {
    let row =
        sql("SELECT thumbnail_hash, size, content_type FROM media_thumbnails WHERE hash = $1 \
         AND width = $2 AND height = $3 AND crop = $4 AND animated = $5")
        .bind(&key.hash)
        .bind(key.width)
        .bind(key.height)
        .bind(key.crop)
        .bind(key.animated)
        .optional(conn)
        .await?;
    let row = row.map(|row| -> Result<ThumbnailRow> {
        Ok(ThumbnailRow {
            key: key.clone(),
            thumbnail_hash: row.get(0)?,
            size: row.get(1)?,
            content_type: row.get(2)?,
        })
    });
    row.transpose()
}

/// How many bytes a user has uploaded.
///
/// # Errors
///
/// When the database fails.
pub async fn uploaded_bytes(conn: &mut Conn, user_id: &str) -> Result<i64> {
    number(
        sql("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM media WHERE uploader = $1")
            .bind(user_id)
            .optional(conn)
            .await?,
    )
}

/// How many promises of a user are neither kept nor too old.
///
/// # Errors
///
/// When the database fails.
pub async fn promises(conn: &mut Conn, user_id: &str, now_ts: i64) -> Result<i64> {
    number(
        sql("SELECT COUNT(*) FROM media WHERE uploader = $1 AND hash IS NULL AND expires_ts > $2")
            .bind(user_id)
            .bind(now_ts)
            .optional(conn)
            .await?,
    )
}

/// How many bytes of other servers are kept here.
///
/// # Errors
///
/// When the database fails.
pub async fn remote_bytes(conn: &mut Conn) -> Result<i64> {
    number(
        sql("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM media WHERE uploader IS NULL")
            .optional(conn)
            .await?,
    )
}

fn number(row: Option<KeptRow>) -> Result<i64> {
    row.map_or(Ok(0), |row| row.get(0))
}

/// What is kept of other servers' media and was last wanted before `before`, oldest first.
///
/// # Errors
///
/// When the database fails.
pub async fn unused_remote(conn: &mut Conn, before: i64, most: i64) -> Result<Vec<MediaRow>> {
    let text =
        format!("{COLUMNS} WHERE uploader IS NULL AND used_ts < $1 ORDER BY used_ts LIMIT $2");
    composed(text, vec![before.into(), most.into()]).map(conn, media_row).await
}

/// Some bytes of which it is not sure that anything needs them.
///
/// # Errors
///
/// When the database fails.
pub async fn garbage(conn: &mut Conn, most: i64) -> Result<Vec<String>> {
    sql("SELECT hash FROM media_garbage LIMIT $1").bind(most).map(conn, |row| row.get(0)).await
}

/// Whether bytes are of media or of a thumbnail.
///
/// # Errors
///
/// When the database fails.
pub async fn is_needed(conn: &mut Conn, hash: &str) -> Result<bool> {
    let thumbnail = sql("SELECT 1 FROM media_thumbnails WHERE thumbnail_hash = $1 LIMIT 1")
        .bind(hash)
        .optional(conn)
        .await?;
    Ok(thumbnail.is_some() || is_media(conn, hash).await?)
}

async fn is_media(conn: &mut Conn, hash: &str) -> Result<bool> {
    let row = sql("SELECT 1 FROM media WHERE hash = $1 LIMIT 1").bind(hash).optional(conn).await?;
    Ok(row.is_some())
}
