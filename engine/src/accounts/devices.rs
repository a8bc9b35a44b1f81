//! The devices of an account: how they come, are named, are seen, and go.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use starling_storage::{
    Change, CommitError, Fact, account_data,
    accounts::{
        self,
        devices::{self as rows, Write},
    },
};

pub use starling_storage::accounts::devices::DeviceRow;

use super::{
    Session,
    tokens::{self, Issued},
    uia::Proof,
};
use crate::{Engine, Internal, rng};

/// How many characters of a program's name are kept.
const LONGEST_USER_AGENT: usize = 256;

/// How the account data are called in which clients keep what a device notifies of, before the ID of
/// the device. They go with it.
///
/// <https://github.com/matrix-org/matrix-spec-proposals/pull/3890>
const NOTIFICATION_SETTINGS: [&str; 2] =
    ["m.local_notification_settings.", "org.matrix.msc3890.local_notification_settings."];

/// How long a device id or a device's name may be, in bytes.
const LONGEST: usize = 255;

/// How a client wants to be logged in.
#[derive(Clone, Debug, Default)]
pub struct NewDevice {
    /// Its device, if it has one already.
    pub device_id: Option<OwnedDeviceId>,
    /// What to call a device that is new.
    pub display_name: Option<String>,
    /// Whether the client can refresh tokens.
    pub refreshable: bool,
}

impl NewDevice {
    /// Whether id and name are of a length that they may have.
    #[must_use]
    pub fn is_acceptable(&self) -> bool {
        let id = self.device_id.as_ref().map_or("?", |id| id.as_str());
        !id.is_empty() && id.len() <= LONGEST && is_name(self.display_name.as_deref())
    }
}

fn is_name(name: Option<&str>) -> bool {
    name.is_none_or(|name| name.len() <= LONGEST)
}

/// Adds to `change` that a client logs in: its device, and tokens in place of those it had.
pub(crate) fn enter(
    engine: &Engine,
    change: &mut Change,
    user: &UserId,
    new: NewDevice,
) -> (OwnedDeviceId, Issued) {
    let device_id = new.device_id.unwrap_or_else(new_device_id);
    let of_device = (user.to_string(), device_id.to_string());
    change.write(accounts::Write::Device(Write::Add(DeviceRow {
        user_id: of_device.0.clone(),
        device_id: of_device.1.clone(),
        display_name: new.display_name,
        created_ts: engine.clock.now_ms(),
        ..DeviceRow::default()
    })));
    let (user_id, device) = of_device;
    let remove = accounts::tokens::Write::RemoveOfDevice { user_id, device_id: device };
    change.write(accounts::Write::Token(remove));
    let issued = tokens::issue(engine, change, user, &device_id, new.refreshable);
    change.fact(Fact::Devices { user_id: user.to_string() });
    (device_id, issued)
}

/// Adds a device that nobody is logged in on, unless the user has it.
pub(crate) async fn add(engine: &Engine, user: &UserId, device: &DeviceId) -> Result<(), Internal> {
    let mut change = Change::new();
    change.write(accounts::Write::Device(Write::Add(DeviceRow {
        user_id: user.to_string(),
        device_id: device.to_string(),
        created_ts: engine.clock.now_ms(),
        ..DeviceRow::default()
    })));
    change.fact(Fact::Devices { user_id: user.to_string() });
    engine.storage.commit(change).await?;
    Ok(())
}

/// Ten capital letters.
pub(crate) fn new_device_id() -> OwnedDeviceId {
    let letter = |byte: u8| char::from(b'A' + byte % 26);
    rng::bytes::<10>().into_iter().map(letter).collect::<String>().into()
}

/// The devices of a user.
///
/// # Errors
///
/// When the database fails.
pub async fn list(engine: &Engine, user: &UserId) -> Result<Vec<DeviceRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    let mut devices = rows::of_user(&mut conn, user.as_str()).await?;
    for device in &mut devices {
        engine.accounts.seen.add_to(user, device);
    }
    Ok(devices)
}

/// A device of a user.
///
/// # Errors
///
/// When the database fails.
pub async fn get(
    engine: &Engine,
    user: &UserId,
    device: &DeviceId,
) -> Result<Option<DeviceRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    let mut found = rows::get(&mut conn, user.as_str(), device.as_str()).await?;
    if let Some(device) = &mut found {
        engine.accounts.seen.add_to(user, device);
    }
    Ok(found)
}

/// Why a device is not renamed.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// The user has no such device.
    #[error("there is no such device")]
    NotFound,
    /// The name is too long.
    #[error("the name is too long")]
    TooLong,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Names a device.
///
/// # Errors
///
/// [`RenameError`].
pub async fn rename(
    engine: &Engine,
    user: &UserId,
    device: &DeviceId,
    display_name: Option<String>,
) -> Result<(), RenameError> {
    if !is_name(display_name.as_deref()) {
        return Err(RenameError::TooLong);
    }
    if get(engine, user, device).await?.is_none() {
        return Err(RenameError::NotFound);
    }
    let mut change = Change::new();
    let (user_id, device_id) = (user.to_string(), device.to_string());
    change.write(accounts::Write::Device(Write::Rename { user_id, device_id, display_name }));
    change.fact(Fact::Devices { user_id: user.to_string() });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

/// Names a device of a user for an application service, and makes it if it is not there; whether it was
/// made.
///
/// <https://spec.matrix.org/v1.19/application-service-api/#creating-devices>
///
/// # Errors
///
/// [`RenameError`].
pub async fn name_or_make(
    engine: &Engine,
    user: &UserId,
    device: &DeviceId,
    display_name: Option<String>,
) -> Result<bool, RenameError> {
    if get(engine, user, device).await?.is_some() {
        rename(engine, user, device, display_name).await?;
        return Ok(false);
    }
    let new = NewDevice {
        device_id: Some(device.to_owned()),
        display_name: display_name.clone(),
        ..NewDevice::default()
    };
    if !new.is_acceptable() {
        return Err(RenameError::TooLong);
    }
    let mut change = Change::new();
    change.write(accounts::Write::Device(Write::Add(DeviceRow {
        user_id: user.to_string(),
        device_id: device.to_string(),
        display_name,
        created_ts: engine.clock.now_ms(),
        ..DeviceRow::default()
    })));
    change.fact(Fact::Devices { user_id: user.to_string() });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(true)
}

/// Why devices are not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The session was used by another request meanwhile.
    #[error("the session has been used")]
    UsedUp,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Removes devices of a user with all that is theirs; those that do not exist are gone already.
///
/// # Errors
///
/// [`RemoveError`].
pub async fn remove(
    engine: &Engine,
    user: &UserId,
    devices: &[OwnedDeviceId],
    proof: &Proof,
) -> Result<(), RemoveError> {
    let mut change = Change::new();
    proof.claim(engine, &mut change);
    match remove_with(engine, user, devices, change).await {
        Err(Internal::Commit(CommitError::UsedUp)) => Err(RemoveError::UsedUp),
        other => Ok(other?),
    }
}

/// Removes devices on top of what `change` claims.
pub(crate) async fn remove_with(
    engine: &Engine,
    user: &UserId,
    devices: &[OwnedDeviceId],
    mut change: Change,
) -> Result<(), Internal> {
    for device in devices {
        let (user_id, device_id) = (user.to_string(), device.to_string());
        change.write(accounts::Write::Device(Write::Remove { user_id, device_id }));
    }
    change.fact(Fact::Devices { user_id: user.to_string() });
    forget_settings(engine, &mut change, user, |device| devices.iter().any(|it| it == device))
        .await?;
    commit_removal(engine, change).await
}

/// Ends the session of a device: the device goes with its tokens.
///
/// # Errors
///
/// When the server fails.
pub async fn log_out(engine: &Engine, session: &Session) -> Result<(), Internal> {
    let mut change = Change::new();
    let user_id = session.user_id.to_string();
    let device_id = session.device_id.to_string();
    change.write(accounts::Write::Device(Write::Remove { user_id, device_id }));
    change.fact(Fact::Devices { user_id: session.user_id.to_string() });
    let is_own = |device: &str| device == session.device_id;
    forget_settings(engine, &mut change, &session.user_id, is_own).await?;
    commit_removal(engine, change).await
}

/// Ends all sessions of a user.
///
/// # Errors
///
/// When the server fails.
pub async fn log_out_all(engine: &Engine, user: &UserId) -> Result<(), Internal> {
    let mut change = Change::new();
    remove_all(engine, &mut change, user, None).await?;
    commit_removal(engine, change).await
}

/// Adds to `change` that all devices of a user go, but for one.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn remove_all(
    engine: &Engine,
    change: &mut Change,
    user: &UserId,
    except: Option<&DeviceId>,
) -> Result<(), Internal> {
    let stays = |device: &str| except.is_some_and(|except| except == device);
    forget_settings(engine, change, user, |device| !stays(device)).await?;
    let except = except.map(ToString::to_string);
    change.write(accounts::Write::Device(Write::RemoveAll { user_id: user.to_string(), except }));
    change.fact(Fact::Devices { user_id: user.to_string() });
    Ok(())
}

/// Adds to `change` that what devices notify of is forgotten, of those that go.
async fn forget_settings(
    engine: &Engine,
    change: &mut Change,
    user: &UserId,
    goes: impl Fn(&str) -> bool,
) -> Result<(), Internal> {
    let mut conn = engine.storage.read().await?;
    let data = account_data::of_room(&mut conn, user.as_str(), "").await?;
    drop(conn);
    for (kind, content) in data {
        let device = NOTIFICATION_SETTINGS.iter().find_map(|prefix| kind.strip_prefix(prefix));
        if device.is_some_and(&goes) && content != account_data::REMOVED {
            let (user_id, room_id) = (user.to_string(), String::new());
            let at = change.fact(Fact::AccountData {
                user_id: user_id.clone(),
                room_id: room_id.clone(),
                kind: kind.clone(),
            });
            let content = account_data::REMOVED.to_owned();
            change.write(account_data::Write::Put { user_id, room_id, kind, content, at });
        }
    }
    Ok(())
}

async fn commit_removal(engine: &Engine, change: Change) -> Result<(), Internal> {
    engine.storage.commit(change).await?;
    tokens::revoked(engine);
    Ok(())
}

/// When devices were last seen, until that is written.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashMap<(OwnedUserId, OwnedDeviceId), Sight>>);

/// The last request of a device.
#[derive(Debug)]
struct Sight {
    ts: i64,
    address: IpAddr,
    user_agent: Option<String>,
}

impl Seen {
    /// Corrects a stored row by what is not written yet.
    fn add_to(&self, user: &UserId, row: &mut DeviceRow) {
        let device = (user.to_owned(), OwnedDeviceId::from(row.device_id.as_str()));
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Sight { ts, address, user_agent }) = seen.get(&device) {
            row.last_seen_ts = Some(*ts);
            row.last_seen_ip = Some(address.to_string());
            row.user_agent.clone_from(user_agent);
        }
    }
}

/// Notes that a device made a request, by a program of that name. Nothing is written before the next
/// [`write_seen`].
pub fn note_seen(engine: &Engine, session: &Session, address: IpAddr, user_agent: Option<&str>) {
    let device = (session.user_id.clone(), session.device_id.clone());
    let mut seen = engine.accounts.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
    let user_agent = user_agent.map(|name| name.chars().take(LONGEST_USER_AGENT).collect());
    seen.insert(device, Sight { ts: engine.clock.now_ms(), address, user_agent });
}

/// Writes when devices were last seen, all in one change.
pub(crate) async fn write_seen(engine: &Engine) -> Result<(), Internal> {
    let seen = {
        let mut seen = engine.accounts.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen)
    };
    if seen.is_empty() {
        return Ok(());
    }
    let mut change = Change::new();
    for ((user, device), Sight { ts, address, user_agent }) in seen {
        let (user_id, device_id) = (user.to_string(), device.to_string());
        let address = address.to_string();
        let seen = Write::Seen { user_id, device_id, ts, address, user_agent };
        change.write(accounts::Write::Device(seen));
    }
    engine.storage.commit(change).await?;
    Ok(())
}
