//! How much users have not read, and of what.
//!
//! Every event stands in one thread; [`MAIN`] is the thread of those that are in no other. A thread
//! has two running numbers: how many of its events so far notify, and highlight, everybody who has
//! the default push rules. So a count is a difference of numbers at two positions, whoever asks.
//! Beside it there are rows of single users, for events that mean something else to them, and for
//! members whose rules are their own, from a position of their membership on. Events that were
//! redacted after they were counted are taken off.

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
    put_notifications(conn, notifications).await?;
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
        values.collect(),
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
        values.collect(),
    )
    .await
}

async fn put_notifications(conn: &mut Conn, rows: Vec<NotificationRow>) -> Result<()> {
    let values = rows.into_iter().map(|n| -> Vec<Value> {
        vec![
            n.user_id.into(),
            n.room_id.into(),
            n.pos.into(),
            n.event_id.into(),
            n.thread.into(),
            n.notify.into(),
            n.highlight.into(),
        ]
    });
    bulk::insert(
        conn,
        "INSERT INTO notifications (user_id, room_id, pos, event_id, thread_root, notify, highlight)",
        "",
        values.collect(),
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
    sql("DELETE FROM notifications WHERE room_id = $1 AND event_id = $2")
        .bind(room_id)
        .bind(event_id)
        .execute(conn)
        .await?;
    Ok(())
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
    bulk::insert(conn, head, "", values.collect()).await
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

/// The running numbers of a thread.
///
/// # Errors
///
/// When the database fails.
pub async fn numbers(conn: &mut Conn, room_id: &str, thread: &str) -> Result<Numbers> {
    let row = sql("SELECT notify_count, highlight_count FROM thread_counts \
         WHERE room_id = $1 AND thread_root = $2")
    .bind(room_id)
    .bind(thread)
    .optional(conn)
    .await?;
    row.map_or(Ok(Numbers::default()), |row| {
        Ok(Numbers { notify: row.get(0)?, highlight: row.get(1)? })
    })
}

/// Up to where a user has read in a room, all threads.
///
/// # Errors
///
/// When the database fails.
pub async fn marks(conn: &mut Conn, user_id: &str, room_id: &str) -> Result<Vec<Mark>> {
    sql("SELECT user_id, room_id, thread_root, pos FROM unread_marks \
         WHERE user_id = $1 AND room_id = $2 ORDER BY thread_root")
    .bind(user_id)
    .bind(room_id)
    .map(conn, |row| {
        Ok(Mark {
            user_id: row.get(0)?,
            room_id: row.get(1)?,
            thread: row.get(2)?,
            pos: row.get(3)?,
        })
    })
    .await
}

/// A part of what a user has not read in a thread; the parts are to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The room.
    pub room_id: String,
    /// The thread.
    pub thread: String,
    /// What is to be added.
    pub numbers: Numbers,
}

/// What a user has not read in some rooms, in parts.
///
/// # Errors
///
/// When the database fails.
pub async fn counts(conn: &mut Conn, user_id: &str, room_ids: &[String]) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for text in [BY_DEFAULT, TAKEN_OFF, OWN] {
        let query = sql(text).bind(user_id).bind(room_ids);
        let found = query.map(conn, |row| {
            Ok(Part {
                room_id: row.get(0)?,
                thread: row.get(1)?,
                numbers: Numbers { notify: row.get(2)?, highlight: row.get(3)? },
            })
        });
        parts.extend(found.await?);
    }
    Ok(parts)
}

/// The difference of the running numbers: now, or where the user's own rules begin, and where they
/// have read up to.
const BY_DEFAULT: &str = "SELECT c.room_id, c.thread_root, \
       CASE WHEN m.own_rules_pos IS NULL THEN c.notify_count ELSE COALESCE(e.notify_count, 0) END \
         - COALESCE(s.notify_count, 0), \
       CASE WHEN m.own_rules_pos IS NULL THEN c.highlight_count \
            ELSE COALESCE(e.highlight_count, 0) END - COALESCE(s.highlight_count, 0) \
     FROM memberships m \
     LEFT JOIN unread_marks w \
       ON w.user_id = m.user_id AND w.room_id = m.room_id AND w.thread_root = '' \
     JOIN thread_counts c ON c.room_id = m.room_id AND c.pos > COALESCE(w.pos, 0) \
     LEFT JOIN unread_marks k \
       ON k.user_id = m.user_id AND k.room_id = m.room_id AND k.thread_root = c.thread_root \
     LEFT JOIN timeline s ON s.pos = (SELECT MAX(t.pos) FROM timeline t \
       WHERE t.room_id = c.room_id AND COALESCE(t.thread_root, 'main') = c.thread_root \
       AND t.notifies > 0 AND t.pos <= CASE WHEN COALESCE(k.pos, 0) > COALESCE(w.pos, 0) \
                                            THEN k.pos ELSE COALESCE(w.pos, 0) END) \
     LEFT JOIN timeline e ON e.pos = (SELECT MAX(t.pos) FROM timeline t \
       WHERE t.room_id = c.room_id AND COALESCE(t.thread_root, 'main') = c.thread_root \
       AND t.notifies > 0 AND t.pos <= m.own_rules_pos) \
     WHERE m.user_id = $1 AND m.room_id = ANY($2) AND c.pos > COALESCE(k.pos, 0) \
       AND COALESCE(m.own_rules_pos, c.pos) > COALESCE(w.pos, 0) \
       AND COALESCE(m.own_rules_pos, c.pos) > COALESCE(k.pos, 0)";

/// What of it was redacted since.
const TAKEN_OFF: &str = "SELECT t.room_id, COALESCE(t.thread_root, 'main'), \
       CAST(-COUNT(*) AS BIGINT), \
       CAST(-SUM(CASE WHEN t.notifies = 7 THEN 1 ELSE 0 END) AS BIGINT) \
     FROM memberships m \
     LEFT JOIN unread_marks w \
       ON w.user_id = m.user_id AND w.room_id = m.room_id AND w.thread_root = '' \
     JOIN timeline t ON t.room_id = m.room_id AND t.pos > COALESCE(w.pos, 0) AND t.notifies >= 4 \
     LEFT JOIN unread_marks k ON k.user_id = m.user_id AND k.room_id = m.room_id \
       AND k.thread_root = COALESCE(t.thread_root, 'main') \
     WHERE m.user_id = $1 AND m.room_id = ANY($2) AND t.pos > COALESCE(k.pos, 0) \
       AND t.pos <= COALESCE(m.own_rules_pos, t.pos) \
     GROUP BY t.room_id, COALESCE(t.thread_root, 'main')";

/// The user's own rows.
const OWN: &str = "SELECT n.room_id, n.thread_root, \
       CAST(SUM(n.notify) AS BIGINT), CAST(SUM(n.highlight) AS BIGINT) \
     FROM memberships m \
     LEFT JOIN unread_marks w \
       ON w.user_id = m.user_id AND w.room_id = m.room_id AND w.thread_root = '' \
     JOIN notifications n ON n.user_id = m.user_id AND n.room_id = m.room_id \
       AND n.pos > COALESCE(w.pos, 0) \
     LEFT JOIN unread_marks k \
       ON k.user_id = m.user_id AND k.room_id = m.room_id AND k.thread_root = n.thread_root \
     WHERE m.user_id = $1 AND m.room_id = ANY($2) AND n.pos > COALESCE(k.pos, 0) \
     GROUP BY n.room_id, n.thread_root";

/// A member of this deployment whose rules are to be asked about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The user.
    pub user_id: String,
    /// Their name in the room.
    pub display_name: Option<String>,
    /// Whether their rules are their own; otherwise the default ones are theirs.
    pub own_rules: bool,
    /// Where their rules were set last.
    pub rules_pos: Option<i64>,
    /// Where the users whom they ignore were set last.
    pub ignored_pos: Option<i64>,
}

/// The joined members of this deployment to whom an event of a room may mean something else than to
/// everybody: those with rules of their own, and the `mentioned`.
///
/// # Errors
///
/// When the database fails.
pub async fn listeners(
    conn: &mut Conn,
    room_id: &str,
    mentioned: &[String],
) -> Result<Vec<Listener>> {
    let mut found = listeners_by(conn, "m.own_rules_pos IS NOT NULL", room_id, &[]).await?;
    if !mentioned.is_empty() {
        let which = "m.own_rules_pos IS NULL AND m.user_id = ANY($2)";
        found.extend(listeners_by(conn, which, room_id, mentioned).await?);
    }
    Ok(found)
}

async fn listeners_by(
    conn: &mut Conn,
    which: &str,
    room_id: &str,
    mentioned: &[String],
) -> Result<Vec<Listener>> {
    let text = format!(
        "SELECT m.user_id, m.display_name, \
           CASE WHEN m.own_rules_pos IS NULL THEN CAST(0 AS BIGINT) ELSE 1 END, r.pos, i.pos \
         FROM memberships m \
         LEFT JOIN account_data r \
           ON r.user_id = m.user_id AND r.room_id = '' AND r.type = 'm.push_rules' \
         LEFT JOIN account_data i \
           ON i.user_id = m.user_id AND i.room_id = '' AND i.type = 'm.ignored_user_list' \
         WHERE m.room_id = $1 AND m.local = 1 AND m.membership = 'join' AND {which} \
         ORDER BY m.user_id"
    );
    let mut values: Vec<Value> = vec![room_id.into()];
    if !mentioned.is_empty() {
        values.push(mentioned.into());
    }
    crate::db::composed(text, values)
        .map(conn, |row| {
            let own_rules: i64 = row.get(2)?;
            Ok(Listener {
                user_id: row.get(0)?,
                display_name: row.get(1)?,
                own_rules: own_rules != 0,
                rules_pos: row.get(3)?,
                ignored_pos: row.get(4)?,
            })
        })
        .await
}

/// An event that a user was notified of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    /// The room.
    pub room_id: String,
    /// The event.
    pub event_id: String,
    /// Where it stands.
    pub pos: i64,
    /// The thread.
    pub thread: String,
    /// Whether it highlights.
    pub highlight: bool,
}

/// The newest events before `before` that notified a user by their rules or the default ones, newest
/// first, at most `limit`. Whether they were in the room at the time is not looked at, but that they
/// are now.
///
/// # Errors
///
/// When the database fails.
pub async fn notified(
    conn: &mut Conn,
    user_id: &str,
    before: i64,
    highlights_only: bool,
    limit: i64,
) -> Result<Vec<Notified>> {
    let (default, own) = match highlights_only {
        true => ("d.notifies = 3", "d.highlight > 0"),
        false => ("d.notifies < 4", "d.notify > 0"),
    };
    // Of each room only its newest ones: a user of many rooms does not pay for all of their history.
    let text = format!(
        "SELECT t.room_id, t.event_id, t.pos, COALESCE(t.thread_root, 'main'), \
           CAST(CASE WHEN t.notifies = 3 THEN 1 ELSE 0 END + COALESCE(n.highlight, 0) AS BIGINT) \
         FROM memberships m JOIN timeline t ON t.room_id = m.room_id AND t.pos IN \
           (SELECT d.pos FROM timeline d WHERE d.room_id = m.room_id AND d.pos < $2 \
            AND d.notifies > 0 AND {default} AND d.pos <= COALESCE(m.own_rules_pos, d.pos) \
            ORDER BY d.pos DESC LIMIT $3) \
         LEFT JOIN notifications n \
           ON n.user_id = m.user_id AND n.room_id = m.room_id AND n.pos = t.pos \
         WHERE m.user_id = $1 AND m.membership = 'join' \
         UNION ALL \
         SELECT n.room_id, n.event_id, n.pos, n.thread_root, CAST(n.highlight AS BIGINT) \
         FROM memberships m JOIN notifications n ON n.user_id = m.user_id AND n.room_id = m.room_id \
           AND n.pos IN (SELECT d.pos FROM notifications d WHERE d.user_id = m.user_id \
             AND d.room_id = m.room_id AND d.pos < $2 AND {own} ORDER BY d.pos DESC LIMIT $3) \
         WHERE m.user_id = $1 \
         ORDER BY 3 DESC LIMIT $3"
    );
    let values = vec![user_id.into(), before.into(), limit.into()];
    crate::db::composed(text, values)
        .map(conn, |row| {
            let highlight: i64 = row.get(4)?;
            Ok(Notified {
                room_id: row.get(0)?,
                event_id: row.get(1)?,
                pos: row.get(2)?,
                thread: row.get(3)?,
                highlight: highlight > 0,
            })
        })
        .await
}
