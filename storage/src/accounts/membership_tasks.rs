//! Users whose memberships must follow a change of their account. A row stays until that is done.

use crate::db::{Conn, Result, sql};

/// What a user's memberships are to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipTaskRow {
    /// The user.
    pub user_id: String,
    /// Whether the user leaves every room; otherwise every room shows their profile.
    pub leaving: bool,
    /// Different for each task: a user may have got another while one was worked on.
    pub number: String,
}

/// Rows of this table.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds the task of a user, in place of an earlier one; who leaves goes on leaving.
    Put(MembershipTaskRow),
    /// Removes a task that is done, unless the user has got another.
    Done(MembershipTaskRow),
}

pub(crate) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    let statement = match write {
        Write::Put(row) => sql("INSERT INTO membership_tasks (user_id, leaving, number) \
             VALUES ($1, $2, $3) ON CONFLICT (user_id) DO UPDATE SET number = excluded.number, \
             leaving = CASE WHEN membership_tasks.leaving = 1 THEN 1 ELSE excluded.leaving END")
        .bind(row.user_id)
        .bind(row.leaving)
        .bind(row.number),
        Write::Done(row) => sql("DELETE FROM membership_tasks WHERE user_id = $1 AND number = $2")
            .bind(row.user_id)
            .bind(row.number),
    };
    statement.execute(conn).await?;
    Ok(())
}

/// At most `limit` tasks of users after `after`, by user.
///
/// # Errors
///
/// When the database fails.
pub async fn after(conn: &mut Conn, after: &str, limit: i64) -> Result<Vec<MembershipTaskRow>> {
    sql("SELECT user_id, leaving, number FROM membership_tasks \
         WHERE user_id > $1 ORDER BY user_id LIMIT $2")
    .bind(after)
    .bind(limit)
    .map(conn, |row| {
        Ok(MembershipTaskRow { user_id: row.get(0)?, leaving: row.get(1)?, number: row.get(2)? })
    })
    .await
}
