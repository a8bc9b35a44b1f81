//! By which words users are found, and whom somebody may find.
//!
//! The words only propose: a user is found by a name, not by a row. So they may be behind what is true,
//! and a name that is used in one room only cannot be found by who is not in that room, though its
//! words are here.

use crate::{
    bulk,
    db::{Conn, Result, Value, composed, sql},
};

/// How many words are looked for here at most; the rest is left to whoever sees the names.
const WORDS: usize = 8;

/// What the directory follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Memberships, as they change.
    Memberships,
    /// Accounts that were there before the directory.
    Accounts,
    /// Rooms that were there before the directory.
    Rooms,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Memberships => "memberships",
            Self::Accounts => "accounts",
            Self::Rooms => "rooms",
        }
    }
}

/// A place in the order of what is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The position.
    pub pos: i64,
    /// The user.
    pub user_id: String,
    /// The room.
    pub room_id: String,
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// These words, and no others, are those of a user.
    Words {
        /// The user.
        user_id: String,
        /// The words, each once.
        words: Vec<String>,
    },
    /// Whether anybody may join or read a room.
    Room {
        /// The room.
        room_id: String,
        /// Whether it is so.
        open: bool,
    },
    /// The directory has come this far.
    Progress {
        /// With what.
        subject: Subject,
        /// How far.
        place: Place,
    },
}

pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    let (mut named, mut rooms) = (vec![], vec![]);
    for row in rows {
        match row {
            Write::Words { user_id, words } => named.push((user_id, words)),
            Write::Room { room_id, open } => rooms.push((room_id, open)),
            Write::Progress { subject, place } => progressed(conn, subject, place).await?,
        }
    }
    let named = bulk::last_by_key(named, |(user_id, _)| user_id.clone());
    for (user_id, words) in &named {
        sql("DELETE FROM directory_words WHERE user_id = $1 AND word <> ALL($2)")
            .bind(user_id)
            .bind(words.clone())
            .execute(conn)
            .await?;
    }
    let words = named.into_iter().flat_map(|(user_id, words)| {
        words.into_iter().map(move |word| -> Vec<Value> { vec![word.into(), (&user_id).into()] })
    });
    bulk::insert(
        conn,
        "INSERT INTO directory_words (word, user_id)",
        "ON CONFLICT DO NOTHING",
        words.collect::<Vec<_>>(),
    )
    .await?;
    for (room_id, open) in bulk::last_by_key(rooms, |(room_id, _)| room_id.clone()) {
        let text = match open {
            true => "INSERT INTO directory_rooms (room_id) VALUES ($1) ON CONFLICT DO NOTHING",
            false => "DELETE FROM directory_rooms WHERE room_id = $1",
        };
        sql(text).bind(room_id).execute(conn).await?;
    }
    Ok(())
}

async fn progressed(conn: &mut Conn, subject: Subject, place: Place) -> Result<()> {
    sql("UPDATE directory_progress SET pos = $2, user_id = $3, room_id = $4 WHERE subject = $1")
        .bind(subject.name())
        .bind(place.pos)
        .bind(place.user_id)
        .bind(place.room_id)
        .execute(conn)
        .await?;
    Ok(())
}

/// How far the directory has come.
///
/// # Errors
///
/// When the database fails.
pub async fn progress(conn: &mut Conn, subject: Subject) -> Result<Place> {
    let row = sql("SELECT pos, user_id, room_id FROM directory_progress WHERE subject = $1")
        .bind(subject.name())
        .optional(conn)
        .await?;
    let Some(row) = row else { return Ok(Place::default()) };
    Ok(Place { pos: row.get(0)?, user_id: row.get(1)?, room_id: row.get(2)? })
}

/// The next `limit` memberships of users of other servers that changed after a place and at `until` or
/// before, as their places.
///
/// # Errors
///
/// When the database fails.
pub async fn changed(
    conn: &mut Conn,
    after: &Place,
    until: i64,
    limit: i64,
) -> Result<Vec<(Place, bool)>> {
    sql("SELECT pos, user_id, room_id, local FROM memberships \
         WHERE (pos, user_id, room_id) > ($1, $2, $3) AND pos <= $4 \
         ORDER BY pos, user_id, room_id LIMIT $5")
    .bind(after.pos)
    .bind(&after.user_id)
    .bind(&after.room_id)
    .bind(until)
    .bind(limit)
    .map(conn, |row| {
        let place = Place { pos: row.get(0)?, user_id: row.get(1)?, room_id: row.get(2)? };
        Ok((place, row.get(3)?))
    })
    .await
}

/// What users are called in the rooms that they are joined to, as `(user_id, name)`.
///
/// # Errors
///
/// When the database fails.
pub async fn names(conn: &mut Conn, users: &[String]) -> Result<Vec<(String, Option<String>)>> {
    sql("SELECT DISTINCT user_id, display_name FROM memberships \
         WHERE user_id = ANY($1) AND membership = 'join'")
    .bind(users)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// The next `limit` accounts after this one that can be found.
///
/// # Errors
///
/// When the database fails.
pub async fn accounts_after(conn: &mut Conn, user_id: &str, limit: i64) -> Result<Vec<String>> {
    sql("SELECT user_id FROM users WHERE user_id > $1 AND deactivated_ts IS NULL \
         ORDER BY user_id LIMIT $2")
    .bind(user_id)
    .bind(limit)
    .map(conn, |row| row.get(0))
    .await
}

/// The next `limit` rooms after this one.
///
/// # Errors
///
/// When the database fails.
pub async fn rooms_after(conn: &mut Conn, room_id: &str, limit: i64) -> Result<Vec<String>> {
    sql("SELECT room_id FROM rooms WHERE room_id > $1 ORDER BY room_id LIMIT $2")
        .bind(room_id)
        .bind(limit)
        .map(conn, |row| row.get(0))
        .await
}

/// A field of the profile of a local user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRow {
    /// The user.
    pub user_id: String,
    /// `displayname` or `avatar_url`.
    pub field: String,
    /// Its value, as JSON.
    pub value: String,
}

/// Names and avatars of local users.
///
/// # Errors
///
/// When the database fails.
pub async fn profiles(conn: &mut Conn, users: &[String]) -> Result<Vec<FieldRow>> {
    sql("SELECT user_id, field, value FROM profiles \
         WHERE user_id = ANY($1) AND field IN ('displayname', 'avatar_url')")
    .bind(users)
    .map(conn, |row| Ok(FieldRow { user_id: row.get(0)?, field: row.get(1)?, value: row.get(2)? }))
    .await
}

/// Accounts among users, as `(user_id, flags, is deactivated)`.
///
/// # Errors
///
/// When the database fails.
pub async fn accounts(conn: &mut Conn, users: &[String]) -> Result<Vec<(String, i16, bool)>> {
    sql("SELECT user_id, flags, deactivated_ts FROM users WHERE user_id = ANY($1)")
        .bind(users)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?, row.get::<Option<i64>>(2)?.is_some())))
        .await
}

/// Who is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Who asks.
    pub asker: &'a str,
    /// From which word to which; each range must have one. The narrowest first, at least one.
    pub words: &'a [(String, String)],
    /// Whether every local user may be found.
    pub all_local: bool,
    /// How many at most.
    pub limit: i64,
    /// How many rows of the first range are looked at at most.
    pub looked_at: i64,
}

/// The condition that a membership `m` is in a room that the asker `$1` is in with its user, or in one
/// that is open and that somebody of this deployment is in: of others it is not known what their
/// members are called now. With themselves nobody shares a room: they are found as strangers find them.
const IN_SIGHT: &str = "m.membership = 'join' AND (\
     m.user_id <> $1 AND EXISTS (SELECT 1 FROM memberships a \
             WHERE a.user_id = $1 AND a.room_id = m.room_id AND a.membership = 'join') \
     OR EXISTS (SELECT 1 FROM directory_rooms r WHERE r.room_id = m.room_id) \
     AND EXISTS (SELECT 1 FROM memberships l \
                 WHERE l.room_id = m.room_id AND l.local = 1 AND l.membership = 'join'))";

/// Users who may be found by some words, and whom the asker may find.
///
/// # Errors
///
/// When the database fails.
pub async fn proposed(conn: &mut Conn, wanted: Wanted<'_>) -> Result<Vec<String>> {
    let words = wanted.words.get(..WORDS).unwrap_or(wanted.words);
    let ends = words.iter().flat_map(|(from, to)| [from, to]).map(Value::from);
    let bounds = [wanted.asker.into(), wanted.limit.into(), wanted.looked_at.into()];
    let values = bounds.into_iter().chain(ends).collect();
    let text = proposed_text(words.len(), wanted.all_local);
    composed(text, values).long().map(conn, |row| row.get(0)).await
}

fn proposed_text(words: usize, all_local: bool) -> String {
    let others: String = (1..words)
        .map(|word| {
            let (from, to) = (4 + 2 * word, 5 + 2 * word);
            format!(
                "AND EXISTS (SELECT 1 FROM directory_words o WHERE o.user_id = c.user_id \
                 AND o.word >= ${from} AND o.word <= ${to}) "
            )
        })
        .collect();
    let local = match all_local {
        true => "OR EXISTS (SELECT 1 FROM users u WHERE u.user_id = c.user_id AND u.user_id <> $1)",
        false => "",
    };
    format!(
        "SELECT DISTINCT c.user_id FROM (SELECT user_id FROM directory_words \
         WHERE word >= $4 AND word <= $5 ORDER BY word, user_id LIMIT $3) AS c \
         WHERE (EXISTS (SELECT 1 FROM memberships m \
         WHERE m.user_id = c.user_id AND {IN_SIGHT}) {local}) {others}ORDER BY c.user_id LIMIT $2"
    )
}

/// What somebody is called in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRow {
    /// Who.
    pub user_id: String,
    /// Their name there.
    pub display_name: Option<String>,
    /// Their avatar there.
    pub avatar_url: Option<String>,
}

/// What users are called in the rooms where the asker may see them, the newest names first.
///
/// # Errors
///
/// When the database fails.
pub async fn names_in_sight(
    conn: &mut Conn,
    asker: &str,
    users: &[String],
    limit: i64,
) -> Result<Vec<NameRow>> {
    let text = format!(
        "SELECT m.user_id, m.display_name, m.avatar_url FROM memberships m \
         WHERE m.user_id = ANY($2) AND {IN_SIGHT} ORDER BY m.pos DESC LIMIT $3"
    );
    let values = vec![asker.into(), users.into(), limit.into()];
    let name = |row: &crate::db::Row| {
        let (user_id, display_name) = (row.get(0)?, row.get(1)?);
        Ok(NameRow { user_id, display_name, avatar_url: row.get(2)? })
    };
    composed(text, values).long().map(conn, name).await
}
