//! Signing keys with keys: one's own devices, one's master key by a device, other users.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload>

use std::collections::BTreeMap;

use ruma::{CanonicalJsonObject, DeviceId, UserId};
use serde_json::value::RawValue;
use starling_storage::{
    At, Change, Fact,
    encryption::{
        self,
        cross_signing::{self, SignatureRow, Write},
        device_keys, lists,
    },
};

use super::{
    query,
    shapes::{self, SigningKey},
    signing::{self, MASTER, SELF_SIGNING, USER_SIGNING},
};
use crate::{Engine, Internal, keys::document::public_key};

/// How many keys one request may sign.
const MOST_SIGNED: usize = 500;
/// How many keys of others a user may have signed.
const MOST_SIGNATURES: i64 = 20_000;

/// By user and key: the key with its new signatures.
pub type Signed = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

/// By user and key: why it was not signed.
pub type Failures = BTreeMap<String, BTreeMap<String, Failure>>;

/// Why a signature is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no such key.
    #[error("there is no such key")]
    NotFound,
    /// What was signed is no key.
    #[error("{0}")]
    Malformed(String),
    /// What was signed is not the key that was published.
    #[error("this is not the key that was published")]
    Mismatch,
    /// There is no right signature by a key that may sign this.
    #[error("there is no valid signature by a key of yours that may sign this")]
    NotSigned,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// There is too much.
    #[error("there are too many signatures")]
    TooMany,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for SignError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// Adds signatures of a user, each by itself; gives back those that were not taken.
///
/// # Errors
///
/// [`SignError`].
pub async fn upload(
    engine: &Engine,
    user: &UserId,
    device: &DeviceId,
    mut signed: Signed,
) -> Result<Failures, SignError> {
    if signed.values().map(BTreeMap::len).sum::<usize>() > MOST_SIGNED {
        return Err(SignError::TooMany);
    }
    let own = signed.remove(user.as_str()).unwrap_or_default();
    let mut failures = Failures::new();
    let mut note = |user: &str, key: String, failure: Failure| {
        failures.entry(user.to_owned()).or_default().insert(key, failure);
    };
    // Other servers may have to be asked, which holds nobody up.
    let others = masters_of(engine, user, signed.keys()).await?;
    let _turn = engine.encryption.turns.of([user.as_str()]).await;
    let keys = Keys::read(engine, user).await?;
    let mut change = Change::new();
    for (key_id, json) in own {
        let outcome = sign_own(engine, &mut change, &keys, device, &key_id, &json).await?;
        if let Err(failure) = outcome {
            note(user.as_str(), key_id, failure);
        }
    }
    let mut at = None;
    for (target, objects) in signed {
        for (key_id, json) in objects {
            match keys.signature_of_other(others.get(&target), &target, &key_id, &json) {
                Ok(row) => sign_other(&mut change, &mut at, row),
                Err(failure) => note(&target, key_id, failure),
            }
        }
    }
    check_room(engine, user, &at).await?;
    if !change.is_empty() {
        engine.storage.commit(change).await.map_err(Internal::from)?;
    }
    Ok(failures)
}

fn sign_other(change: &mut Change, at: &mut Option<At>, row: SignatureRow) {
    let user_id = row.signer.clone();
    let at = *at.get_or_insert_with(|| change.fact(Fact::Signed { user_id }));
    change.write(encryption::Write::Lists(lists::Write::Signed { row, at }));
}

async fn check_room(engine: &Engine, user: &UserId, at: &Option<At>) -> Result<(), SignError> {
    if at.is_none() {
        return Ok(());
    }
    let mut conn = engine.storage.read().await?;
    match cross_signing::count_signed_by(&mut conn, user.as_str()).await? < MOST_SIGNATURES {
        true => Ok(()),
        false => Err(SignError::TooMany),
    }
}

/// The master keys of other users, as far as they can be had.
async fn masters_of<'a>(
    engine: &Engine,
    user: &UserId,
    users: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<String, CanonicalJsonObject>, Internal> {
    let ids = users.filter_map(|id| Some((id.as_str().try_into().ok()?, Vec::new())));
    let found = query::query(engine, user, ids.collect(), None).await?;
    let read = |(user, key): (String, serde_json::Value)| {
        Some((user, shapes::read(&key.to_string()).ok()?))
    };
    Ok(found.keys.master_keys.into_iter().filter_map(read).collect())
}

/// The keys by which a user signs.
struct Keys<'a> {
    user: &'a UserId,
    master: Option<SigningKey>,
    self_signing: Option<SigningKey>,
    user_signing: Option<SigningKey>,
}

impl<'a> Keys<'a> {
    async fn read(engine: &Engine, user: &'a UserId) -> Result<Self, Internal> {
        let stored = signing::stored(engine, user).await?;
        let key =
            |usage: &str| shapes::signing_key(&shapes::text(stored.get(usage)?), user, usage).ok();
        let (self_signing, user_signing) = (key(SELF_SIGNING), key(USER_SIGNING));
        Ok(Self { user, master: key(MASTER), self_signing, user_signing })
    }

    /// The signature of the user's by a key in an object, with the key's name, if it is right.
    fn signature_by(
        &self,
        key: Option<&SigningKey>,
        object: &CanonicalJsonObject,
    ) -> Result<(String, String), Failure> {
        let key = key.ok_or(Failure::NotSigned)?;
        let name = format!("ed25519:{}", key.public);
        let mut signatures = shapes::signatures_of(object, self.user.as_str());
        let found = signatures.find(|(signed_by, signature)| {
            *signed_by == name && shapes::is_signed(object, &key.bytes, signature)
        });
        found.map(|(_, signature)| (name, signature.to_owned())).ok_or(Failure::NotSigned)
    }

    fn signature_of_other(
        &self,
        master: Option<&CanonicalJsonObject>,
        target: &str,
        key_id: &str,
        json: &RawValue,
    ) -> Result<SignatureRow, Failure> {
        let object = read(json)?;
        let master = master.ok_or(Failure::NotFound)?;
        let name = format!("ed25519:{key_id}");
        let keys = master.get("keys").and_then(|keys| keys.as_object());
        if !keys.is_some_and(|keys| keys.contains_key(&name)) {
            return Err(Failure::NotFound);
        }
        if !shapes::is_same(master, &object) {
            return Err(Failure::Mismatch);
        }
        let (signing_key_id, signature) = self.signature_by(self.user_signing.as_ref(), &object)?;
        Ok(SignatureRow {
            signer: self.user.to_string(),
            user_id: target.to_owned(),
            key_id: key_id.to_owned(),
            signing_key_id,
            signature,
        })
    }
}

fn read(json: &RawValue) -> Result<CanonicalJsonObject, Failure> {
    shapes::read(json.get()).map_err(|error| Failure::Malformed(error.to_string()))
}

/// Signs a device of the user's by the key for that, or the user's master key by a device.
async fn sign_own(
    engine: &Engine,
    change: &mut Change,
    keys: &Keys<'_>,
    device: &DeviceId,
    key_id: &str,
    json: &RawValue,
) -> Result<Result<(), Failure>, Internal> {
    let object = match read(json) {
        Ok(object) => object,
        Err(failure) => return Ok(Err(failure)),
    };
    let user = keys.user;
    if let Some(master) = keys.master.as_ref().filter(|master| master.public == key_id) {
        return sign_master(engine, change, user, device, master, &object).await;
    }
    let mut conn = engine.storage.read().await?;
    let row = device_keys::get(&mut conn, user.as_str(), key_id).await?;
    drop(conn);
    let stored = row.and_then(|row| row.json).and_then(|json| shapes::read(&json).ok());
    let Some(mut stored) = stored else { return Ok(Err(Failure::NotFound)) };
    if !shapes::is_same(&stored, &object) {
        return Ok(Err(Failure::Mismatch));
    }
    let (name, signature) = match keys.signature_by(keys.self_signing.as_ref(), &object) {
        Ok(signed) => signed,
        Err(failure) => return Ok(Err(failure)),
    };
    shapes::add_signature(&mut stored, user.as_str(), &name, &signature);
    let (user_id, device_id) = (user.to_string(), key_id.to_owned());
    change.write(encryption::Write::DeviceKeys { user_id, device_id, json: shapes::text(&stored) });
    change.fact(Fact::Devices { user_id: user.to_string() });
    Ok(Ok(()))
}

async fn sign_master(
    engine: &Engine,
    change: &mut Change,
    user: &UserId,
    device: &DeviceId,
    master: &SigningKey,
    object: &CanonicalJsonObject,
) -> Result<Result<(), Failure>, Internal> {
    if !shapes::is_same(&master.object, object) {
        return Ok(Err(Failure::Mismatch));
    }
    let mut signed = master.object.clone();
    for (name, signature) in shapes::signatures_of(object, user.as_str()) {
        if let Some(key) = device_key(engine, user, name).await?
            && shapes::is_signed(object, &key, signature)
        {
            shapes::add_signature(&mut signed, user.as_str(), name, signature);
        }
    }
    if signed == master.object {
        return Ok(Err(Failure::NotSigned));
    }
    let (user_id, json) = (user.to_string(), shapes::text(&signed));
    change.write(encryption::Write::CrossSigning(Write::Put { user_id, usage: MASTER, json }));
    let (user_id, device_id) = (user.to_string(), device.to_string());
    change.write(encryption::Write::CrossSigning(Write::Touch { user_id, device_id }));
    change.fact(Fact::Devices { user_id: user.to_string() });
    Ok(Ok(()))
}

/// The key of that name that a device of the user's has published.
async fn device_key(
    engine: &Engine,
    user: &UserId,
    name: &str,
) -> Result<Option<Vec<u8>>, Internal> {
    let Some(device) = name.strip_prefix("ed25519:") else { return Ok(None) };
    let mut conn = engine.storage.read().await?;
    let row = device_keys::get(&mut conn, user.as_str(), device).await?;
    let keys = row.and_then(|row| row.json).and_then(|json| shapes::read(&json).ok());
    let key = keys.as_ref().and_then(|object| object.get("keys")?.as_object()?.get(name)?.as_str());
    Ok(key.and_then(|key| public_key(name, key)))
}
