//! Who is what in which room, as this deployment knows it now.

use crate::{
    bulk,
    change::At,
    db::{Conn, Result, Row, Value, sql},
};

/// A user's membership of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipRow {
    /// The user.
    pub user_id: String,
    /// The room.
    pub room_id: String,
    /// `join`, `invite`, `knock`, `leave` or `ban`.
    pub membership: String,
    /// The `m.room.member` event.
    pub event_id: String,
    /// Who sent that event.
    pub sender: String,
    /// Whether the user is of this deployment.
    pub local: bool,
    /// Whether the user asked to forget the room.
    pub forgotten: bool,
    /// Where the membership changed last; ignored when written.
    pub pos: i64,
    /// The display name in the room.
    pub display_name: Option<String>,
    /// The avatar in the room.
    pub avatar_url: Option<String>,
    /// JSON array of stripped state, for invites and knocks.
    pub stripped_state: Option<String>,
    /// The version of a room of which this server knows no more.
    pub room_version: Option<String>,
}

/// Rows of this family.
#[derive(Clone, Debug)]
pub enum Write {
    /// A membership changed.
    Put {
        /// The new row.
        row: MembershipRow,
        /// The fact of the change.
        at: At,
    },
    /// A user forgets a room that they are not in.
    Forget {
        /// The user.
        user_id: String,
        /// The room.
        room_id: String,
    },
}

/// Writes the rows of a batch; `base` is the position before each change's first fact.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<(i64, Write)>) -> Result<()> {
    let (mut puts, mut forgets) = (vec![], vec![]);
    for (base, row) in rows {
        match row {
            Write::Put { mut row, at } => {
                row.pos = at.after(base);
                puts.push(row);
            }
            Write::Forget { user_id, room_id } => forgets.push((user_id, room_id)),
        }
    }
    let puts = bulk::last_by_key(puts, |m| (m.user_id.clone(), m.room_id.clone()));
    bulk::insert(
        conn,
        "INSERT INTO memberships (user_id, room_id, membership, event_id, sender, local, \
         forgotten, pos, display_name, avatar_url, stripped_state, room_version)",
        "ON CONFLICT (user_id, room_id) DO UPDATE SET membership = excluded.membership, \
         event_id = excluded.event_id, sender = excluded.sender, forgotten = excluded.forgotten, \
         pos = excluded.pos, display_name = excluded.display_name, \
         avatar_url = excluded.avatar_url, stripped_state = excluded.stripped_state, \
         room_version = excluded.room_version",
        puts.into_iter().map(values),
    )
    .await?;
    for (user_id, room_id) in forgets {
        sql("UPDATE memberships SET forgotten = 1 WHERE user_id = $1 AND room_id = $2 \
             AND membership IN ('leave', 'ban')")
        .bind(user_id)
        .bind(room_id)
        .execute(conn)
        .await?;
    }
    Ok(())
}

fn values(m: MembershipRow) -> Vec<Value> {
    vec![
        m.user_id.into(),
        m.room_id.into(),
        m.membership.into(),
        m.event_id.into(),
        m.sender.into(),
        m.local.into(),
        m.forgotten.into(),
        m.pos.into(),
        m.display_name.into(),
        m.avatar_url.into(),
        m.stripped_state.into(),
        m.room_version.into(),
    ]
}

pub(crate) const COLUMNS: &str = "user_id, room_id, membership, event_id, sender, local, forgotten, pos, \
                       display_name, avatar_url, stripped_state, room_version";

pub(crate) fn membership_row(row: &Row) -> Result<MembershipRow> {
    Ok(MembershipRow {
        user_id: row.get(0)?,
        room_id: row.get(1)?,
        membership: row.get(2)?,
        event_id: row.get(3)?,
        sender: row.get(4)?,
        local: row.get(5)?,
        forgotten: row.get(6)?,
        pos: row.get(7)?,
        display_name: row.get(8)?,
        avatar_url: row.get(9)?,
        stripped_state: row.get(10)?,
        room_version: row.get(11)?,
    })
}

/// A user's membership of a room.
///
/// # Errors
///
/// When the database fails.
pub async fn get(conn: &mut Conn, user_id: &str, room_id: &str) -> Result<Option<MembershipRow>> {
    let text = format!("SELECT {COLUMNS} FROM memberships WHERE user_id = $1 AND room_id = $2");
    let values = vec![user_id.into(), room_id.into()];
    let rows = crate::db::composed(text, values).map(conn, membership_row).await?;
    Ok(rows.into_iter().next())
}

/// In how many rooms a user is something.
///
/// # Errors
///
/// When the database fails.
pub async fn count(conn: &mut Conn, user_id: &str, membership: &str) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM memberships WHERE user_id = $1 AND membership = $2")
        .bind(user_id)
        .bind(membership)
        .optional(conn)
        .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// Every membership of a user, in the order in which they changed.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(conn: &mut Conn, user_id: &str) -> Result<Vec<MembershipRow>> {
    let text = format!("SELECT {COLUMNS} FROM memberships WHERE user_id = $1 ORDER BY pos");
    crate::db::composed(text, vec![user_id.into()]).map(conn, membership_row).await
}

/// The invites of a user whose events say something about a direct chat, as rooms and the events' JSON.
///
/// # Errors
///
/// When the database fails.
pub async fn invites_to_chats(conn: &mut Conn, user_id: &str) -> Result<Vec<(String, String)>> {
    sql("SELECT m.room_id, e.json FROM memberships m \
         JOIN events e ON e.event_id = m.event_id AND e.room_id = m.room_id \
         WHERE m.user_id = $1 AND m.membership = 'invite' AND e.json LIKE '%\"is_direct\"%'")
    .bind(user_id)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?)))
    .await
}

/// The invites of a user that came after `after` and up to `until`, in the order in which they did.
///
/// # Errors
///
/// When the database fails.
pub async fn invites(
    conn: &mut Conn,
    user_id: &str,
    after: i64,
    until: i64,
) -> Result<Vec<MembershipRow>> {
    let text = format!(
        "SELECT {COLUMNS} FROM memberships WHERE user_id = $1 AND membership = 'invite' \
         AND pos > $2 AND pos <= $3 ORDER BY pos"
    );
    let values = vec![user_id.into(), after.into(), until.into()];
    crate::db::composed(text, values).map(conn, membership_row).await
}

/// Whether a user is or was something in a room.
///
/// # Errors
///
/// When the database fails.
pub async fn is_known(conn: &mut Conn, user_id: &str) -> Result<bool> {
    let row = sql("SELECT 1 FROM memberships WHERE user_id = $1 LIMIT 1").bind(user_id);
    Ok(row.optional(conn).await?.is_some())
}

/// The members of a room with one of the given memberships.
///
/// # Errors
///
/// When the database fails.
pub async fn of_room(
    conn: &mut Conn,
    room_id: &str,
    memberships: &[String],
) -> Result<Vec<MembershipRow>> {
    let text = format!(
        "SELECT {COLUMNS} FROM memberships WHERE room_id = $1 AND membership = ANY($2) \
         ORDER BY user_id"
    );
    let values = vec![room_id.into(), memberships.into()];
    crate::db::composed(text, values).long().map(conn, membership_row).await
}

/// The first `limit` members of a room with one of the given memberships beside `except`, in the
/// order in which their memberships changed last.
///
/// # Errors
///
/// When the database fails.
pub async fn first_of_room(
    conn: &mut Conn,
    room_id: &str,
    memberships: &[String],
    except: &str,
    limit: i64,
) -> Result<Vec<MembershipRow>> {
    let text = format!(
        "SELECT {COLUMNS} FROM memberships WHERE room_id = $1 AND membership = ANY($2) \
         AND user_id <> $3 ORDER BY pos, user_id LIMIT $4"
    );
    let values = vec![room_id.into(), memberships.into(), except.into(), limit.into()];
    crate::db::composed(text, values).map(conn, membership_row).await
}

/// Users of this deployment that are joined to a room.
///
/// # Errors
///
/// When the database fails.
pub async fn local_joined(conn: &mut Conn, room_id: &str) -> Result<Vec<String>> {
    sql("SELECT user_id FROM memberships \
         WHERE room_id = $1 AND local = 1 AND membership = 'join' ORDER BY user_id")
    .bind(room_id)
    .map(conn, |row| row.get(0))
    .await
}

/// What the users of this deployment are in a room, and since where.
///
/// # Errors
///
/// When the database fails.
pub async fn local(conn: &mut Conn, room_id: &str) -> Result<Vec<(String, String, i64)>> {
    sql("SELECT user_id, membership, pos FROM memberships \
         WHERE room_id = $1 AND local = 1 ORDER BY user_id")
    .bind(room_id)
    .map(conn, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    .await
}

/// The rooms that a user is joined to.
///
/// # Errors
///
/// When the database fails.
pub async fn joined_rooms(conn: &mut Conn, user_id: &str) -> Result<Vec<String>> {
    sql("SELECT room_id FROM memberships WHERE user_id = $1 AND membership = 'join'")
        .bind(user_id)
        .map(conn, |row| row.get(0))
        .await
}

/// The rooms that both users are joined to.
///
/// # Errors
///
/// When the database fails.
pub async fn shared_rooms(conn: &mut Conn, user_id: &str, other_id: &str) -> Result<Vec<String>> {
    sql("SELECT a.room_id FROM memberships a JOIN memberships b ON b.room_id = a.room_id \
         WHERE a.user_id = $1 AND a.membership = 'join' \
         AND b.user_id = $2 AND b.membership = 'join'")
    .bind(user_id)
    .bind(other_id)
    .map(conn, |row| row.get(0))
    .await
}

/// The first `limit` rooms after `after`, by their IDs, that both users are joined to.
///
/// # Errors
///
/// When the database fails.
pub async fn shared_rooms_after(
    conn: &mut Conn,
    user_id: &str,
    other_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<String>> {
    sql("SELECT a.room_id FROM memberships a JOIN memberships b ON b.room_id = a.room_id \
         WHERE a.user_id = $1 AND a.membership = 'join' \
         AND b.user_id = $2 AND b.membership = 'join' AND a.room_id > $3 \
         ORDER BY a.room_id LIMIT $4")
    .bind(user_id)
    .bind(other_id)
    .bind(after)
    .bind(limit)
    .map(conn, |row| row.get(0))
    .await
}

/// How many rooms both users are joined to.
///
/// # Errors
///
/// When the database fails.
pub async fn count_shared_rooms(conn: &mut Conn, user_id: &str, other_id: &str) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM memberships a JOIN memberships b \
         ON b.room_id = a.room_id WHERE a.user_id = $1 AND a.membership = 'join' \
         AND b.user_id = $2 AND b.membership = 'join'")
    .bind(user_id)
    .bind(other_id)
    .optional(conn)
    .await?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// The users of a server that are or were anything in a room.
///
/// # Errors
///
/// When the database fails.
pub async fn of_server(conn: &mut Conn, room_id: &str, server: &str) -> Result<Vec<String>> {
    sql("SELECT user_id FROM memberships WHERE room_id = $1 \
         AND SUBSTR(user_id, LENGTH(user_id) - LENGTH($2)) = ':' || $2 ORDER BY user_id")
    .bind(room_id)
    .bind(server)
    .map(conn, |row| row.get(0))
    .await
}

/// Whether a user of a server is invited to a room.
///
/// # Errors
///
/// When the database fails.
pub async fn has_invite(conn: &mut Conn, room_id: &str, server: &str) -> Result<bool> {
    let row = sql("SELECT 1 FROM memberships WHERE room_id = $1 AND membership = 'invite' \
         AND SUBSTR(user_id, LENGTH(user_id) - LENGTH($2)) = ':' || $2 LIMIT 1")
    .bind(room_id)
    .bind(server)
    .optional(conn)
    .await?;
    Ok(row.is_some())
}

/// Those of `users` who are joined to a room that `user_id` is joined to.
///
/// # Errors
///
/// When the database fails.
pub async fn sharing(conn: &mut Conn, user_id: &str, users: &[String]) -> Result<Vec<String>> {
    // A cross join is what SQLite makes in the order of its text: the rooms of those users, and not each of them in each
    // room of the one who asks.
    sql("SELECT DISTINCT b.user_id FROM memberships b CROSS JOIN memberships a \
         WHERE b.user_id = ANY($2) AND b.membership = 'join' \
         AND a.user_id = $1 AND a.room_id = b.room_id AND a.membership = 'join'")
    .bind(user_id)
    .bind(users)
    .map(conn, |row| row.get(0))
    .await
}

/// Those of `users` who are joined to any room.
///
/// # Errors
///
/// When the database fails.
pub async fn joined_anywhere(conn: &mut Conn, users: &[String]) -> Result<Vec<String>> {
    sql("SELECT DISTINCT user_id FROM memberships \
         WHERE user_id = ANY($1) AND membership = 'join'")
    .bind(users)
    .map(conn, |row| row.get(0))
    .await
}

/// Those of `users` who are joined to any of the rooms.
///
/// # Errors
///
/// When the database fails.
pub async fn joined_of(
    conn: &mut Conn,
    room_ids: &[String],
    users: &[String],
) -> Result<Vec<String>> {
    sql("SELECT DISTINCT user_id FROM memberships \
         WHERE room_id = ANY($1) AND user_id = ANY($2) AND membership = 'join'")
    .bind(room_ids)
    .bind(users)
    .map(conn, |row| row.get(0))
    .await
}

/// The rooms of at most `members` joined members that a user is joined to.
///
/// # Errors
///
/// When the database fails.
pub async fn small_rooms(conn: &mut Conn, user_id: &str, members: i64) -> Result<Vec<String>> {
    sql("SELECT m.room_id FROM memberships m JOIN rooms r ON r.room_id = m.room_id \
         WHERE m.user_id = $1 AND m.membership = 'join' AND r.joined_members <= $2")
    .bind(user_id)
    .bind(members)
    .map(conn, |row| row.get(0))
    .await
}

/// Those of `users` who are joined to a room in which a server is.
///
/// # Errors
///
/// When the database fails.
pub async fn sharing_with(conn: &mut Conn, server: &str, users: &[String]) -> Result<Vec<String>> {
    sql("SELECT DISTINCT m.user_id FROM memberships m \
         JOIN room_servers s ON s.room_id = m.room_id AND s.server = $1 AND s.left_pos IS NULL \
         WHERE m.user_id = ANY($2) AND m.membership = 'join'")
    .bind(server)
    .bind(users)
    .map(conn, |row| row.get(0))
    .await
}

/// The servers that are in a room with a user.
///
/// # Errors
///
/// When the database fails.
pub async fn servers_sharing(conn: &mut Conn, user_id: &str) -> Result<Vec<String>> {
    sql("SELECT DISTINCT s.server FROM memberships m \
         JOIN room_servers s ON s.room_id = m.room_id AND s.left_pos IS NULL \
         WHERE m.user_id = $1 AND m.membership = 'join'")
    .bind(user_id)
    .map(conn, |row| row.get(0))
    .await
}
