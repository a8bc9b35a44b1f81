//! Epochs: when the positions of the deployment went back, as after a restore.

use crate::db::{Conn, Result, sql};

/// A stretch of time in which positions only grew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochRow {
    /// Its number; the first epoch, 0, has no row.
    pub epoch: i64,
    /// The position at which it began: what earlier epochs knew beyond it may be something else now.
    pub start_pos: i64,
}

/// The epochs after the first, in order.
///
/// # Errors
///
/// When the database fails.
pub async fn all(conn: &mut Conn) -> Result<Vec<EpochRow>> {
    sql("SELECT epoch, start_pos FROM epochs ORDER BY epoch")
        .map(conn, |row| Ok(EpochRow { epoch: row.get(0)?, start_pos: row.get(1)? }))
        .await
}
