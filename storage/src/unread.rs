//! How much users have not read, and of what.
//!
//! Every event stands in one thread; [`MAIN`] is the thread of those that are in no other. A thread
//! has two running numbers: how many of its events so far notify, and highlight, everybody who has
//! the default push rules. So a count is a difference of numbers at two positions, whoever asks.
//! Beside it there are rows of single users, for events that mean something else to them, and for
//! members whose rules are their own, from a position of their membership on. Events that were
//! redacted after they were counted are taken off.

pub(crate) mod own;
mod pending;
mod reading;

pub use pending::{Does, Span, does, pending};
pub use reading::{Listener, Notified, Part, counts, listeners, marks, notified, numbers};

use crate::{
    bulk,
    change::At,
    db::{Conn, Result, Value, sql},
};

/// The thread of events that are in no other.
pub const MAIN: &str = "main";

/// Bits of `timeline.notifies`: what an event does to everybody who has the default rules.
pub mod notifies {
    /// It notifies.
    pub const NOTIFY: i16 = 1;
    /// It highlights; only what notifies does.
    pub const HIGHLIGHT: i16 = 2;
    /// It did, and was redacted since.
    pub const UNCOUNTED: i16 = 4;
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// The running numbers of a thread were raised.
    Numbers {
        /// The room.
        room_id: String,
        /// The thread.
        thread: String,
        /// The numbers now.
        numbers: Numbers,
        /// The fact of the event that raised them.
        at: At,
    },
    /// A user has read up to somewhere.
    Mark(Mark),
    /// A user has read up to an event that they send themselves.
    OwnEvent {
        /// The mark; `pos` is given by the commit.
        mark: Mark,
        /// The fact of the event.
        at: At,
    },
    /// An event means to a user what it does not mean to everybody.
    Notification {
        /// What it means; `pos` is given by the commit.
        row: NotificationRow,
        /// The fact of the event.
        at: At,
    },
    /// An event was redacted and counts no more.
    Uncount {
        /// The room.
        room_id: String,
        /// The event.
        event_id: String,
    },
    /// Where the rules of a user make a difference; from here on they are asked there.
    Reach {
        /// The user.
        user_id: String,
        /// `rules` or `ignored`.
        source: &'static str,
        /// The rooms; `""` is every room.
        rooms: Vec<String>,
        /// The fact of the change.
        at: At,
    },
    /// A user joined a room: their rules are asked there if they make a difference.
    Joined {
        /// The user.
        user_id: String,
        /// The room.
        room_id: String,
        /// The fact of the join.
        at: At,
    },
}

/// Two running numbers, or their differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Events that notify.
    pub notify: i64,
    /// Events that highlight.
    pub highlight: i64,
}

/// Up to where a user has read in a room or thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The user.
    pub user_id: String,
    /// The room.
    pub room_id: String,
    /// The thread, or `""` for the whole room.
    pub thread: String,
    /// The position that was read up to.
    pub pos: i64,
}

/// What an event means to one user, beside what it means to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotificationRow {
    /// The user.
    pub user_id: String,
    /// The room.
    pub room_id: String,
    /// Where the event stands; ignored when written.
    pub pos: i64,
    /// The event.
    pub event_id: String,
    /// The thread.
    pub thread: String,
    /// To be added to the number of notifying events.
    pub notify: i16,
    /// To be added to the number of highlighting events.
    pub highlight: i16,
}

/// Writes the rows of a batch; `base` is the position before each change's first fact.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<(i64, Write)>) -> Result<()> {
    let (mut numbers, mut marks, mut notifications) = (vec![], vec![], vec![]);
    let mut rest = vec![];
    for (base, row) in rows {
        match row {
            Write::Numbers { room_id, thread, numbers: now, at } => {
                numbers.push((room_id, thread, now, at.after(base)));
            }
            Write::Mark(mark) => marks.push(mark),
            Write::OwnEvent { mark, at } => marks.push(Mark { pos: at.after(base), ..mark }),
            Write::Notification { mut row, at } => {
                row.pos = at.after(base);
                notifications.push(row);
            }
            other => rest.push((base, other)),
        }
    }
    put_numbers(conn, numbers).await?;
    put_marks(conn, marks).await?;
    own::put(conn, notifications).await?;
    for (base, row) in rest {
        match row {
            Write::Uncount { room_id, event_id } => uncount(conn, room_id, event_id).await?,
            Write::Reach { user_id, source, rooms, at } => {
                put_reach(conn, &user_id, source, rooms).await?;
                begin_own_rules(conn, &user_id, "", at.after(base)).await?;
            }
            Write::Joined { user_id, room_id, at } => {
                begin_own_rules(conn, &user_id, &room_id, at.after(base)).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

async fn put_numbers(conn: &mut Conn, rows: Vec<(String, String, Numbers, i64)>) -> Result<()> {
    let rows = bulk::last_by_key(rows, |(room, thread, ..)| (room.clone(), thread.clone()));
    let values = rows.into_iter().map(|(room, thread, now, pos)| -> Vec<Value> {
        vec![room.into(), thread.into(), now.notify.into(), now.highlight.into(), pos.into()]
    });
    bulk::insert(
        conn,
        "INSERT INTO thread_counts (room_id, thread_root, notify_count, highlight_count, pos)",
        "ON CONFLICT (room_id, thread_root) DO UPDATE SET notify_count = excluded.notify_count, \
         highlight_count = excluded.highlight_count, pos = excluded.pos",
        values,
    )
    .await
}

/// A mark moves forward only: who reads in two places at once has read what either has.
async fn put_marks(conn: &mut Conn, mut marks: Vec<Mark>) -> Result<()> {
    marks.sort_by_key(|mark| mark.pos);
    let marks =
        bulk::last_by_key(marks, |m| (m.user_id.clone(), m.room_id.clone(), m.thread.clone()));
    let values = marks.into_iter().map(|m| -> Vec<Value> {
        vec![m.user_id.into(), m.room_id.into(), m.thread.into(), m.pos.into()]
    });
    bulk::insert(
        conn,
        "INSERT INTO unread_marks (user_id, room_id, thread_root, pos)",
        "ON CONFLICT (user_id, room_id, thread_root) DO UPDATE SET pos = excluded.pos \
         WHERE excluded.pos > unread_marks.pos",
        values,
    )
    .await
}

async fn uncount(conn: &mut Conn, room_id: String, event_id: String) -> Result<()> {
    sql("UPDATE timeline SET notifies = notifies + CAST(4 AS SMALLINT) \
         WHERE event_id = $2 AND room_id = $1 AND notifies > 0 AND notifies < 4")
    .bind(&room_id)
    .bind(&event_id)
    .execute(conn)
    .await?;
    own::remove(conn, &room_id, &[event_id]).await
}

async fn put_reach(
    conn: &mut Conn,
    user_id: &str,
    source: &'static str,
    rooms: Vec<String>,
) -> Result<()> {
    sql("DELETE FROM push_reach WHERE user_id = $1 AND source = $2")
        .bind(user_id)
        .bind(source)
        .execute(conn)
        .await?;
    let rows = bulk::last_by_key(rooms, Clone::clone);
    let values = rows
        .into_iter()
        .map(|room_id| -> Vec<Value> { vec![user_id.into(), source.into(), room_id.into()] });
    let head = "INSERT INTO push_reach (user_id, source, room_id)";
    bulk::insert(conn, head, "", values).await
}

/// From `pos` on the rules of a user are asked in a room, or in all of their rooms (`""`), where they
/// make a difference.
async fn begin_own_rules(conn: &mut Conn, user_id: &str, room_id: &str, pos: i64) -> Result<()> {
    sql("UPDATE memberships SET own_rules_pos = $3 \
         WHERE user_id = $1 AND ($2 = '' OR room_id = $2) AND local = 1 \
         AND membership = 'join' AND own_rules_pos IS NULL \
         AND EXISTS (SELECT 1 FROM push_reach r WHERE r.user_id = memberships.user_id \
                     AND (r.room_id = '' OR r.room_id = memberships.room_id))")
    .bind(user_id)
    .bind(room_id)
    .bind(pos)
    .execute(conn)
    .await?;
    Ok(())
}
