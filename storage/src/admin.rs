//! What administrators look at and do: lists of users, rooms, files and servers; rooms that are blocked;
//! work in the background; what is purged.

use crate::db::{Conn, Result, sql};

pub mod blocked;
pub mod destinations;
pub mod media;
pub mod notices;
pub mod purge;
pub mod reports;
pub mod rooms;
pub mod tasks;
pub mod tokens;
pub mod users;

/// Rows that administrators change.
#[derive(Clone, Debug)]
pub enum Write {
    /// A user who was deactivated is not any more.
    Reactivate {
        /// The user.
        user_id: String,
    },
    /// Changes how often and until when a registration token serves.
    RegistrationToken {
        /// The token.
        token: String,
        /// How many accounts it is for; `None`: any number.
        uses_allowed: Option<i64>,
        /// From when on it is not valid.
        expires_ts: Option<i64>,
    },
    /// Removes a registration token.
    RemoveRegistrationToken {
        /// The token.
        token: String,
    },
    /// Removes a report.
    RemoveReport {
        /// Its name.
        report_id: String,
    },
    /// Blocks a room, or not.
    Block(blocked::Block),
    /// Work in the background.
    Task(tasks::Write),
    /// Where the server speaks to a user.
    NoticeRoom(notices::NoticeRoom),
    /// What goes for good.
    Purge(purge::Write),
}

/// Writes the rows of a batch in their order.
pub(crate) async fn apply(conn: &mut Conn, rows: Vec<Write>) -> Result<()> {
    for row in rows {
        apply_one(conn, row).await?;
    }
    Ok(())
}

async fn apply_one(conn: &mut Conn, row: Write) -> Result<()> {
    let statement = match row {
        Write::Reactivate { user_id } => {
            sql("UPDATE users SET deactivated_ts = NULL WHERE user_id = $1").bind(user_id)
        }
        Write::RegistrationToken { token, uses_allowed, expires_ts } => {
            sql("UPDATE registration_tokens SET uses_allowed = $2, expires_ts = $3 \
                 WHERE token = $1")
            .bind(token)
            .bind(uses_allowed)
            .bind(expires_ts)
        }
        Write::RemoveRegistrationToken { token } => {
            sql("DELETE FROM registration_tokens WHERE token = $1").bind(token)
        }
        Write::RemoveReport { report_id } => {
            sql("DELETE FROM reports WHERE report_id = $1").bind(report_id)
        }
        Write::Block(block) => return blocked::apply(conn, block).await,
        Write::NoticeRoom(row) => return notices::apply(conn, row).await,
        Write::Task(write) => return tasks::apply(conn, write).await,
        Write::Purge(write) => return purge::apply(conn, write).await,
    };
    statement.execute(conn).await?;
    Ok(())
}
