//! Third-party identifiers of users.

use crate::{
    db::{Conn, Result, Row, sql},
    pushers,
};

/// A third-party identifier of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreepidRow {
    /// `email`.
    pub medium: String,
    /// The address, in its canonical form.
    pub address: String,
    /// Whose.
    pub user_id: String,
    /// When the user showed that it is theirs.
    pub validated_ts: i64,
    /// When it was added to the account.
    pub added_ts: i64,
}

/// Rows of this table.
#[derive(Clone, Debug)]
pub enum Write {
    /// Removes an identifier of a user.
    Remove {
        /// `email`.
        medium: String,
        /// The address.
        address: String,
        /// Whose.
        user_id: String,
    },
    /// Removes all identifiers of a user.
    RemoveAll {
        /// Whose.
        user_id: String,
    },
}

pub(crate) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    let statement = match write {
        Write::Remove { medium, address, user_id } => {
            pushers::forget_address(conn, &user_id, Some(&address)).await?;
            sql("DELETE FROM threepids WHERE medium = $1 AND address = $2 AND user_id = $3")
                .bind(medium)
                .bind(address)
                .bind(user_id)
        }
        Write::RemoveAll { user_id } => {
            pushers::forget_address(conn, &user_id, None).await?;
            sql("DELETE FROM threepids WHERE user_id = $1").bind(user_id)
        }
    };
    statement.execute(conn).await?;
    Ok(())
}

/// Writes an identifier; `false` when somebody else has it.
pub(crate) async fn claim(conn: &mut Conn, row: &ThreepidRow) -> Result<bool> {
    let changed = sql("INSERT INTO threepids (medium, address, user_id, validated_ts, added_ts) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (medium, address) \
             DO UPDATE SET validated_ts = excluded.validated_ts \
             WHERE threepids.user_id = excluded.user_id")
    .bind(&row.medium)
    .bind(&row.address)
    .bind(&row.user_id)
    .bind(row.validated_ts)
    .bind(row.added_ts)
    .execute(conn)
    .await?;
    Ok(changed == 1)
}

/// Whose an identifier is.
///
/// # Errors
///
/// When the database fails.
pub async fn owner(conn: &mut Conn, medium: &str, address: &str) -> Result<Option<String>> {
    let row = sql("SELECT user_id FROM threepids WHERE medium = $1 AND address = $2")
        .bind(medium)
        .bind(address)
        .optional(conn)
        .await?;
    row.map(|row| row.get(0)).transpose()
}

fn from_row(row: &Row) -> Result<ThreepidRow> {
    Ok(ThreepidRow {
        medium: row.get(0)?,
        address: row.get(1)?,
        user_id: row.get(2)?,
        validated_ts: row.get(3)?,
        added_ts: row.get(4)?,
    })
}

/// The identifiers of a user.
///
/// # Errors
///
/// When the database fails.
pub async fn of_user(conn: &mut Conn, user_id: &str) -> Result<Vec<ThreepidRow>> {
    sql("SELECT medium, address, user_id, validated_ts, added_ts FROM threepids \
         WHERE user_id = $1 ORDER BY medium, address")
    .bind(user_id)
    .map(conn, from_row)
    .await
}
