//! The keys by which users sign: a master key, one for their own devices, one for other users.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#cross-signing>

use std::collections::BTreeMap;

use ruma::{CanonicalJsonObject, DeviceId, UserId};
use serde_json::value::RawValue;
use starling_storage::{
    Change, CommitError, Fact,
    accounts::devices,
    backups,
    encryption::{
        self,
        cross_signing::{self, Write},
    },
};

use super::shapes::{self, ShapeError, SigningKey};
use crate::{Engine, Internal, accounts::uia::Proof};

/// The usage of a master key.
pub(crate) const MASTER: &str = "master";
/// The usage of the key that signs devices.
pub(crate) const SELF_SIGNING: &str = "self_signing";
/// The usage of the key that signs other users.
pub(crate) const USER_SIGNING: &str = "user_signing";

/// Keys that a user publishes.
#[derive(Debug, Default)]
pub struct Upload {
    /// The master key.
    pub master: Option<Box<RawValue>>,
    /// The key that signs devices.
    pub self_signing: Option<Box<RawValue>>,
    /// The key that signs other users.
    pub user_signing: Option<Box<RawValue>>,
}

/// What publishing keys needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// They are published already.
    Nothing,
    /// They are the user's first.
    NoProof,
    /// That the user proves to be the user.
    Proof,
}

/// Why keys are not published.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// They are not what the specification says.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// There is no master key, and none was there before.
    #[error("there is no master key")]
    NoMaster,
    /// The master key did not sign the others.
    #[error("the {0} key is not signed by the master key")]
    NotSigned(&'static str),
    /// A key is named as one of the user's devices.
    #[error("a key has the name of a device")]
    InUse,
    /// The proof was used by another request meanwhile.
    #[error("the session has been used")]
    UsedUp,
    /// Other keys were published meanwhile.
    #[error("other keys were published meanwhile")]
    Changed,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for SigningError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// The keys of a user by usage.
type Keys = BTreeMap<&'static str, SigningKey>;

/// What it needs to publish these keys.
///
/// # Errors
///
/// [`SigningError`]; without a proof of who asks, nothing is said about signatures.
pub async fn need(engine: &Engine, user: &UserId, upload: &Upload) -> Result<Need, SigningError> {
    let new = read(user, upload)?;
    let stored = stored(engine, user).await?;
    if !new.contains_key(MASTER) && !stored.contains_key(MASTER) {
        return Err(SigningError::NoMaster);
    }
    Ok(need_of(&new, &stored))
}

fn need_of(new: &Keys, stored: &BTreeMap<String, CanonicalJsonObject>) -> Need {
    if !stored.contains_key(MASTER) {
        return Need::NoProof;
    }
    let is_there = |(usage, key): (&&'static str, &SigningKey)| {
        stored.get(*usage).is_some_and(|stored| shapes::is_same(stored, &key.object))
    };
    if new.iter().all(is_there) { Need::Nothing } else { Need::Proof }
}

fn read(user: &UserId, upload: &Upload) -> Result<Keys, SigningError> {
    let mut keys = Keys::new();
    for (usage, key) in [
        (MASTER, &upload.master),
        (SELF_SIGNING, &upload.self_signing),
        (USER_SIGNING, &upload.user_signing),
    ] {
        if let Some(key) = key {
            keys.insert(usage, shapes::signing_key(key.get(), user, usage)?);
        }
    }
    Ok(keys)
}

pub(super) async fn stored(
    engine: &Engine,
    user: &UserId,
) -> Result<BTreeMap<String, CanonicalJsonObject>, Internal> {
    let mut conn = engine.storage.read().await?;
    let rows = cross_signing::of_users(&mut conn, &[user.to_string()]).await?;
    let mut keys = BTreeMap::new();
    for (_, usage, json) in rows {
        let key = shapes::read(&json).map_err(|error| Internal::Damaged(error.to_string()))?;
        keys.insert(usage, key);
    }
    Ok(keys)
}

/// Publishes keys. Those that a new master key did not sign go, and so does what was signed by a key
/// that is replaced.
///
/// # Errors
///
/// [`SigningError`].
pub async fn upload(
    engine: &Engine,
    user: &UserId,
    device: &DeviceId,
    upload: Upload,
    proof: Option<&Proof>,
) -> Result<(), SigningError> {
    let new = read(user, &upload)?;
    let _turn = engine.encryption.turns.of([user.as_str()]).await;
    let stored = stored(engine, user).await?;
    match (need_of(&new, &stored), proof) {
        (Need::Nothing, None) => return Ok(()),
        (Need::Proof, None) => return Err(SigningError::Changed),
        _ => {}
    }
    check_signatures(user, &new, stored.get(MASTER))?;
    check_names(engine, user, &new).await?;
    let mut change = Change::new();
    if let Some(proof) = proof {
        proof.claim(engine, &mut change);
    }
    replace(&mut change, user, device, &new, &stored);
    match engine.storage.commit(change).await {
        Ok(_) => Ok(()),
        Err(CommitError::UsedUp) => Err(SigningError::UsedUp),
        Err(error) => Err(Internal::from(error).into()),
    }
}

fn check_signatures(
    user: &UserId,
    new: &Keys,
    stored: Option<&CanonicalJsonObject>,
) -> Result<(), SigningError> {
    let master = match (new.get(MASTER), stored) {
        (Some(master), _) => master.clone(),
        (None, Some(stored)) => shapes::signing_key(&shapes::text(stored), user, MASTER)?,
        (None, None) => return Err(SigningError::NoMaster),
    };
    let name = format!("ed25519:{}", master.public);
    for (usage, key) in new.iter().filter(|(usage, _)| **usage != MASTER) {
        let mut signatures = shapes::signatures_of(&key.object, user.as_str());
        let is_right = |(signed_by, signature): (&str, &str)| {
            signed_by == name && shapes::is_signed(&key.object, &master.bytes, signature)
        };
        if !signatures.any(is_right) {
            return Err(SigningError::NotSigned(usage));
        }
    }
    Ok(())
}

async fn check_names(engine: &Engine, user: &UserId, new: &Keys) -> Result<(), SigningError> {
    let mut conn = engine.storage.read().await?;
    for key in new.values() {
        if devices::get(&mut conn, user.as_str(), &key.public).await?.is_some() {
            return Err(SigningError::InUse);
        }
    }
    Ok(())
}

fn replace(
    change: &mut Change,
    user: &UserId,
    device: &DeviceId,
    new: &Keys,
    stored: &BTreeMap<String, CanonicalJsonObject>,
) {
    let user_id = || user.to_string();
    let mut write = |write: Write| change.write(encryption::Write::CrossSigning(write));
    let is_new = |usage: &str| {
        new.get(usage).is_some_and(|key| {
            !stored.get(usage).is_some_and(|stored| shapes::is_same(stored, &key.object))
        })
    };
    for (usage, key) in new {
        if is_new(usage) {
            write(Write::Put { user_id: user_id(), usage, json: shapes::text(&key.object) });
        }
    }
    if is_new(MASTER) {
        for usage in [SELF_SIGNING, USER_SIGNING] {
            if !new.contains_key(usage) && stored.contains_key(usage) {
                write(Write::Remove { user_id: user_id(), usage });
            }
        }
    }
    if is_new(USER_SIGNING) || is_new(MASTER) {
        write(Write::ForgetSigned { signer: user_id() });
    }
    write(Write::Touch { user_id: user_id(), device_id: device.to_string() });
    change.fact(Fact::Devices { user_id: user_id() });
}

/// Adds to a change that all keys of a user go, what the user signed, and all backups.
pub(crate) fn forget(change: &mut Change, user: &UserId) {
    let write = Write::ForgetAll { user_id: user.to_string() };
    change.write(encryption::Write::CrossSigning(write));
    change.write(backups::Write::RemoveAll { user_id: user.to_string() });
}
