//! The keys with which this server signs events and requests.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::pkcs8::ALGORITHM_OID;
use ruma::signatures::Ed25519KeyPair;
use starling_storage::{
    Change, CommitError, DbError, Storage,
    federation::{self, ServerKeyRow},
};

use crate::{clock::Clock, rng};

/// The row of `meta` in which all processes of a deployment find the version of the first key.
const FIRST_VERSION: &str = "first_signing_key_version";

/// Why the signing keys could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeysError {
    /// A stored key is unusable; the administrator has to restore the database.
    #[error("the stored signing key {key_id} is unusable: {reason}")]
    Unusable {
        /// The key's ID.
        key_id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database failed while reading.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The database failed while writing.
    #[error(transparent)]
    Commit(Box<CommitError>),
}

/// A key that signs no more; what it signed before stays valid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OldKey {
    /// `ed25519:…`.
    pub key_id: String,
    /// Unpadded base64.
    pub public_key: String,
    /// When it was replaced, in milliseconds.
    pub expired_ts: i64,
}

/// This deployment's keys.
pub struct SigningKeys {
    current: Ed25519KeyPair,
    others: Vec<Ed25519KeyPair>,
    old: Vec<OldKey>,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys")
            .field("current", &key_id(&self.current))
            .finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// The keys in the database; a deployment without any gets its first one.
    ///
    /// # Errors
    ///
    /// See [`SigningKeysError`].
    pub async fn load_or_create(
        storage: &Storage,
        clock: &dyn Clock,
    ) -> Result<Self, SigningKeysError> {
        let rows = federation::server_keys(&mut storage.read().await?).await?;
        if rows.iter().any(is_active) {
            return Self::from_rows(rows);
        }
        create(storage, clock.now_ms()).await?;
        Self::from_rows(federation::server_keys(&mut storage.read().await?).await?)
    }

    fn from_rows(rows: Vec<ServerKeyRow>) -> Result<Self, SigningKeysError> {
        let (mut active, mut old) = (Vec::new(), Vec::new());
        for row in rows {
            match (row.expired_ts, &row.secret) {
                (Some(expired_ts), _) => {
                    old.push(OldKey { key_id: row.key_id, public_key: row.public_key, expired_ts })
                }
                (None, Some(_)) => active.push(key_pair(&row)?),
                (None, None) => return Err(unusable(&row, "it has neither secret nor end")),
            }
        }
        // The newest comes first and signs.
        let mut active = active.into_iter();
        let current = active.next().ok_or_else(|| SigningKeysError::Unusable {
            key_id: "(none)".to_owned(),
            reason: "there is no active key".to_owned(),
        })?;
        Ok(Self { current, others: active.collect(), old })
    }

    /// The key that signs events and requests.
    #[must_use]
    pub fn current(&self) -> &Ed25519KeyPair {
        &self.current
    }

    /// All keys that are published as usable, the current one first.
    pub fn active(&self) -> impl Iterator<Item = &Ed25519KeyPair> {
        std::iter::once(&self.current).chain(&self.others)
    }

    /// The keys that sign no more.
    #[must_use]
    pub fn old(&self) -> &[OldKey] {
        &self.old
    }
}

/// A key's ID, `ed25519:` with its version.
#[must_use]
pub fn key_id(key: &Ed25519KeyPair) -> String {
    format!("ed25519:{}", key.version())
}

fn is_active(row: &ServerKeyRow) -> bool {
    row.expired_ts.is_none()
}

/// Writes a first key. Of several processes that start at once, one wins: all take the same
/// version, and a row with a secret is never overwritten.
async fn create(storage: &Storage, now_ms: i64) -> Result<(), SigningKeysError> {
    // A name that no other key of this server name had, also before a database was lost.
    let proposed = format!("s{:08x}", u32::from_be_bytes(rng::bytes()));
    let version = storage.meta(FIRST_VERSION, &proposed).await?;
    let mut change = Change::new();
    change.write(federation::Write::ServerKey(new_key(&version, now_ms)));
    storage.commit(change).await.map_err(|error| SigningKeysError::Commit(Box::new(error)))?;
    Ok(())
}

fn new_key(version: &str, now_ms: i64) -> ServerKeyRow {
    let seed = rng::bytes::<32>();
    let public_key = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    ServerKeyRow {
        key_id: format!("ed25519:{version}"),
        secret: Some(seed.to_vec()),
        public_key: STANDARD_NO_PAD.encode(public_key),
        created_ts: now_ms,
        expired_ts: None,
    }
}

/// Makes a new key and lets all others expire: what they signed until now stays valid. No process may
/// be running that signs with them. Gives the ID of the new key.
///
/// # Errors
///
/// See [`SigningKeysError`].
pub async fn rotate(storage: &Storage, clock: &dyn Clock) -> Result<String, SigningKeysError> {
    let rows = federation::server_keys(&mut storage.read().await?).await?;
    let now_ms = clock.now_ms();
    let mut change = Change::new();
    for row in rows.into_iter().filter(is_active) {
        let expired = ServerKeyRow { expired_ts: Some(now_ms), ..row };
        change.write(federation::Write::ServerKey(expired));
    }
    let version = format!("s{:08x}", u32::from_be_bytes(rng::bytes()));
    let key = new_key(&version, now_ms);
    let key_id = key.key_id.clone();
    change.write(federation::Write::ServerKey(key));
    storage.commit(change).await.map_err(|error| SigningKeysError::Commit(Box::new(error)))?;
    Ok(key_id)
}

fn key_pair(row: &ServerKeyRow) -> Result<Ed25519KeyPair, SigningKeysError> {
    let version = row
        .key_id
        .strip_prefix("ed25519:")
        .ok_or_else(|| unusable(row, "it is of another algorithm"))?;
    let secret = row.secret.as_deref().unwrap_or_default();
    let public_key = STANDARD_NO_PAD
        .decode(&row.public_key)
        .map_err(|_| unusable(row, "its public key is not base64"))?;
    Ed25519KeyPair::new(ALGORITHM_OID, secret, Some(&public_key), version.to_owned())
        .map_err(|error| unusable(row, error))
}

fn unusable(row: &ServerKeyRow, reason: impl ToString) -> SigningKeysError {
    SigningKeysError::Unusable { key_id: row.key_id.clone(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use starling_storage::test_support::TempDatabase;

    use super::*;
    use crate::{clock::SystemClock, keys::testing::write_key};

    fn ids(keys: &SigningKeys) -> Vec<String> {
        keys.active().map(key_id).collect()
    }

    #[tokio::test]
    async fn the_first_start_makes_a_key_and_the_next_finds_it() {
        let database = TempDatabase::sqlite().unwrap();
        let storage = database.open().await.unwrap();
        let first = SigningKeys::load_or_create(&storage, &SystemClock).await.unwrap();
        let second = SigningKeys::load_or_create(&storage, &SystemClock).await.unwrap();
        assert_eq!(first.current().public_key(), second.current().public_key());
        assert_eq!(ids(&first), ids(&second));
        assert_eq!(ids(&first).len(), 1);
        assert!(!format!("{first:?}").contains("secret"));
    }

    #[tokio::test]
    async fn processes_that_start_at_once_agree() {
        let database = TempDatabase::sqlite().unwrap();
        let storage = database.open().await.unwrap();
        let starts = (0..8).map(|_| SigningKeys::load_or_create(&storage, &SystemClock));
        let loaded = futures_util::future::join_all(starts).await;
        let keys: Vec<_> = loaded.into_iter().map(Result::unwrap).collect();
        for other in &keys {
            assert_eq!(other.current().public_key(), keys[0].current().public_key());
            assert_eq!(ids(other).len(), 1);
        }
    }

    #[tokio::test]
    async fn the_newest_active_key_signs_and_an_expired_one_is_old() {
        let database = TempDatabase::sqlite().unwrap();
        let storage = database.open().await.unwrap();
        write_key(&storage, "ed25519:a", 1, 10, None).await;
        write_key(&storage, "ed25519:b", 2, 20, None).await;
        write_key(&storage, "ed25519:c", 3, 30, Some(40)).await;
        let keys = SigningKeys::load_or_create(&storage, &SystemClock).await.unwrap();
        assert_eq!(ids(&keys), ["ed25519:b", "ed25519:a"]);
        let old: Vec<_> = keys.old().iter().map(|key| (&*key.key_id, key.expired_ts)).collect();
        assert_eq!(old, [("ed25519:c", 40)]);
    }

    #[tokio::test]
    async fn a_new_key_signs_and_what_the_old_one_signed_stays_valid() {
        let database = TempDatabase::sqlite().unwrap();
        let storage = database.open().await.unwrap();
        let first = SigningKeys::load_or_create(&storage, &SystemClock).await.unwrap();
        let new = rotate(&storage, &SystemClock).await.unwrap();
        let keys = SigningKeys::load_or_create(&storage, &SystemClock).await.unwrap();
        assert_eq!(ids(&keys), [new]);
        let old: Vec<_> = keys.old().iter().map(|key| key.key_id.clone()).collect();
        assert_eq!(old, ids(&first));
        assert!(keys.old()[0].expired_ts <= SystemClock.now_ms());
    }

    #[tokio::test]
    async fn a_key_that_does_not_fit_its_public_half_is_refused() {
        let database = TempDatabase::sqlite().unwrap();
        let storage = database.open().await.unwrap();
        let mut change = Change::new();
        change.write(federation::Write::ServerKey(ServerKeyRow {
            key_id: "ed25519:a".to_owned(),
            secret: Some(vec![1; 32]),
            public_key: STANDARD_NO_PAD.encode([2; 32]),
            created_ts: 1,
            expired_ts: None,
        }));
        storage.commit(change).await.unwrap();
        let refused = SigningKeys::load_or_create(&storage, &SystemClock).await;
        assert!(matches!(refused, Err(SigningKeysError::Unusable { .. })), "{refused:?}");
    }
}
