//! The keys by which users sign their devices and each other, and what they signed.

use super::outbox;
use crate::db::{Conn, Result, sql};

/// A signature of a user of this deployment on another user's key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureRow {
    /// Who signed.
    pub signer: String,
    /// Whose key was signed.
    pub user_id: String,
    /// The key that was signed: its public key.
    pub key_id: String,
    /// By which key: `ed25519:…`.
    pub signing_key_id: String,
    /// The signature.
    pub signature: String,
}

/// Rows of these tables.
#[derive(Clone, Debug)]
pub enum Write {
    /// Sets a key of a user of this deployment, of which other servers are told.
    Put {
        /// The user.
        user_id: String,
        /// `master`, `self_signing` or `user_signing`.
        usage: &'static str,
        /// The key with its signatures.
        json: String,
    },
    /// Removes a key of a user of this deployment.
    Remove {
        /// The user.
        user_id: String,
        /// `self_signing` or `user_signing`.
        usage: &'static str,
    },
    /// Other servers are to take note that something about the device changed.
    Touch {
        /// The user.
        user_id: String,
        /// The device.
        device_id: String,
    },
    /// Removes what a user has signed of others: the key that signed is no more.
    ForgetSigned {
        /// The user.
        signer: String,
    },
    /// Removes all of a user.
    ForgetAll {
        /// The user.
        user_id: String,
    },
}

pub(super) async fn apply(conn: &mut Conn, write: Write) -> Result<()> {
    match write {
        Write::Put { user_id, usage, json } => {
            put(conn, &user_id, usage, json).await?;
            return outbox::note(conn, &user_id, outbox::SIGNING_KEYS).await;
        }
        Write::Remove { user_id, usage } => {
            sql("DELETE FROM cross_signing_keys WHERE user_id = $1 AND usage = $2")
                .bind(user_id)
                .bind(usage)
        }
        Write::Touch { user_id, device_id } => {
            return outbox::note(conn, &user_id, &device_id).await;
        }
        Write::ForgetSigned { signer } => {
            sql("DELETE FROM user_signatures WHERE signer = $1").bind(signer)
        }
        Write::ForgetAll { user_id } => {
            sql("DELETE FROM user_signatures WHERE signer = $1")
                .bind(&user_id)
                .execute(conn)
                .await?;
            sql("DELETE FROM cross_signing_keys WHERE user_id = $1").bind(user_id)
        }
    }
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds a signature of a user of this deployment, made at a position.
pub(super) async fn sign(conn: &mut Conn, s: SignatureRow, pos: i64) -> Result<()> {
    sql("INSERT INTO user_signatures \
         (signer, user_id, key_id, signing_key_id, signature, pos) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (signer, user_id, key_id, signing_key_id) DO UPDATE SET \
         signature = excluded.signature, pos = excluded.pos")
    .bind(s.signer)
    .bind(s.user_id)
    .bind(s.key_id)
    .bind(s.signing_key_id)
    .bind(s.signature)
    .bind(pos)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn put(conn: &mut Conn, user_id: &str, usage: &str, json: String) -> Result<()> {
    sql("INSERT INTO cross_signing_keys (user_id, usage, json) VALUES ($1, $2, $3) \
         ON CONFLICT (user_id, usage) DO UPDATE SET json = excluded.json")
    .bind(user_id)
    .bind(usage)
    .bind(json)
    .execute(conn)
    .await?;
    Ok(())
}

/// The keys of users as `(user, usage, key)`.
///
/// # Errors
///
/// When the database fails.
pub async fn of_users(conn: &mut Conn, users: &[String]) -> Result<Vec<(String, String, String)>> {
    sql("SELECT user_id, usage, json FROM cross_signing_keys WHERE user_id = ANY($1)")
        .bind(users)
        .map(conn, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .await
}

/// What a user has signed of some users.
///
/// # Errors
///
/// When the database fails.
pub async fn signed_by(
    conn: &mut Conn,
    signer: &str,
    users: &[String],
) -> Result<Vec<SignatureRow>> {
    sql("SELECT signer, user_id, key_id, signing_key_id, signature FROM user_signatures \
         WHERE signer = $1 AND user_id = ANY($2)")
    .bind(signer)
    .bind(users)
    .map(conn, |row| {
        Ok(SignatureRow {
            signer: row.get(0)?,
            user_id: row.get(1)?,
            key_id: row.get(2)?,
            signing_key_id: row.get(3)?,
            signature: row.get(4)?,
        })
    })
    .await
}

/// Whose keys a user has signed after a position.
///
/// # Errors
///
/// When the database fails.
pub async fn signed_after(conn: &mut Conn, signer: &str, after: i64) -> Result<Vec<String>> {
    sql("SELECT DISTINCT user_id FROM user_signatures WHERE signer = $1 AND pos > $2")
        .bind(signer)
        .bind(after)
        .map(conn, |row| row.get(0))
        .await
}

/// How many signatures of others' keys a user has made.
///
/// # Errors
///
/// When the database fails.
pub async fn count_signed_by(conn: &mut Conn, signer: &str) -> Result<i64> {
    let row = sql("SELECT COUNT(*) FROM user_signatures WHERE signer = $1").bind(signer);
    row.optional(conn).await?.map_or(Ok(0), |row| row.get(0))
}
