//! The rooms in which the server speaks to its users.

use crate::db::{Conn, Result, sql};

/// A room is the one in which the server speaks to a user.
#[derive(Clone, Debug)]
pub struct NoticeRoom {
    /// The user.
    pub user_id: String,
    /// The room.
    pub room_id: String,
}

pub(crate) async fn apply(conn: &mut Conn, row: NoticeRoom) -> Result<()> {
    sql("INSERT INTO notice_rooms (user_id, room_id) VALUES ($1, $2) \
         ON CONFLICT (user_id) DO UPDATE SET room_id = excluded.room_id")
    .bind(row.user_id)
    .bind(row.room_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// The room in which the server speaks to a user.
///
/// # Errors
///
/// When the database fails.
pub async fn room_of(conn: &mut Conn, user_id: &str) -> Result<Option<String>> {
    let row = sql("SELECT room_id FROM notice_rooms WHERE user_id = $1").bind(user_id);
    row.optional(conn).await?.map(|row| row.get(0)).transpose()
}
