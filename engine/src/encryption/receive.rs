//! What other servers tell of their users' devices and keys, and messages to devices here.
//!
//! An EDU is on disk before its transaction is answered: what the other server then forgets is not
//! lost. One that is malformed, or speaks of somebody else's user, is dropped.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#device-management>

use ruma::{OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use starling_storage::{
    Change, Claim, CommitError, Fact,
    encryption::{
        self, cross_signing,
        remote_lists::{self as rows, RemoteDeviceRow, RemoteListRow, Write},
    },
    rooms::partial,
    to_device::Received,
};

use super::{
    inbox::{self, Messages},
    remote_lists as lists,
    send::{LARGEST_CONTENT, MOST_MESSAGES},
    shapes::LONGEST_NAME,
};
use crate::{Engine, Internal};

#[derive(Deserialize)]
struct Update {
    user_id: OwnedUserId,
    device_id: String,
    device_display_name: Option<String>,
    stream_id: i64,
    #[serde(default)]
    prev_id: Vec<i64>,
    #[serde(default)]
    deleted: bool,
    keys: Option<Box<RawValue>>,
}

/// `m.device_list_update`: a device of a user changed.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn device_list_update(
    engine: &Engine,
    origin: &ServerName,
    content: &RawValue,
) -> Result<(), Internal> {
    let Ok(update) = serde_json::from_str::<Update>(content.get()) else { return Ok(()) };
    let is_sound = !update.device_id.is_empty() && update.device_id.len() <= LONGEST_NAME;
    if update.user_id.server_name() != origin || !is_sound {
        return Ok(());
    }
    let _turn = engine.encryption.turns.of([update.user_id.as_str()]).await;
    let Some(known) = known(engine, &update.user_id).await? else {
        return note_unknown(engine, &update.user_id).await;
    };
    engine.encryption.asked.heard(update.user_id.as_str());
    let mut change = Change::new();
    follow(engine, &mut change, update, known).await?;
    commit(engine, change).await
}

/// What is known of the devices of a user who shares a room with somebody here; `None` for others,
/// who are of no interest.
async fn known(
    engine: &Engine,
    user: &OwnedUserId,
) -> Result<Option<Option<RemoteListRow>>, Internal> {
    let users = [user.to_string()];
    let mut conn = engine.storage.read().await?;
    let list = rows::known(&mut conn, &users).await?.into_iter().next();
    let is_shared = !rows::shared(&mut conn, &users).await?.is_empty();
    drop(conn);
    if !is_shared && list.is_some() {
        let mut change = Change::new();
        let [user_id] = users;
        change.write(encryption::Write::RemoteList(Write::Forget { user_id }));
        engine.storage.commit(change).await?;
    }
    Ok(is_shared.then_some(list))
}

/// Somebody may share a room with users here without being known to: the rooms that were joined without
/// their members will tell. That their devices changed is what is told then.
async fn note_unknown(engine: &Engine, user: &OwnedUserId) -> Result<(), Internal> {
    let mut conn = engine.storage.read().await?;
    let may_share = partial::is_assumed_anywhere(&mut conn, user.server_name().as_str()).await?;
    drop(conn);
    let mut change = Change::new();
    if may_share {
        change.fact(Fact::Devices { user_id: user.to_string() });
    }
    commit(engine, change).await
}

async fn follow(
    engine: &Engine,
    change: &mut Change,
    update: Update,
    known: Option<RemoteListRow>,
) -> Result<(), Internal> {
    let Update { user_id, device_id, device_display_name, stream_id, prev_id, deleted, keys } =
        update;
    let told = Fact::Devices { user_id: user_id.to_string() };
    let device = keys
        .filter(|_| !deleted)
        .and_then(|keys| lists::device_row(&user_id, &device_id, device_display_name, &keys));
    let Some(list) = known else {
        // Clients have nothing of a device that has no keys.
        if device.is_some() || deleted {
            change.fact(told);
        }
        return Ok(());
    };
    if list.stale {
        change.fact(told);
        return Ok(());
    }
    let is_changed = stored(engine, &user_id, &device_id).await? != device;
    let follows = match prev_id.as_slice() {
        [] => stream_id > list.stream_id,
        ids => ids.contains(&list.stream_id),
    };
    if follows {
        let user_id = user_id.to_string();
        let write = Write::Device { user_id, device_id, device, stream_id };
        change.write(encryption::Write::RemoteList(write));
    } else if stream_id > list.stream_id || is_changed {
        // Something is missing between; or the server has begun to count anew.
        lists::missed(engine, change, &list);
        change.fact(told);
        return Ok(());
    }
    if is_changed {
        change.fact(told);
    }
    Ok(())
}

async fn stored(
    engine: &Engine,
    user: &OwnedUserId,
    device: &str,
) -> Result<Option<RemoteDeviceRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    let devices = rows::devices(&mut conn, &[user.to_string()]).await?;
    Ok(devices.into_iter().find(|row| row.device_id == device))
}

async fn commit(engine: &Engine, change: Change) -> Result<(), Internal> {
    if !change.is_empty() {
        engine.storage.commit(change).await?;
        engine.encryption.asked.wake.notify_one();
    }
    Ok(())
}

#[derive(Deserialize)]
struct SigningKeys {
    user_id: OwnedUserId,
    master_key: Option<Box<RawValue>>,
    self_signing_key: Option<Box<RawValue>>,
}

/// `m.signing_key_update`: the cross-signing keys of a user changed.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn signing_key_update(
    engine: &Engine,
    origin: &ServerName,
    content: &RawValue,
) -> Result<(), Internal> {
    let Ok(update) = serde_json::from_str::<SigningKeys>(content.get()) else { return Ok(()) };
    let user = update.user_id;
    if user.server_name() != origin {
        return Ok(());
    }
    let _turn = engine.encryption.turns.of([user.as_str()]).await;
    let Some(known) = known(engine, &user).await? else {
        return note_unknown(engine, &user).await;
    };
    engine.encryption.asked.heard(user.as_str());
    let mut keys = lists::signing_keys(&user, update.master_key, update.self_signing_key);
    let mut conn = engine.storage.read().await?;
    for (_, usage, json) in cross_signing::of_users(&mut conn, &[user.to_string()]).await? {
        keys.retain(|key| (key.0, key.1.as_str()) != (usage.as_str(), json.as_str()));
    }
    drop(conn);
    let mut change = Change::new();
    if !keys.is_empty() {
        let user_id = user.to_string();
        change.fact(Fact::Devices { user_id: user_id.clone() });
        if known.is_some() {
            change.write(encryption::Write::RemoteList(Write::SigningKeys { user_id, keys }));
        }
    }
    commit(engine, change).await
}

#[derive(Deserialize)]
struct Direct {
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: String,
    message_id: String,
    messages: Messages,
}

/// `m.direct_to_device`: messages to devices here. One that came before does not come again.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn direct_to_device(
    engine: &Engine,
    origin: &ServerName,
    content: &RawValue,
) -> Result<(), Internal> {
    let Ok(direct) = serde_json::from_str::<Direct>(content.get()) else { return Ok(()) };
    let Direct { sender, kind, message_id, mut messages } = direct;
    let is_name = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
    let count: usize = messages.values().map(|devices| devices.len()).sum();
    if sender.server_name() != origin
        || !is_name(&kind)
        || !is_name(&message_id)
        || count > MOST_MESSAGES
    {
        tracing::warn!(server.name = %origin, "a message to devices is not taken");
        return Ok(());
    }
    messages.retain(|user, devices| {
        devices.retain(|_, content| is_content(content));
        let server = user.split_once(':').map_or("", |(_, server)| server);
        server == engine.config.server_name.as_str()
    });
    let mut change = Change::new();
    let (origin, ts) = (origin.to_string(), engine.clock.now_ms());
    change.claim(Claim::ToDevice(Received { origin, message_id, ts }));
    let mut conn = engine.storage.read().await?;
    inbox::deliver(&mut conn, &mut change, &sender, &kind, &messages).await?;
    drop(conn);
    match engine.storage.commit(change).await {
        Ok(_) | Err(CommitError::UsedUp) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_content(content: &RawValue) -> bool {
    content.get().starts_with('{') && content.get().len() <= LARGEST_CONTENT
}
