//! A device of a user that is nowhere: it is kept here, gets messages meanwhile, and is taken over by
//! the next client that logs in.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/3814>

use std::collections::BTreeMap;

use ruma::{OwnedDeviceId, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::{
    Change, Conn, Fact,
    accounts::{self, devices as rows},
    encryption::{self, dehydrated, device_keys::DeviceKeysRow},
    facts, to_device,
};

use super::{
    shapes::LONGEST_NAME,
    upload::{Known, UploadError, add_device_keys, add_fallback_keys, add_one_time_keys},
};
use crate::{Engine, Internal};

/// How many bytes a device may have.
const LARGEST_DATA: usize = 64 * 1024;
/// How many messages are given at a time.
const MOST_MESSAGES: i64 = 100;

/// A device to be kept.
#[derive(Debug)]
pub struct NewDevice {
    /// Its ID.
    pub device_id: OwnedDeviceId,
    /// What a client needs to take it over.
    pub device_data: Box<RawValue>,
    /// Its name.
    pub display_name: Option<String>,
    /// Its identity keys.
    pub device_keys: Box<RawValue>,
    /// Its one-time keys.
    pub one_time_keys: BTreeMap<String, Box<RawValue>>,
    /// Its fallback keys.
    pub fallback_keys: BTreeMap<String, Box<RawValue>>,
}

/// Why a device is not kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Its ID, its name or its data are not what they may be.
    #[error("{0}")]
    Malformed(&'static str),
    /// It has the ID of a device that somebody uses.
    #[error("a device has this ID already")]
    InUse,
    /// Its keys are not taken.
    #[error(transparent)]
    Keys(#[from] UploadError),
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Keeps a device, in place of the one that was kept before.
///
/// # Errors
///
/// [`PutError`].
pub async fn put(engine: &Engine, user: &UserId, new: NewDevice) -> Result<(), PutError> {
    let device = &*new.device_id;
    if device.as_str().is_empty() || device.as_str().len() > LONGEST_NAME {
        return Err(PutError::Malformed("`device_id` is empty or too long"));
    }
    if new.display_name.as_ref().is_some_and(|name| name.len() > LONGEST_NAME) {
        return Err(PutError::Malformed("the name is too long"));
    }
    let data = new.device_data.get();
    if !data.starts_with('{') || data.len() > LARGEST_DATA {
        return Err(PutError::Malformed("`device_data` is an object of 64 KiB at most"));
    }
    let _turn = engine.encryption.turns.of([user.as_str()]).await;
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let kept = dehydrated::get(&mut conn, user.as_str()).await.map_err(Internal::from)?;
    let known = rows::get(&mut conn, user.as_str(), device.as_str()).await;
    drop(conn);
    let is_kept = kept.as_ref().is_some_and(|(kept, _)| kept == device.as_str());
    if known.map_err(Internal::from)?.is_some() && !is_kept {
        return Err(PutError::InUse);
    }
    let mut change = Change::new();
    let (user_id, device_id) = (user.to_string(), device.to_string());
    if let Some((device_id, _)) = kept {
        let remove = rows::Write::Remove { user_id: user_id.clone(), device_id };
        change.write(accounts::Write::Device(remove));
    }
    change.write(accounts::Write::Device(rows::Write::Add(rows::DeviceRow {
        user_id: user_id.clone(),
        device_id: device_id.clone(),
        display_name: new.display_name,
        created_ts: engine.clock.now_ms(),
        ..rows::DeviceRow::default()
    })));
    let row = DeviceKeysRow::default();
    add_device_keys(&mut change, user, device, &row, &new.device_keys)?;
    add_one_time_keys(&mut change, (user, device), Known::default(), &new.one_time_keys)?;
    add_fallback_keys(&mut change, (user, device), &[], &new.fallback_keys)?;
    let device_data = data.to_owned();
    let put = dehydrated::Write::Put { user_id, device_id, device_data };
    change.write(encryption::Write::Dehydrated(put));
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

/// A device that is kept.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// Its ID.
    pub device_id: String,
    /// What a client needs to take it over.
    pub device_data: Box<RawValue>,
}

/// The device of a user that is kept.
///
/// # Errors
///
/// When the database fails.
pub async fn get(engine: &Engine, user: &UserId) -> Result<Option<Kept>, Internal> {
    let mut conn = engine.storage.read().await?;
    let Some((device_id, data)) = dehydrated::get(&mut conn, user.as_str()).await? else {
        return Ok(None);
    };
    Ok(Some(Kept { device_id, device_data: RawValue::from_string(data)? }))
}

/// Removes the device of a user that is kept, and gives back its ID; `None`: there is none.
///
/// # Errors
///
/// When the database fails.
pub async fn remove(engine: &Engine, user: &UserId) -> Result<Option<String>, Internal> {
    let _turn = engine.encryption.turns.of([user.as_str()]).await;
    let Some(Kept { device_id, .. }) = get(engine, user).await? else { return Ok(None) };
    let mut change = Change::new();
    let remove = rows::Write::Remove { user_id: user.to_string(), device_id: device_id.clone() };
    change.write(accounts::Write::Device(remove));
    change.fact(Fact::Devices { user_id: user.to_string() });
    engine.storage.commit(change).await?;
    Ok(Some(device_id))
}

/// Messages to a device that is kept.
#[derive(Debug, Serialize)]
pub struct Messages {
    /// The messages, oldest first.
    pub events: Vec<Box<RawValue>>,
    /// Where the next ones begin.
    pub next_batch: String,
}

/// Why no messages are given.
#[derive(Debug, thiserror::Error)]
pub enum MessagesError {
    /// No device is kept.
    #[error("no device is kept here")]
    NotFound,
    /// Another device is kept.
    #[error("this is not the device that is kept here")]
    OtherDevice,
    /// The token is none of this server's.
    #[error("the token is not one of this server's")]
    BadToken,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// The messages to the device that is kept, some at a time. They stay until the device goes.
///
/// # Errors
///
/// [`MessagesError`].
pub async fn messages(
    engine: &Engine,
    user: &UserId,
    device: &str,
    from: Option<&str>,
) -> Result<Messages, MessagesError> {
    let after = match from {
        Some(from) => {
            let pos = from.strip_prefix('d').and_then(|pos| pos.parse::<i64>().ok());
            pos.filter(|pos| *pos >= 0).ok_or(MessagesError::BadToken)?
        }
        None => 0,
    };
    match get(engine, user).await? {
        None => return Err(MessagesError::NotFound),
        Some(kept) if kept.device_id != device => return Err(MessagesError::OtherDevice),
        Some(_) => {}
    }
    let mut conn = engine.storage.snapshot().await.map_err(Internal::from)?;
    Ok(page(&mut conn, user, device, after).await?)
}

async fn page(
    conn: &mut Conn,
    user: &UserId,
    device: &str,
    after: i64,
) -> Result<Messages, Internal> {
    let span = (after, facts::head(conn).await?);
    let waiting = to_device::waiting(conn, user.as_str(), device, span, MOST_MESSAGES).await?;
    let last = waiting.last().map_or(after, |(pos, _)| *pos);
    let events = waiting.into_iter().map(|(_, json)| RawValue::from_string(json));
    Ok(Messages { events: events.collect::<Result<_, _>>()?, next_batch: format!("d{last}") })
}
