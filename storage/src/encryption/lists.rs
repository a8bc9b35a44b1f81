//! Whose list of devices changed where, and who came into a room or left it.

use std::collections::BTreeMap;

use super::{
    cross_signing::{self, SignatureRow},
    outbox, remote_lists,
};
use crate::{
    change::At,
    db::{Conn, Result, sql},
    facts::Fact,
};

/// What follows for lists of devices when somebody came into a room or left it, or signed a key.
/// Written after the memberships of the batch.
#[derive(Clone, Debug)]
pub enum Write {
    /// Somebody came into a room, or left it.
    Moved {
        /// The room.
        room_id: String,
        /// Who.
        user_id: String,
        /// Whether they came.
        joined: bool,
        /// The fact of it.
        at: At,
    },
    /// Somebody turned out to have been in a room that was joined without its members, and that is not
    /// encrypted: it is noted if their devices are known to have changed.
    Found {
        /// The room.
        room_id: String,
        /// Who.
        user_id: String,
        /// The fact of it.
        at: At,
    },
    /// A user of this deployment signed somebody's key.
    Signed {
        /// The signature.
        row: SignatureRow,
        /// The fact of it.
        at: At,
    },
    /// A user of this deployment came into a room.
    Introduce {
        /// The user.
        user_id: String,
        /// The room.
        room_id: String,
    },
    /// A server has to be told of a user's devices, as it was in a room with them unnoticed.
    Remind {
        /// The server.
        server: String,
        /// The user.
        user_id: String,
    },
    /// A user of another server came into a room.
    Arrived {
        /// The user.
        user_id: String,
        /// The room.
        room_id: String,
    },
}

pub(crate) async fn apply(conn: &mut Conn, rows: Vec<(i64, Write)>) -> Result<()> {
    for (base, row) in rows {
        match row {
            Write::Moved { room_id, user_id, joined, at } => {
                moved(conn, room_id, user_id, joined, at.after(base)).await?;
            }
            Write::Found { room_id, user_id, at } => {
                if changed_at(conn, &user_id).await? > 0 {
                    moved(conn, room_id, user_id, true, at.after(base)).await?;
                }
            }
            Write::Signed { row, at } => cross_signing::sign(conn, row, at.after(base)).await?,
            Write::Introduce { user_id, room_id } => {
                outbox::introduce(conn, &user_id, &room_id).await?;
                remote_lists::forget_if_alone(conn, &user_id, &room_id).await?;
            }
            Write::Remind { server, user_id } => outbox::remind(conn, &server, &user_id).await?,
            Write::Arrived { user_id, room_id } => {
                remote_lists::forget_unless_shared(conn, &user_id, &room_id).await?;
            }
        }
    }
    Ok(())
}

async fn moved(
    conn: &mut Conn,
    room_id: String,
    user_id: String,
    joined: bool,
    pos: i64,
) -> Result<()> {
    sql("INSERT INTO member_moves (room_id, pos, user_id, joined) \
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
    .bind(room_id)
    .bind(pos)
    .bind(user_id)
    .bind(joined)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes where the lists changed of which the facts of a batch speak.
pub(crate) async fn advance<'a>(
    conn: &mut Conn,
    facts: impl Iterator<Item = (i64, &'a Fact)>,
) -> Result<()> {
    let mut last = BTreeMap::new();
    for (pos, fact) in facts {
        if let Fact::Devices { user_id } = fact {
            last.insert(user_id, pos);
        }
    }
    for (user_id, pos) in last {
        outbox::place(conn, user_id, pos).await?;
        sql("INSERT INTO device_lists (user_id, pos) VALUES ($1, $2) \
             ON CONFLICT (user_id) DO UPDATE SET pos = excluded.pos")
        .bind(user_id)
        .bind(pos)
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Where a user's list of devices changed last; 0 when it never did.
///
/// # Errors
///
/// When the database fails.
pub async fn changed_at(conn: &mut Conn, user_id: &str) -> Result<i64> {
    let row = sql("SELECT pos FROM device_lists WHERE user_id = $1").bind(user_id);
    row.optional(conn).await?.map_or(Ok(0), |row| row.get(0))
}

/// Whose devices changed after a position: of the user, and of those who share a room with them.
///
/// # Errors
///
/// When the database fails.
pub async fn changed_after(conn: &mut Conn, user_id: &str, after: i64) -> Result<Vec<String>> {
    sql("SELECT l.user_id FROM device_lists l WHERE l.pos > $2 AND (l.user_id = $1 OR EXISTS \
         (SELECT 1 FROM memberships b JOIN memberships a ON a.room_id = b.room_id \
          AND a.user_id = $1 AND a.membership = 'join' \
          WHERE b.user_id = l.user_id AND b.membership = 'join'))")
    .bind(user_id)
    .bind(after)
    .map(conn, |row| row.get(0))
    .await
}

/// Who of a room's members of this deployment has devices that changed after a position.
///
/// # Errors
///
/// When the database fails.
pub async fn local_changed_after(
    conn: &mut Conn,
    room_id: &str,
    after: i64,
) -> Result<Vec<String>> {
    sql("SELECT m.user_id FROM memberships m JOIN device_lists l ON l.user_id = m.user_id \
         WHERE m.room_id = $1 AND m.local = 1 AND m.membership = 'join' AND l.pos > $2")
    .bind(room_id)
    .bind(after)
    .map(conn, |row| row.get(0))
    .await
}

/// The rooms that a user came into or left.
///
/// # Errors
///
/// When the database fails.
pub async fn moves_of(
    conn: &mut Conn,
    user_id: &str,
    after: i64,
    until: i64,
) -> Result<Vec<String>> {
    sql("SELECT DISTINCT room_id FROM member_moves WHERE user_id = $1 AND pos > $2 AND pos <= $3")
        .bind(user_id)
        .bind(after)
        .bind(until)
        .map(conn, |row| row.get(0))
        .await
}

/// Those who came into some rooms or left them.
///
/// # Errors
///
/// When the database fails.
pub async fn moved_in(
    conn: &mut Conn,
    room_ids: &[String],
    after: i64,
    until: i64,
) -> Result<Vec<String>> {
    sql("SELECT DISTINCT user_id FROM member_moves \
         WHERE room_id = ANY($1) AND pos > $2 AND pos <= $3")
    .bind(room_ids)
    .bind(after)
    .bind(until)
    .map(conn, |row| row.get(0))
    .await
}

/// All who are joined to some rooms.
///
/// # Errors
///
/// When the database fails.
pub async fn members_of(conn: &mut Conn, room_ids: &[String]) -> Result<Vec<String>> {
    sql("SELECT DISTINCT user_id FROM memberships \
         WHERE room_id = ANY($1) AND membership = 'join'")
    .bind(room_ids)
    .map(conn, |row| row.get(0))
    .await
}

/// Those of `users` who have shared a room with a user all the time since a position.
///
/// # Errors
///
/// When the database fails.
pub async fn sharing_since(
    conn: &mut Conn,
    user_id: &str,
    users: &[String],
    since: i64,
) -> Result<Vec<String>> {
    // In the order of the text, as `memberships::sharing`.
    sql("SELECT DISTINCT b.user_id FROM memberships b CROSS JOIN memberships a \
         WHERE b.user_id = ANY($2) AND b.membership = 'join' AND b.pos <= $3 \
         AND a.user_id = $1 AND a.room_id = b.room_id AND a.membership = 'join' AND a.pos <= $3")
    .bind(user_id)
    .bind(users)
    .bind(since)
    .map(conn, |row| row.get(0))
    .await
}
