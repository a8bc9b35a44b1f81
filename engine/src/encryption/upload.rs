//! Publishing the keys of a device.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload>

use std::collections::{BTreeMap, HashMap, HashSet};

use ruma::{CanonicalJsonObject, DeviceId, UserId};
use serde_json::value::RawValue;
use starling_storage::{
    Change, Fact,
    encryption::{
        Write,
        device_keys::{self, DeviceKeysRow},
        one_time_keys::{self, KeyRow},
    },
};

use super::{
    USUAL_ALGORITHM,
    shapes::{self, ShapeError},
};
use crate::{Engine, Internal};

/// How many one-time keys of an algorithm may wait to be claimed.
const MOST_ONE_TIME_KEYS: i64 = 1_000;
/// How many fallback keys a device may have, one for each algorithm.
const MOST_FALLBACK_KEYS: usize = 8;

/// What a device publishes.
#[derive(Debug, Default)]
pub struct Upload {
    /// Its identity keys.
    pub device_keys: Option<Box<RawValue>>,
    /// One-time keys by name.
    pub one_time_keys: BTreeMap<String, Box<RawValue>>,
    /// Fallback keys by name.
    pub fallback_keys: BTreeMap<String, Box<RawValue>>,
}

/// Why keys are not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// They are not what the specification says.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The device has another key of that name.
    #[error("One time key {0} already exists with another value")]
    Exists(String),
    /// The device has no room for so many.
    #[error("the device has too many one-time keys")]
    TooMany,
    /// The device is gone.
    #[error("there is no such device")]
    NoDevice,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for UploadError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// Publishes keys of a device, all or none, and gives back how many one-time keys wait. What is
/// published already is not published again.
///
/// # Errors
///
/// [`UploadError`].
pub async fn upload(
    engine: &Engine,
    user: &UserId,
    device: &DeviceId,
    upload: Upload,
) -> Result<BTreeMap<String, u64>, UploadError> {
    let _turn = engine.encryption.turns.of([user.as_str()]).await;
    let mut change = Change::new();
    add(engine, &mut change, user, device, &upload).await?;
    if !change.is_empty() {
        engine.storage.commit(change).await.map_err(Internal::from)?;
    }
    let mut conn = engine.storage.read().await?;
    let counts = one_time_keys::count(&mut conn, user.as_str(), device.as_str()).await?;
    Ok(counted(counts))
}

/// How many keys are left by algorithm, as clients are told.
pub(crate) fn counted(counts: Vec<(String, i64)>) -> BTreeMap<String, u64> {
    let counts = counts.into_iter().map(|(name, count)| (name, u64::try_from(count).unwrap_or(0)));
    let mut counted = BTreeMap::from([(USUAL_ALGORITHM.to_owned(), 0)]);
    counted.extend(counts);
    counted
}

/// Adds what is new of an upload to a change. The device must be there, or be added by the change's
/// caller before.
async fn add(
    engine: &Engine,
    change: &mut Change,
    user: &UserId,
    device: &DeviceId,
    upload: &Upload,
) -> Result<(), UploadError> {
    let mut conn = engine.storage.read().await?;
    let row = device_keys::get(&mut conn, user.as_str(), device.as_str()).await?;
    let row = row.ok_or(UploadError::NoDevice)?;
    let named: Vec<String> = upload
        .one_time_keys
        .keys()
        .map(|name| shapes::split(name).map(|(_, key_id)| key_id.to_owned()))
        .collect::<Result<_, _>>()?;
    let known = one_time_keys::named(&mut conn, user.as_str(), device.as_str(), &named).await?;
    let counts = one_time_keys::count(&mut conn, user.as_str(), device.as_str()).await?;
    let last = one_time_keys::last_ordinal(&mut conn, user.as_str(), device.as_str()).await?;
    let fallback = one_time_keys::fallback(&mut conn, user.as_str(), device.as_str()).await?;
    drop(conn);
    if let Some(json) = &upload.device_keys {
        add_device_keys(change, user, device, &row, json)?;
    }
    let known = Known { keys: known, counts: counts.into_iter().collect(), last };
    let more = add_one_time_keys(change, (user, device), known, &upload.one_time_keys)?;
    let other = add_fallback_keys(change, (user, device), &fallback, &upload.fallback_keys)?;
    if more || other {
        change.fact(supply_of(user.as_str(), device.as_str()));
    }
    Ok(())
}

/// What a device has for others changed.
pub(super) fn supply_of(user: &str, device: &str) -> Fact {
    Fact::Supply { user_id: user.to_owned(), device_id: device.to_owned() }
}

/// Identity keys of a device; those that are there keep the signatures that were added to them.
pub(crate) fn add_device_keys(
    change: &mut Change,
    user: &UserId,
    device: &DeviceId,
    row: &DeviceKeysRow,
    json: &RawValue,
) -> Result<(), UploadError> {
    let mut object = shapes::device_keys(json.get(), user, device)?;
    let stored: Option<CanonicalJsonObject> =
        row.json.as_deref().and_then(|json| shapes::read(json).ok());
    if let Some(stored) = stored.filter(|stored| shapes::is_same(stored, &object)) {
        let mut merged = stored.clone();
        for (name, signature) in shapes::signatures_of(&object, user.as_str()) {
            shapes::add_signature(&mut merged, user.as_str(), name, signature);
        }
        if merged == stored {
            return Ok(());
        }
        object = merged;
    }
    let (user_id, device_id) = (user.to_string(), device.to_string());
    change.write(Write::DeviceKeys { user_id, device_id, json: shapes::text(&object) });
    change.fact(Fact::Devices { user_id: user.to_string() });
    Ok(())
}

/// What is there of one-time keys.
#[derive(Default)]
pub(crate) struct Known {
    keys: Vec<KeyRow>,
    counts: HashMap<String, i64>,
    last: i64,
}

/// Adds the one-time keys that are new; whether any is.
pub(crate) fn add_one_time_keys(
    change: &mut Change,
    (user, device): (&UserId, &DeviceId),
    known: Known,
    keys: &BTreeMap<String, Box<RawValue>>,
) -> Result<bool, UploadError> {
    let Known { keys: rows, mut counts, last: before } = known;
    let mut last = before;
    let rows: HashMap<(&str, &str), &KeyRow> =
        rows.iter().map(|row| ((&*row.algorithm, &*row.key_id), row)).collect();
    for (name, key) in keys {
        let (algorithm, key_id) = shapes::split(name)?;
        let json = shapes::one_time_key(key.get(), false)?;
        match rows.get(&(algorithm, key_id)) {
            Some(row) if row.json == json => continue,
            Some(row) if !row.claimed => return Err(UploadError::Exists(name.clone())),
            _ => {}
        }
        let count = counts.entry(algorithm.to_owned()).or_default();
        *count += 1;
        if *count > MOST_ONE_TIME_KEYS {
            return Err(UploadError::TooMany);
        }
        last += 1;
        let row = KeyRow { ordinal: last, ..key_row(user, device, algorithm, key_id, json) };
        change.write(Write::OneTimeKey(one_time_keys::Write::Add(row)));
    }
    Ok(last > before)
}

/// Sets the fallback keys that are new; whether any is.
pub(crate) fn add_fallback_keys(
    change: &mut Change,
    (user, device): (&UserId, &DeviceId),
    known: &[KeyRow],
    keys: &BTreeMap<String, Box<RawValue>>,
) -> Result<bool, UploadError> {
    let mut algorithms: HashSet<&str> = HashSet::new();
    let mut is_any_new = false;
    for (name, key) in keys {
        let (algorithm, key_id) = shapes::split(name)?;
        let json = shapes::one_time_key(key.get(), true)?;
        if !algorithms.insert(algorithm) {
            let reason = "there is one fallback key for each algorithm".to_owned();
            return Err(ShapeError::Malformed(reason).into());
        }
        let is_same =
            |row: &KeyRow| row.algorithm == algorithm && row.key_id == key_id && row.json == json;
        if known.iter().any(is_same) {
            continue;
        }
        let row = key_row(user, device, algorithm, key_id, json);
        change.write(Write::OneTimeKey(one_time_keys::Write::Fallback(row)));
        is_any_new = true;
    }
    let known = known.iter().map(|row| row.algorithm.as_str());
    if known.chain(algorithms).collect::<HashSet<_>>().len() > MOST_FALLBACK_KEYS {
        return Err(UploadError::TooMany);
    }
    Ok(is_any_new)
}

fn key_row(
    user: &UserId,
    device: &DeviceId,
    algorithm: &str,
    key_id: &str,
    json: String,
) -> KeyRow {
    KeyRow {
        user_id: user.to_string(),
        device_id: device.to_string(),
        algorithm: algorithm.to_owned(),
        key_id: key_id.to_owned(),
        json,
        ..KeyRow::default()
    }
}
