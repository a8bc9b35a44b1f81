//! What this server knows about a user, for the user to have.

use serde_json::{Map, Value, json};
use starling_storage::{
    account_data,
    accounts::{devices, flags, threepids},
    admin::media::{self, Order, Page},
    delayed_events, events,
    media::MediaRow,
    memberships, subscriptions,
};

use super::names;
use crate::{Engine, Internal};

/// How many events are read at once.
const PAGE: i64 = 500;

/// The account of a user with all that belongs to it.
#[derive(Debug)]
pub struct Export {
    /// The user.
    pub user_id: String,
    /// Documents by what they are about: `account`, `profile`, `devices`, `account_data`, `threepids`,
    /// `rooms`, `threads`, `delayed_events`, `files`.
    pub documents: Vec<(&'static str, Value)>,
    /// The rooms that the user is or was something in.
    pub rooms: Vec<String>,
    /// What the user uploaded: the id of each file, and the hash by which `engine.blobs` has its bytes.
    pub files: Vec<(String, String)>,
}

/// Reads an account, by its name or user id; `None` when there is none.
///
/// # Errors
///
/// When the database fails.
pub async fn account(engine: &Engine, given: &str) -> Result<Option<Export>, Internal> {
    let Some(account) = names::find(engine, given).await? else { return Ok(None) };
    let user = account.user_id.as_str();
    let has = |flag: i16| account.flags & flag != 0;
    let about = json!({
        "user_id": user,
        "created_ts": account.created_ts,
        "deactivated_ts": account.deactivated_ts,
        "is_admin": has(flags::ADMIN),
        "is_guest": has(flags::GUEST),
        "is_locked": has(flags::LOCKED),
        "is_suspended": has(flags::SUSPENDED),
        "is_erased": has(flags::ERASED),
    });
    let mut conn = engine.storage.read().await?;
    let profile = account_data::profile(&mut conn, user).await?;
    let data = account_data::between(&mut conn, user, -1, i64::MAX).await?;
    let threepids = threepids::of_user(&mut conn, user).await?;
    let memberships = memberships::of_user(&mut conn, user).await?;
    let devices = devices::of_user(&mut conn, user).await?;
    let threads = subscriptions::changed(&mut conn, user, 0, i64::MAX, i64::MAX).await?;
    let waiting = delayed_events::of_user(&mut conn, user).await?;
    let all = Page { order: Order::CreatedTs, backwards: false, offset: 0, limit: i64::MAX };
    let (files, _) = media::of_user(&mut conn, user, all).await?;
    drop(conn);
    let documents = vec![
        ("account", about),
        ("profile", object(profile)?),
        ("devices", devices.iter().map(device).collect()),
        ("account_data", data.iter().map(piece).collect::<Result<_, _>>()?),
        ("threepids", threepids.iter().map(threepid).collect()),
        ("rooms", memberships.iter().map(room).collect()),
        ("threads", threads.iter().map(thread).collect()),
        ("files", files.iter().map(file).collect()),
        ("delayed_events", waiting.iter().map(delayed_event).collect::<Result<_, _>>()?),
    ];
    let rooms = memberships.into_iter().map(|row| row.room_id).collect();
    let bytes = |row: MediaRow| row.hash.map(|hash| (row.media_id, hash));
    let files = files.into_iter().filter_map(bytes).collect();
    Ok(Some(Export { user_id: account.user_id, documents, rooms, files }))
}

/// The next events that a user sent to a room, each as JSON, the oldest first; `after` is where the last
/// call ended, and is moved on. Nothing is left when there is none.
///
/// # Errors
///
/// When the database fails.
pub async fn events(
    engine: &Engine,
    user: &str,
    room_id: &str,
    after: &mut (i64, String),
) -> Result<Vec<String>, Internal> {
    let mut conn = engine.storage.read().await?;
    let (since, id) = &*after;
    let rows = events::of_sender(&mut conn, room_id, user, (*since, id), PAGE).await?;
    if let Some(last) = rows.last() {
        *after = (last.origin_server_ts, last.event_id.clone());
    }
    rows.into_iter()
        .map(|row| {
            let mut event: Map<String, Value> = serde_json::from_str(&row.json)?;
            event.insert("event_id".to_owned(), row.event_id.into());
            event.insert("room_id".to_owned(), room_id.into());
            Ok(serde_json::to_string(&event)?)
        })
        .collect()
}

/// Where [`events()`] begins.
#[must_use]
pub fn beginning() -> (i64, String) {
    (i64::MIN, String::new())
}

fn object(fields: Vec<(String, String)>) -> Result<Value, Internal> {
    let field = |(name, value): (String, String)| Ok((name, serde_json::from_str(&value)?));
    Ok(Value::Object(fields.into_iter().map(field).collect::<Result<_, Internal>>()?))
}

fn device(row: &devices::DeviceRow) -> Value {
    json!({
        "device_id": row.device_id,
        "display_name": row.display_name,
        "created_ts": row.created_ts,
        "last_seen_ts": row.last_seen_ts,
        "last_seen_ip": row.last_seen_ip,
        "user_agent": row.user_agent,
    })
}

fn file(row: &MediaRow) -> Value {
    json!({
        "address": format!("mxc://{}/{}", row.origin, row.media_id),
        "content_type": row.content_type,
        "file_name": row.file_name,
        "bytes": row.size,
        "created_ts": row.created_ts,
    })
}

fn piece((room_id, kind, content): &(String, String, String)) -> Result<Value, Internal> {
    let room_id = Some(room_id).filter(|room_id| !room_id.is_empty());
    let content: Value = serde_json::from_str(content)?;
    Ok(json!({ "room_id": room_id, "type": kind, "content": content }))
}

fn threepid(row: &threepids::ThreepidRow) -> Value {
    json!({
        "medium": row.medium,
        "address": row.address,
        "validated_ts": row.validated_ts,
        "added_ts": row.added_ts,
    })
}

fn delayed_event(row: &delayed_events::DelayedEventRow) -> Result<Value, Internal> {
    Ok(json!({
        "room_id": row.room_id,
        "type": row.kind,
        "state_key": row.state_key,
        "content": serde_json::from_str::<Value>(&row.content)?,
        "due_ts": row.due_ts(),
    }))
}

fn thread(row: &subscriptions::SubscriptionRow) -> Value {
    json!({
        "room_id": row.room_id,
        "thread_root": row.thread_root,
        "automatic": row.automatic,
        "followed": row.unsubscribed_pos.is_none(),
    })
}

fn room(row: &memberships::MembershipRow) -> Value {
    json!({
        "room_id": row.room_id,
        "membership": row.membership,
        "sender": row.sender,
        "display_name": row.display_name,
        "avatar_url": row.avatar_url,
        "forgotten": row.forgotten,
    })
}
