//! The words of messages, room names and topics, and where they stand: an inverted index.
//!
//! One row says that a word stands in an event. Words and rooms are numbers here, hashes that the
//! engine makes, so that a row is short and the text of an event stands in no second place. Two words
//! with one hash do no harm: whoever finds an event here looks at the event itself.
//!
//! The databases' own full-text search was decided against. SQLite and PostgreSQL cut texts into words
//! differently, neither finds words in Chinese, Japanese or Thai as they come, and neither can page
//! through the newest matches in some rooms without looking at those of all rooms.

use crate::{
    bulk,
    db::{Conn, Result, Value, composed, sql},
    memberships::{self, MembershipRow},
    timeline::{ENTRY, Entry, entry},
};

/// How many rooms one statement looks into at most.
const ROOMS: usize = 32;

/// How many terms are looked for in the index at most; the rest is left to whoever sees the events.
const TERMS: usize = 8;

/// An event in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its position in the timeline.
    pub pos: i64,
    /// The hash of its room's id.
    pub room: i64,
    /// In which field the words stand.
    pub key: i16,
    /// The hashes of the words, each once.
    pub terms: Vec<i64>,
}

/// In which direction the timeline is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What is new.
    Forward,
    /// What was there before, and history.
    Backward,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// An event is in the index.
    Put(DocumentRow),
    /// The event at this position no longer is.
    Remove {
        /// The position.
        pos: i64,
    },
    /// The timeline was taken in up to here.
    Progress {
        /// In this direction.
        direction: Direction,
        /// Up to this position.
        pos: i64,
    },
}

pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    let (mut documents, mut removed) = (vec![], vec![]);
    for row in rows {
        match row {
            Write::Put(row) => documents.push(row),
            Write::Remove { pos } => removed.push(pos),
            Write::Progress { direction, pos } => progressed(conn, direction, pos).await?,
        }
    }
    put(conn, documents).await?;
    for pos in removed {
        remove(conn, pos).await?;
    }
    Ok(())
}

async fn put(conn: &mut Conn, documents: Vec<DocumentRow>) -> Result<()> {
    let mut postings: Vec<(i64, i64, i64, i16)> = vec![];
    let mut rows: Vec<Vec<Value>> = vec![];
    for DocumentRow { pos, room, key, terms } in documents {
        let bytes: Vec<u8> = terms.iter().flat_map(|term| term.to_be_bytes()).collect();
        rows.push(vec![pos.into(), room.into(), bytes.into()]);
        postings.extend(terms.into_iter().map(|term| (term, room, pos, key)));
    }
    bulk::insert(
        conn,
        "INSERT INTO search_documents (pos, room, terms)",
        "ON CONFLICT DO NOTHING",
        rows,
    )
    .await?;
    // In the order of the key neighbours come one after the other.
    postings.sort_unstable();
    let values = postings.into_iter().map(|(term, room, pos, key)| -> Vec<Value> {
        vec![term.into(), room.into(), pos.into(), key.into()]
    });
    bulk::insert(
        conn,
        "INSERT INTO search_postings (term, room, pos, key)",
        "ON CONFLICT DO NOTHING",
        values,
    )
    .await
}

/// Takes the event at a position out of the index.
pub(crate) async fn remove(conn: &mut Conn, pos: i64) -> Result<()> {
    let row = sql("SELECT room, terms FROM search_documents WHERE pos = $1").bind(pos);
    let Some(row) = row.optional(conn).await? else { return Ok(()) };
    let (room, bytes): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
    let terms: Vec<i64> =
        bytes.as_chunks().0.iter().map(|term| i64::from_be_bytes(*term)).collect();
    sql("DELETE FROM search_postings WHERE term = ANY($1) AND room = $2 AND pos = $3")
        .bind(terms)
        .bind(room)
        .bind(pos)
        .execute(conn)
        .await?;
    sql("DELETE FROM search_documents WHERE pos = $1").bind(pos).execute(conn).await?;
    Ok(())
}

async fn progressed(conn: &mut Conn, direction: Direction, pos: i64) -> Result<()> {
    sql("UPDATE search_progress SET pos = $2 WHERE direction = $1")
        .bind(direction.name())
        .bind(pos)
        .execute(conn)
        .await?;
    Ok(())
}

/// Up to where the timeline was taken in.
///
/// # Errors
///
/// When the database fails.
pub async fn progress(conn: &mut Conn, direction: Direction) -> Result<i64> {
    let row = sql("SELECT pos FROM search_progress WHERE direction = $1").bind(direction.name());
    row.optional(conn).await?.map_or(Ok(0), |row| row.get(0))
}

/// The next `limit` places of all timelines: those after `from` up to `until`, the oldest first.
///
/// # Errors
///
/// When the database fails.
pub async fn newer(conn: &mut Conn, from: i64, until: i64, limit: i64) -> Result<Vec<Entry>> {
    let text = format!(
        "SELECT {ENTRY} FROM timeline t WHERE t.pos > $1 AND t.pos <= $2 ORDER BY t.pos LIMIT $3"
    );
    let values = vec![from.into(), until.into(), limit.into()];
    composed(text, values).map(conn, |row| entry(row, 0)).await
}

/// The next `limit` places of all timelines: those at `from` and before, the newest first.
///
/// # Errors
///
/// When the database fails.
pub async fn older(conn: &mut Conn, from: i64, limit: i64) -> Result<Vec<Entry>> {
    let text =
        format!("SELECT {ENTRY} FROM timeline t WHERE t.pos <= $1 ORDER BY t.pos DESC LIMIT $2");
    let values = vec![from.into(), limit.into()];
    composed(text, values).map(conn, |row| entry(row, 0)).await
}

/// Those of the rooms that are encrypted.
///
/// # Errors
///
/// When the database fails.
pub async fn encrypted(conn: &mut Conn, room_ids: &[String]) -> Result<Vec<String>> {
    sql("SELECT room_id FROM current_state \
         WHERE room_id = ANY($1) AND type = 'm.room.encryption' AND state_key = ''")
    .bind(room_ids)
    .map(conn, |row| row.get(0))
    .await
}

/// The memberships of a user in rooms that they are in or may have been in and that are not
/// encrypted; those that changed last come first.
///
/// # Errors
///
/// When the database fails.
pub async fn rooms_of(conn: &mut Conn, user_id: &str) -> Result<Vec<MembershipRow>> {
    let text = format!(
        "SELECT {} FROM memberships m \
         WHERE user_id = $1 AND forgotten = 0 AND membership IN ('join', 'leave', 'ban') \
         AND NOT EXISTS (SELECT 1 FROM current_state s WHERE s.room_id = m.room_id \
                         AND s.type = 'm.room.encryption' AND s.state_key = '') \
         ORDER BY pos DESC",
        memberships::COLUMNS
    );
    composed(text, vec![user_id.into()]).map(conn, memberships::membership_row).await
}

/// In how many events a word stands, counted up to `most`.
///
/// # Errors
///
/// When the database fails.
pub async fn frequency(conn: &mut Conn, term: i64, most: i64) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM \
                   (SELECT 1 FROM search_postings WHERE term = $1 LIMIT $2) AS found")
    .bind(term)
    .bind(most)
    .optional(conn)
    .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// What is looked for in the index.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The words that must all be there; the rarest first, at least one.
    pub terms: &'a [i64],
    /// The rooms.
    pub rooms: &'a [i64],
    /// The fields, at least one.
    pub keys: &'a [i16],
    /// Before this position.
    pub before: i64,
    /// How many at most.
    pub limit: usize,
    /// How many places of the first word are looked at in each room at most.
    pub looked_at: i64,
}

/// The newest positions at which everything wanted is, the newest first.
///
/// # Errors
///
/// When the database fails.
pub async fn newest(conn: &mut Conn, wanted: Wanted<'_>) -> Result<Vec<i64>> {
    let terms = wanted.terms.get(..TERMS).unwrap_or(wanted.terms);
    let mut found: Vec<i64> = vec![];
    let mut rooms = wanted.rooms;
    // What is older than the oldest of enough that were found cannot be among the newest.
    let mut after = i64::MIN;
    while !rooms.is_empty() {
        let (chunk, rest) = rooms.split_at(step(rooms.len()));
        rooms = rest;
        let limit = i64::try_from(wanted.limit).unwrap_or(i64::MAX);
        let bounds = [after, wanted.before, limit, wanted.looked_at];
        let values = bounds.into_iter().chain(terms.iter().copied()).chain(chunk.iter().copied());
        let values = values.map(Value::from).collect();
        let text = text(wanted.keys, terms.len(), chunk.len());
        found.extend(composed(text, values).long().map(conn, |row| row.get::<i64>(0)).await?);
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        found.truncate(wanted.limit);
        if found.len() == wanted.limit {
            after = found.last().map_or(after, |last| *last);
        }
    }
    Ok(found)
}

/// The largest power of two that is at most `rooms` and [`ROOMS`]: few texts of statements.
fn step(rooms: usize) -> usize {
    let mut step = ROOMS;
    while step > rooms {
        step /= 2;
    }
    step.max(1)
}

/// One branch for each room, so that each stops at the newest matches of that room.
fn text(keys: &[i16], terms: usize, rooms: usize) -> String {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let keys = keys.join(", ");
    let others: String = (6..5 + terms)
        .map(|term| {
            format!(
                "AND EXISTS (SELECT 1 FROM search_postings o WHERE o.term = ${term} \
                 AND o.room = c.room AND o.pos = c.pos) "
            )
        })
        .collect();
    let branches: Vec<String> = (0..rooms)
        .map(|room| {
            let number = 5 + terms + room;
            format!(
                "SELECT pos FROM (SELECT c.pos FROM (SELECT room, pos FROM search_postings \
                 WHERE term = $5 AND room = ${number} AND pos > $1 AND pos < $2 \
                 AND key IN ({keys}) ORDER BY pos DESC LIMIT $4) AS c \
                 WHERE true {others}ORDER BY c.pos DESC LIMIT $3) AS r{room}"
            )
        })
        .collect();
    branches.join(" UNION ALL ")
}

/// Which events stand at these positions: position, room and event.
///
/// # Errors
///
/// When the database fails.
pub async fn events_at(conn: &mut Conn, positions: &[i64]) -> Result<Vec<(i64, String, String)>> {
    sql("SELECT pos, room_id, event_id FROM timeline WHERE pos = ANY($1)")
        .bind(positions)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .await
}
