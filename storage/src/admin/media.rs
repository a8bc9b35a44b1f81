//! Files, as administrators look at them.

use serde::Deserialize;

use crate::{
    db::{Conn, Result, composed, sql},
    media::{COLUMNS, MediaRow, media_row},
};

/// What the files of a user are ordered by.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// When they were uploaded.
    #[default]
    CreatedTs,
    /// When somebody last wanted them.
    LastAccessTs,
    /// Their ids.
    MediaId,
    /// How large they are.
    MediaLength,
    /// What the uploader said that they are.
    MediaType,
    /// Who holds them back.
    QuarantinedBy,
    /// Whether they are not to be held back.
    SafeFromQuarantine,
    /// What the uploader called them.
    UploadName,
}

impl Order {
    fn column(self) -> &'static str {
        match self {
            Self::CreatedTs => "m.created_ts",
            Self::LastAccessTs => "m.used_ts",
            Self::MediaId => "m.media_id",
            Self::MediaLength => "m.size",
            Self::MediaType => "COALESCE(m.content_type, '')",
            Self::QuarantinedBy => "COALESCE(q.quarantined_by, '')",
            Self::SafeFromQuarantine => "m.protected",
            Self::UploadName => "COALESCE(m.file_name, '')",
        }
    }
}

/// Part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page<O> {
    /// The order.
    pub order: O,
    /// The other way round.
    pub backwards: bool,
    /// How many to leave out.
    pub offset: i64,
    /// How many at most.
    pub limit: i64,
}

fn direction(backwards: bool) -> &'static str {
    if backwards { "DESC" } else { "ASC" }
}

/// Some of the files that a user has uploaded, and how many there are in all.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(
    conn: &mut Conn,
    user_id: &str,
    page: Page<Order>,
) -> Result<(Vec<MediaRow>, i64)> {
    let row = sql("SELECT COUNT(*) FROM media WHERE uploader = $1 AND hash IS NOT NULL")
        .bind(user_id)
        .optional(conn)
        .await?;
    let total = row.map_or(Ok(0), |row| row.get(0))?;
    let text = format!(
        "{COLUMNS} WHERE m.uploader = $1 AND m.hash IS NOT NULL \
         ORDER BY {} {}, m.media_id LIMIT $2 OFFSET $3",
        page.order.column(),
        direction(page.backwards)
    );
    let values = vec![user_id.into(), page.limit.into(), page.offset.into()];
    Ok((composed(text, values).long().map(conn, media_row).await?, total))
}

/// Files that users of this deployment uploaded, that nobody wanted since `before`, and that are larger
/// than so many bytes; after the id `after`, by id.
///
/// # Errors
///
/// When the database fails.
pub async fn unused_local(
    conn: &mut Conn,
    before: i64,
    larger_than: i64,
    after: &str,
    limit: i64,
) -> Result<Vec<MediaRow>> {
    let text = format!(
        "{COLUMNS} WHERE m.uploader IS NOT NULL AND m.hash IS NOT NULL AND m.used_ts < $1 \
         AND m.size > $2 AND m.media_id > $3 ORDER BY m.media_id LIMIT $4"
    );
    let values = vec![before.into(), larger_than.into(), after.into(), limit.into()];
    composed(text, values).long().map(conn, media_row).await
}

/// The hashes of all that a user has uploaded.
///
/// # Errors
///
/// When the database fails.
pub async fn hashes_of_user(conn: &mut Conn, user_id: &str) -> Result<Vec<String>> {
    sql("SELECT DISTINCT hash FROM media WHERE uploader = $1 AND hash IS NOT NULL")
        .bind(user_id)
        .map(conn, |row| row.get(0))
        .await
}

/// How many of some contents are held back.
///
/// # Errors
///
/// When the database fails.
pub async fn count_quarantined(conn: &mut Conn, hashes: &[String]) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM media_quarantine WHERE hash = ANY($1)")
        .bind(hashes)
        .optional(conn)
        .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// Events of a room that name files, in the order in which they came, after a place: `(place, JSON)`.
///
/// # Errors
///
/// When the database fails.
pub async fn events_with_files(
    conn: &mut Conn,
    room_id: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, String)>> {
    sql("SELECT t.pos, e.json FROM timeline t \
         JOIN events e ON e.event_id = t.event_id AND e.room_id = t.room_id \
         WHERE t.room_id = $1 AND t.pos > $2 AND e.json LIKE '%mxc://%' ORDER BY t.pos LIMIT $3")
    .bind(room_id)
    .bind(after)
    .bind(limit)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// The avatars of all users, each as JSON of its address, and the events that give rooms theirs.
///
/// # Errors
///
/// When the database fails.
pub async fn avatars(conn: &mut Conn) -> Result<(Vec<String>, Vec<String>)> {
    let users = sql("SELECT value FROM profiles WHERE field = 'avatar_url'")
        .map(conn, |row| row.get(0))
        .await?;
    let rooms = sql("SELECT e.json FROM current_state c \
         JOIN events e ON e.event_id = c.event_id AND e.room_id = c.room_id \
         WHERE c.type = 'm.room.avatar' AND c.state_key = ''")
    .map(conn, |row| row.get(0))
    .await?;
    Ok((users, rooms))
}

/// What users are ordered by who uploaded something.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum UserOrder {
    /// Their ids.
    #[default]
    UserId,
    /// Their display names.
    Displayname,
    /// How many bytes they uploaded.
    MediaLength,
    /// How many files they uploaded.
    MediaCount,
}

/// Which users are wanted who uploaded something.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// From when on.
    pub from_ts: i64,
    /// Until when.
    pub until_ts: i64,
    /// Part of the user id or of the display name.
    pub search: Option<String>,
    /// Which of them.
    pub page: Page<UserOrder>,
}

/// What a user has uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The user.
    pub user_id: String,
    /// The display name, as JSON.
    pub display_name: Option<String>,
    /// How many files.
    pub count: i64,
    /// Bytes.
    pub size: i64,
}

/// Users who uploaded something, and how many there are in all.
///
/// # Errors
///
/// When the database fails.
pub async fn users(conn: &mut Conn, wanted: &Wanted) -> Result<(Vec<UserRow>, i64)> {
    const SOURCE: &str = "FROM media m LEFT JOIN profiles p \
         ON p.user_id = m.uploader AND p.field = 'displayname' \
         WHERE m.uploader IS NOT NULL AND m.hash IS NOT NULL \
         AND m.created_ts >= $1 AND m.created_ts <= $2 \
         AND (LOWER(m.uploader) LIKE $3 ESCAPE '!' OR LOWER(p.value) LIKE $3 ESCAPE '!')";
    let pattern = super::users::pattern(wanted.search.as_deref());
    let mut values = vec![wanted.from_ts.into(), wanted.until_ts.into(), pattern];
    let count = format!("SELECT COUNT(DISTINCT m.uploader) {SOURCE}");
    let row = composed(count, values.clone()).long().optional(conn).await?;
    let total = row.map_or(Ok(0), |row| row.get(0))?;
    let column = match wanted.page.order {
        UserOrder::UserId => "m.uploader",
        UserOrder::Displayname => "COALESCE(p.value, '')",
        UserOrder::MediaLength => "SUM(m.size)",
        UserOrder::MediaCount => "COUNT(*)",
    };
    let text = format!(
        "SELECT m.uploader, p.value, COUNT(*), CAST(SUM(m.size) AS BIGINT) {SOURCE} \
         GROUP BY m.uploader, p.value ORDER BY {column} {}, m.uploader LIMIT $4 OFFSET $5",
        direction(wanted.page.backwards)
    );
    values.extend([wanted.page.limit.into(), wanted.page.offset.into()]);
    let found = composed(text, values).long().map(conn, |row| {
        Ok(UserRow {
            user_id: row.get(0)?,
            display_name: row.get(1)?,
            count: row.get(2)?,
            size: row.get(3)?,
        })
    });
    Ok((found.await?, total))
}
