//! Content that nobody is given.

use crate::db::{Conn, Result, sql};

/// What is held back, or is not any more.
#[derive(Clone, Debug)]
pub enum Write {
    /// Holds content back, unless it is protected under one of its names.
    Hold {
        /// SHA-256 in hexadecimal.
        hash: String,
        /// Who says so.
        by: String,
        /// When.
        ts: i64,
    },
    /// Gives it out again.
    Release {
        /// SHA-256 in hexadecimal.
        hash: String,
    },
    /// Says whether media is not to be held back from now on.
    Protect {
        /// The server.
        origin: String,
        /// The id.
        media_id: String,
        /// Whether it is so.
        protected: bool,
    },
}

pub(super) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    let statement = match write {
        Write::Hold { hash, by, ts } => {
            sql("INSERT INTO media_quarantine (hash, quarantined_by, quarantined_ts) \
                 SELECT $1, $2, $3 WHERE NOT EXISTS \
                 (SELECT 1 FROM media WHERE hash = $1 AND protected = 1) ON CONFLICT DO NOTHING")
            .bind(hash)
            .bind(by)
            .bind(ts)
        }
        Write::Release { hash } => sql("DELETE FROM media_quarantine WHERE hash = $1").bind(hash),
        Write::Protect { origin, media_id, protected } => {
            sql("UPDATE media SET protected = $3 WHERE origin = $1 AND media_id = $2")
                .bind(origin)
                .bind(media_id)
                .bind(protected)
        }
    };
    statement.execute(conn).await?;
    Ok(())
}
