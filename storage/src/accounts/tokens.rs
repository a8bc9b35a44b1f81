//! Access tokens and refresh tokens, by their SHA-256.

use super::rate_limits::{self, RateLimitRow};
use crate::db::{Conn, Result, sql};

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenRow {
    /// SHA-256 of the token.
    pub token_hash: Vec<u8>,
    /// The user.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// When it was made.
    pub created_ts: i64,
    /// From when on it is not valid.
    pub expires_ts: Option<i64>,
    /// The refresh token that made it and that dies with its first use.
    pub refreshed_from: Option<Vec<u8>>,
}

/// A refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshTokenRow {
    /// SHA-256 of the token.
    pub token_hash: Vec<u8>,
    /// The user.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// When it was made.
    pub created_ts: i64,
}

/// A refresh token gets a successor. One that it had, and that was never used, is void with the
/// access token that was made with it.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The hash of the token that was presented.
    pub token_hash: Vec<u8>,
    /// The hash of the one that replaces it.
    pub successor: Vec<u8>,
}

/// Rows of these tables.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds an access token.
    Access(AccessTokenRow),
    /// Adds a refresh token.
    Refresh(RefreshTokenRow),
    /// Removes the tokens of a device.
    RemoveOfDevice {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
    },
    /// An access token that came from a refresh is used for the first time: the refresh token dies
    /// and the device's earlier access tokens go. Dead tokens older than `forget_before` go too.
    FirstUse {
        /// The access token.
        token_hash: Vec<u8>,
        /// The refresh token that made it.
        refreshed_from: Vec<u8>,
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
        /// A time.
        forget_before: i64,
    },
}

pub(crate) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    match write {
        Write::Access(t) => {
            sql("INSERT INTO access_tokens (token_hash, user_id, device_id, created_ts, \
                 expires_ts, refreshed_from) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(t.token_hash)
            .bind(t.user_id)
            .bind(t.device_id)
            .bind(t.created_ts)
            .bind(t.expires_ts)
            .bind(t.refreshed_from)
            .execute(conn)
            .await?;
        }
        Write::Refresh(t) => {
            sql("INSERT INTO refresh_tokens (token_hash, user_id, device_id, created_ts, \
                 successor, dead) VALUES ($1, $2, $3, $4, NULL, 0)")
            .bind(t.token_hash)
            .bind(t.user_id)
            .bind(t.device_id)
            .bind(t.created_ts)
            .execute(conn)
            .await?;
        }
        Write::RemoveOfDevice { user_id, device_id } => {
            remove_of_device(conn, &user_id, &device_id).await?;
        }
        Write::FirstUse { token_hash, refreshed_from, user_id, device_id, forget_before } => {
            kill(conn, refreshed_from, &user_id, &device_id, forget_before).await?;
            keep_only(conn, token_hash, user_id, device_id).await?;
        }
    }
    Ok(())
}

pub(crate) async fn remove_of_device(
    conn: &mut Conn,
    user_id: &str,
    device_id: &str,
) -> Result<()> {
    sql("DELETE FROM access_tokens WHERE user_id = $1 AND device_id = $2")
        .bind(user_id)
        .bind(device_id)
        .execute(conn)
        .await?;
    sql("DELETE FROM refresh_tokens WHERE user_id = $1 AND device_id = $2")
        .bind(user_id)
        .bind(device_id)
        .execute(conn)
        .await?;
    Ok(())
}

async fn kill(
    conn: &mut Conn,
    token_hash: Vec<u8>,
    user_id: &str,
    device_id: &str,
    forget_before: i64,
) -> Result<()> {
    sql("UPDATE refresh_tokens SET dead = 1 WHERE token_hash = $1")
        .bind(token_hash)
        .execute(conn)
        .await?;
    sql("DELETE FROM refresh_tokens \
         WHERE user_id = $1 AND device_id = $2 AND dead = 1 AND created_ts < $3")
    .bind(user_id)
    .bind(device_id)
    .bind(forget_before)
    .execute(conn)
    .await?;
    Ok(())
}

async fn keep_only(
    conn: &mut Conn,
    token_hash: Vec<u8>,
    user_id: String,
    device_id: String,
) -> Result<()> {
    sql("DELETE FROM access_tokens \
         WHERE user_id = $1 AND device_id = $2 AND token_hash <> $3")
    .bind(user_id)
    .bind(device_id)
    .bind(token_hash.clone())
    .execute(conn)
    .await?;
    sql("UPDATE access_tokens SET refreshed_from = NULL WHERE token_hash = $1")
        .bind(token_hash)
        .execute(conn)
        .await?;
    Ok(())
}

/// Gives a refresh token its successor, removes an earlier one with its access token, and kills
/// the token that came before; `false` when the token is gone or dead.
pub(crate) async fn claim_rotation(conn: &mut Conn, rotation: &Rotation) -> Result<bool> {
    let hash = &rotation.token_hash;
    sql("DELETE FROM refresh_tokens WHERE token_hash = \
         (SELECT r.successor FROM refresh_tokens r WHERE r.token_hash = $1 AND r.dead = 0)")
    .bind(hash.clone())
    .execute(conn)
    .await?;
    sql(REMOVE_REFRESHED).bind(hash.clone()).execute(conn).await?;
    let changed =
        sql("UPDATE refresh_tokens SET successor = $2 WHERE token_hash = $1 AND dead = 0")
            .bind(hash.clone())
            .bind(rotation.successor.clone())
            .execute(conn)
            .await?;
    sql(KILL_PREDECESSOR).bind(hash.clone()).execute(conn).await?;
    Ok(changed == 1)
}

/// Removes the access token that a refresh token was exchanged for.
const REMOVE_REFRESHED: &str = "DELETE FROM access_tokens WHERE refreshed_from = $1 AND EXISTS \
     (SELECT 1 FROM refresh_tokens r WHERE r.token_hash = $1 AND r.dead = 0 \
      AND r.user_id = access_tokens.user_id AND r.device_id = access_tokens.device_id)";

/// Kills the refresh token whose successor is this one.
const KILL_PREDECESSOR: &str = "UPDATE refresh_tokens SET dead = 1 WHERE successor = $1";

/// An access token with what its account allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The user.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// From when on the token is not valid.
    pub expires_ts: Option<i64>,
    /// The refresh token that dies with the first use of this one.
    pub refreshed_from: Option<Vec<u8>>,
    /// See [`super::flags`].
    pub flags: i16,
    /// When the account was deactivated.
    pub deactivated_ts: Option<i64>,
    /// How often the user may do something, if that is not as for everybody.
    pub rate_limit: Option<RateLimitRow>,
}

/// The session of an access token.
///
/// # Errors
///
/// When the database fails.
pub async fn session(conn: &mut Conn, token_hash: &[u8]) -> Result<Option<SessionRow>> {
    let row = sql("SELECT t.user_id, t.device_id, t.expires_ts, t.refreshed_from, u.flags, \
         u.deactivated_ts, r.per_second, r.burst \
         FROM access_tokens t JOIN users u ON u.user_id = t.user_id \
         LEFT JOIN rate_limits r ON r.user_id = t.user_id WHERE t.token_hash = $1")
    .bind(token_hash)
    .optional(conn)
    .await?;
    row.map(|row| {
        Ok(SessionRow {
            user_id: row.get(0)?,
            device_id: row.get(1)?,
            expires_ts: row.get(2)?,
            refreshed_from: row.get(3)?,
            flags: row.get(4)?,
            deactivated_ts: row.get(5)?,
            rate_limit: match (row.get(6)?, row.get(7)?) {
                (Some(per_second), Some(burst)) => Some(rate_limits::of(per_second, burst)),
                _ => None,
            },
        })
    })
    .transpose()
}

/// A refresh token and whether it is dead.
///
/// # Errors
///
/// When the database fails.
pub async fn refresh_token(
    conn: &mut Conn,
    token_hash: &[u8],
) -> Result<Option<(RefreshTokenRow, bool)>> {
    let row = sql("SELECT token_hash, user_id, device_id, created_ts, dead \
         FROM refresh_tokens WHERE token_hash = $1")
    .bind(token_hash)
    .optional(conn)
    .await?;
    row.map(|row| {
        let token = RefreshTokenRow {
            token_hash: row.get(0)?,
            user_id: row.get(1)?,
            device_id: row.get(2)?,
            created_ts: row.get(3)?,
        };
        Ok((token, row.get(4)?))
    })
    .transpose()
}

#[cfg(all(test, feature = "test-support"))]
mod tests {
    use super::*;
    use crate::test_support::plan;

    #[tokio::test]
    async fn not_all_tokens_are_looked_through() {
        for text in [REMOVE_REFRESHED, KILL_PREDECESSOR] {
            let plan = plan(text, vec![]).await.unwrap();
            assert!(plan.iter().all(|step| !step.contains("SCAN")), "{plan:?}");
        }
    }
}
