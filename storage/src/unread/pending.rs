//! Reading what a user is still to be told of.

use super::reading::{Notified, notified_row};
use crate::db::{Conn, Result, Value, composed, sql};

/// Between which positions something happened, and where.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// After this one.
    pub after: i64,
    /// Up to this one.
    pub until: i64,
    /// In these rooms; `None`: in all of the user's.
    pub rooms: Option<&'a [String]>,
}

/// The newest events of a span that notified a user by their rules or the default ones, oldest first, at
/// most `limit`. Whether they were in the room at the time is not looked at, but that they are now.
///
/// # Errors
///
/// When the database fails.
pub async fn pending(
    conn: &mut Conn,
    user_id: &str,
    span: Span<'_>,
    limit: i64,
) -> Result<Vec<Notified>> {
    let rooms = if span.rooms.is_some() { "AND m.room_id = ANY($5)" } else { "" };
    // Of each room only its newest ones: a user of many rooms does not pay for all of their history.
    let text = format!(
        "SELECT t.room_id, t.event_id, t.pos, COALESCE(t.thread_root, 'main'), \
           CAST(CASE WHEN t.notifies = 3 THEN 1 ELSE 0 END + COALESCE(n.highlight, 0) AS BIGINT) \
         FROM memberships m JOIN timeline t ON t.room_id = m.room_id AND t.pos IN \
           (SELECT d.pos FROM timeline d WHERE d.room_id = m.room_id AND d.pos > $2 AND d.pos <= $3 \
            AND d.notifies > 0 AND d.notifies < 4 AND d.pos <= COALESCE(m.own_rules_pos, d.pos) \
            ORDER BY d.pos DESC LIMIT $4) \
         LEFT JOIN notifications n \
           ON n.user_id = m.user_id AND n.room_id = m.room_id AND n.pos = t.pos \
         WHERE m.user_id = $1 AND m.membership = 'join' AND COALESCE(n.notify, 0) = 0 {rooms} \
         UNION ALL \
         SELECT n.room_id, n.event_id, n.pos, n.thread_root, CAST(n.highlight AS BIGINT) \
         FROM memberships m JOIN notifications n ON n.user_id = m.user_id AND n.room_id = m.room_id \
           AND n.pos IN (SELECT d.pos FROM notifications d WHERE d.user_id = m.user_id \
             AND d.room_id = m.room_id AND d.pos > $2 AND d.pos <= $3 AND d.notify > 0 \
             ORDER BY d.pos DESC LIMIT $4) \
         WHERE m.user_id = $1 {rooms} \
         ORDER BY 3 DESC LIMIT $4"
    );
    let mut values: Vec<Value> =
        vec![user_id.into(), span.after.into(), span.until.into(), limit.into()];
    if let Some(rooms) = span.rooms {
        values.push(rooms.into());
    }
    let mut found = composed(text, values).map(conn, notified_row).await?;
    found.reverse();
    Ok(found)
}

/// What an event does to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Does {
    /// It notifies everybody who has the default rules.
    pub everybody: bool,
    /// To these users it means something else.
    pub users: Vec<String>,
}

/// Whom an event of the timeline may notify.
///
/// # Errors
///
/// When the database fails.
pub async fn does(conn: &mut Conn, room_id: &str, event_id: &str) -> Result<Does> {
    let row = sql("SELECT notifies FROM timeline WHERE room_id = $1 AND event_id = $2")
        .bind(room_id)
        .bind(event_id)
        .optional(conn)
        .await?;
    let notifies: i16 = row.map_or(Ok(0), |row| row.get(0))?;
    let users = sql("SELECT user_id FROM notifications WHERE room_id = $1 AND event_id = $2")
        .bind(room_id)
        .bind(event_id)
        .map(conn, |row| row.get(0))
        .await?;
    Ok(Does { everybody: notifies > 0, users })
}
