//! The device lists of other servers' users: taken over once, then kept by what their servers tell.
//!
//! A list that does not follow from what is known is asked for again, in the background and as soon as
//! a client wants it. Nobody here is told of keys that are not theirs any more: a list goes when its
//! user shares no room with anybody here and comes into one.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#device-management>

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use ruma::UserId;
use serde::Deserialize;
use serde_json::value::RawValue;
use starling_storage::{
    Change, Fact,
    encryption::{
        self,
        remote_lists::{self, RemoteDeviceRow, RemoteListRow, Write},
    },
};
use tokio::sync::Notify;

use super::shapes;
use crate::{
    Engine, Internal,
    ask::{self, AskError},
    at_most::AtMost,
    behind,
    remote::Limits,
};

/// How many devices a user of another server may have; a longer list is not taken.
const MOST_DEVICES: usize = 1_000;
/// How many lists are asked for again at a time.
const AT_A_TIME: usize = 8;
/// How many are looked for at once.
const PAGE: i64 = 50;
/// A list is asked for again no sooner than that, whatever its server sends, in milliseconds.
const PAUSE_MS: i64 = 60_000;
/// A list is asked for again no later than that, in milliseconds.
const LONGEST_PAUSE_MS: i64 = 60 * 60_000;
/// What asking again may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(30), max_body: 8 * 1024 * 1024 };

/// What is remembered of lists that are being asked for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// By user: how many ask, and whether something was heard meanwhile.
    asking: Mutex<HashMap<String, (usize, bool)>>,
    pub(super) wake: Notify,
}

impl Asked {
    fn begin(&self, user: &str) {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.entry(user.to_owned()).or_default().0 += 1;
    }

    /// Whether something was heard meanwhile.
    fn end(&self, user: &str) -> bool {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((count, heard)) = asking.get_mut(user) else { return false };
        let heard = *heard;
        *count -= 1;
        if *count == 0 {
            asking.remove(user);
        }
        heard
    }

    /// Something about a user's devices was heard: what is under way may be older.
    pub(super) fn heard(&self, user: &str) {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, heard)) = asking.get_mut(user) {
            *heard = true;
        }
    }
}

#[derive(Deserialize)]
struct List {
    user_id: String,
    stream_id: i64,
    devices: AtMost<Device, MOST_DEVICES>,
    master_key: Option<Box<RawValue>>,
    self_signing_key: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Device {
    device_id: String,
    device_display_name: Option<String>,
    keys: Option<Box<RawValue>>,
}

/// Takes the list of a user over from their server; whether it could be had.
pub(super) async fn take_over(
    engine: &Engine,
    user: &str,
    limits: Limits,
) -> Result<bool, Internal> {
    let Ok(user) = <&UserId>::try_from(user) else { return Ok(false) };
    engine.encryption.asked.begin(user.as_str());
    let list = ask(engine, user, limits).await;
    let heard = engine.encryption.asked.end(user.as_str());
    match list {
        Ok(list) => {
            let change = replacement(engine, user, list, heard);
            engine.storage.commit(change).await?;
            Ok(true)
        }
        Err(error) => {
            tracing::info!(%error, user.id = %user, "a server did not give its user's devices");
            Ok(false)
        }
    }
}

async fn ask(engine: &Engine, user: &UserId, limits: Limits) -> Result<List, AskError> {
    let path = ask::path("v1/user/devices", &[user.as_str()]);
    let list: List = ask::get(engine, user.server_name(), path, limits).await?;
    if list.user_id != user.as_str() {
        return Err(AskError::Malformed("the devices are of another user".to_owned()));
    }
    Ok(list)
}

fn replacement(engine: &Engine, user: &UserId, list: List, heard: bool) -> Change {
    let user_id = user.to_string();
    let devices = list.devices.0.into_iter().filter_map(|device| {
        device_row(user, &device.device_id, device.device_display_name, device.keys.as_deref()?)
    });
    let mut change = Change::new();
    change.write(encryption::Write::RemoteList(Write::Replace {
        user_id: user_id.clone(),
        stream_id: list.stream_id,
        devices: devices.collect(),
        signing_keys: signing_keys(user, list.master_key, list.self_signing_key),
        retry_ts: engine.clock.now_ms().saturating_add(PAUSE_MS),
    }));
    if heard {
        let retry_ts = engine.clock.now_ms();
        let stale = Write::Stale { user_id, failures: 0, retry_ts };
        change.write(encryption::Write::RemoteList(stale));
    }
    change
}

/// A device as it is remembered, if its keys are keys.
pub(super) fn device_row(
    user: &UserId,
    device: &str,
    name: Option<String>,
    keys: &RawValue,
) -> Option<RemoteDeviceRow> {
    let object = shapes::device_keys(keys.get(), user, device.into()).ok()?;
    Some(RemoteDeviceRow {
        user_id: user.to_string(),
        device_id: device.to_owned(),
        display_name: name.filter(|name| name.len() <= shapes::LONGEST_NAME),
        json: shapes::text(&object),
    })
}

/// The cross-signing keys that are keys, by usage.
pub(super) fn signing_keys(
    user: &UserId,
    master: Option<Box<RawValue>>,
    self_signing: Option<Box<RawValue>>,
) -> Vec<(&'static str, String)> {
    let keys = [("master", master), ("self_signing", self_signing)];
    let read = |(usage, key): (&'static str, Option<Box<RawValue>>)| {
        let key = shapes::signing_key(key?.get(), user, usage).ok()?;
        Some((usage, shapes::text(&key.object)))
    };
    keys.into_iter().filter_map(read).collect()
}

/// Adds to a change that something of a list was missed. A list that is asked for already stays as it
/// is.
pub(super) fn missed(engine: &Engine, change: &mut Change, list: &RemoteListRow) {
    if !list.stale {
        let retry_ts = list.retry_ts.max(engine.clock.now_ms());
        let user_id = list.user_id.clone();
        let stale = Write::Stale { user_id, failures: 0, retry_ts };
        change.write(encryption::Write::RemoteList(stale));
    }
}

/// Asks again for the lists of which something was missed, until the process shuts down.
pub async fn run(engine: Engine) {
    loop {
        if let Err(error) = round(&engine).await {
            tracing::warn!(%error, "lists of devices were not asked for again");
        }
        if !behind::woken(&engine, &engine.encryption.asked.wake).await {
            return;
        }
    }
}

/// Asks once for each list whose time has come.
///
/// # Errors
///
/// When the database fails.
pub async fn round(engine: &Engine) -> Result<(), Internal> {
    loop {
        let mut conn = engine.storage.read().await?;
        let lists = remote_lists::stale(&mut conn, engine.clock.now_ms(), PAGE).await?;
        drop(conn);
        if lists.is_empty() || engine.shutdown.is_cancelled() {
            return Ok(());
        }
        let asked = lists.into_iter().map(|list| again(engine, list));
        let mut asked = stream::iter(asked).buffer_unordered(AT_A_TIME);
        while let Some(outcome) = asked.next().await {
            outcome?;
        }
    }
}

async fn again(engine: &Engine, list: RemoteListRow) -> Result<(), Internal> {
    let mut conn = engine.storage.read().await?;
    let shared = remote_lists::shared(&mut conn, std::slice::from_ref(&list.user_id)).await?;
    drop(conn);
    let user_id = list.user_id.clone();
    let mut change = Change::new();
    if shared.is_empty() {
        change.write(encryption::Write::RemoteList(Write::Forget { user_id }));
    } else if take_over(engine, &user_id, LIMITS).await? {
        change.fact(Fact::Devices { user_id });
    } else {
        let doubled = PAUSE_MS << list.failures.clamp(0, 10);
        let retry_ts = engine.clock.now_ms().saturating_add(doubled.min(LONGEST_PAUSE_MS));
        let failures = list.failures.saturating_add(1);
        change.write(encryption::Write::RemoteList(Write::Stale { user_id, failures, retry_ts }));
    }
    engine.storage.commit(change).await?;
    Ok(())
}
