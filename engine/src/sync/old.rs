//! The ways to sync that were there before /sync, made of what /sync and the readers of rooms say.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync>

use std::{collections::BTreeMap, time::Duration};

use ruma::{RoomId, api::Direction};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use starling_storage::{
    account_data,
    memberships::{self, MembershipRow},
    rooms,
};

use super::{Request, answer::Answer, moment, sync};
use crate::{
    Engine, Internal,
    reading::{
        access::{Asking, ReadError, ignored_users},
        filter::{EventFilter, Filter},
        messages::{self, PageRequest},
        peek::Chunk,
        state,
        token::{PageToken, SyncToken},
    },
    rooms::membership::permission::Permission,
};

/// How many messages of a room are shown at most.
const MOST_MESSAGES: u64 = 100;

/// A /sync that leaves out all rooms.
const NO_ROOMS: &str = r#"{ "room": { "rooms": [] } }"#;

/// A /sync that shows as much of what happened as it can.
const ALL_EVENTS: &str = r#"{ "room": { "timeline": { "limit": 1000 } } }"#;

/// What happens in a user's rooms after a token, or from now on; waits for it if nothing has.
///
/// # Errors
///
/// When the database fails.
pub async fn events(
    engine: &Engine,
    asking: Asking<'_>,
    from: Option<SyncToken>,
    timeout: Duration,
) -> Result<Chunk, Internal> {
    let from = match from {
        Some(from) => from,
        None => moment::now(engine).await?,
    };
    let start = from.to_string();
    let request = Request {
        since: Some(from),
        filter: filter(ALL_EVENTS)?.into(),
        timeout,
        ..Request::default()
    };
    let answer = sync(engine, asking, request).await?;
    Ok(Chunk { chunk: flat(&answer)?, start, end: answer.next_batch })
}

fn filter(json: &str) -> Result<Filter, Internal> {
    Filter::parse(json).map_err(|error| Internal::Damaged(error.to_string()))
}

/// All events of an answer in one list, each with its room.
fn flat(answer: &Answer) -> Result<Vec<Box<RawValue>>, Internal> {
    let mut chunk = answer.presence.events.clone();
    let mut add = |room_id: &str, events: &[Box<RawValue>]| -> Result<(), Internal> {
        for event in events {
            chunk.push(placed(room_id, event)?);
        }
        Ok(())
    };
    for (room_id, room) in &answer.rooms.join {
        add(room_id, &room.timeline.events)?;
        add(room_id, &room.ephemeral.events)?;
    }
    for (room_id, room) in &answer.rooms.leave {
        add(room_id, &room.timeline.events)?;
    }
    for (room_id, room) in &answer.rooms.invite {
        // The invite itself comes last.
        add(room_id, room.invite_state.events.last().map_or(&[], std::slice::from_ref))?;
    }
    Ok(chunk)
}

fn placed(room_id: &str, event: &RawValue) -> Result<Box<RawValue>, Internal> {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(event.get())?;
    fields.insert("room_id".to_owned(), to_raw_value(room_id)?);
    Ok(to_raw_value(&fields)?)
}

/// Everything there is for a user.
#[derive(Debug, Serialize)]
pub struct Initial {
    /// Where `events` continues.
    pub end: String,
    /// Who is there.
    pub presence: Vec<Box<RawValue>>,
    /// The user's rooms.
    pub rooms: Vec<RoomInfo>,
    /// Global account data.
    pub account_data: Vec<Box<RawValue>>,
}

/// A room.
#[derive(Debug, Default, Serialize)]
pub struct RoomInfo {
    /// The room.
    pub room_id: String,
    /// What the user is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<String>,
    /// The invite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite: Option<Box<RawValue>>,
    /// What was said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Messages>,
    /// Its state, now or when the user left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<Box<RawValue>>,
    /// Whether the directory lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<&'static str>,
    /// What the user has noted about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_data: Option<Vec<Noted>>,
}

/// The end of a timeline.
#[derive(Debug, Serialize)]
pub struct Messages {
    /// The events, the oldest first.
    pub chunk: Vec<Box<RawValue>>,
    /// Where paging back continues, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Where it ends.
    pub end: String,
}

/// A piece of account data.
#[derive(Clone, Debug, Serialize)]
pub struct Noted {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its content.
    pub content: Box<RawValue>,
}

/// Everything there is for a user; `archived`: the rooms that they have left, too.
///
/// # Errors
///
/// When the database fails.
pub async fn initial(
    engine: &Engine,
    asking: Asking<'_>,
    limit: Option<u64>,
    archived: bool,
) -> Result<Initial, Internal> {
    let request = Request { filter: filter(NO_ROOMS)?.into(), ..Request::default() };
    // What happens from here on is in the rooms below or comes by `events`.
    let answer = sync(engine, asking, request).await?;
    let mut conn = engine.storage.read().await?;
    let mut rows = memberships::of_user(&mut conn, asking.user_id.as_str()).await?;
    let permission = Permission::read(&mut conn, asking.user_id).await?;
    let ignored = ignored_users(&mut conn, asking.user_id).await?;
    drop(conn);
    rows.retain(|row| row.membership != "invite" || permission.shows(&row.sender, &ignored));
    let mut rooms = Vec::new();
    for row in rows {
        rooms.extend(room_of(engine, asking, row, limit, archived).await?);
    }
    let (presence, account_data) = (answer.presence.events, answer.account_data.events);
    Ok(Initial { end: answer.next_batch, presence, rooms, account_data })
}

async fn room_of(
    engine: &Engine,
    asking: Asking<'_>,
    row: MembershipRow,
    limit: Option<u64>,
    archived: bool,
) -> Result<Option<RoomInfo>, Internal> {
    match row.membership.as_str() {
        "join" => {}
        "leave" | "ban" if archived && !row.forgotten => {}
        "invite" => return Ok(Some(invited(row)?)),
        _ => return Ok(None),
    }
    let room_id = RoomId::parse(&row.room_id)?;
    match room(engine, asking, &room_id, limit).await {
        Ok(room) => Ok(Some(room)),
        Err(ReadError::Internal(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

fn invited(row: MembershipRow) -> Result<RoomInfo, Internal> {
    let invite = to_raw_value(&serde_json::json!({
        "type": "m.room.member",
        "room_id": row.room_id,
        "event_id": row.event_id,
        "sender": row.sender,
        "state_key": row.user_id,
        "content": { "membership": "invite" },
    }))?;
    let membership = Some(row.membership);
    Ok(RoomInfo { room_id: row.room_id, membership, invite: Some(invite), ..RoomInfo::default() })
}

/// A room that a user is or was in, or that is open to the world.
///
/// # Errors
///
/// See [`ReadError`].
pub async fn room(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    limit: Option<u64>,
) -> Result<RoomInfo, ReadError> {
    let limit = limit.unwrap_or(messages::DEFAULT_LIMIT as u64).min(MOST_MESSAGES);
    let request = PageRequest {
        direction: Direction::Backward,
        from: None,
        to: None,
        limit: Some(limit),
        filter: EventFilter::default(),
    };
    let mut page = messages::page(engine, asking, room_id, request).await?;
    page.chunk.reverse();
    let state = state::all(engine, asking, room_id).await?;
    let mut conn = engine.storage.read().await?;
    let user_id = asking.user_id.as_str();
    let row = memberships::get(&mut conn, user_id, room_id.as_str()).await?;
    let published = rooms::get(&mut conn, room_id.as_str()).await?.is_some_and(|it| it.published);
    let noted = account_data::of_room(&mut conn, user_id, room_id.as_str()).await?;
    let noted = noted.into_iter().filter(|(_, content)| content != account_data::REMOVED);
    let noted = noted.map(|(kind, content)| {
        Ok(Noted { kind, content: RawValue::from_string(content).map_err(Internal::from)? })
    });
    // `start` is where the page backwards ended, and `end` where it began.
    let messages = Messages { chunk: page.chunk, start: page.end, end: page.start };
    Ok(RoomInfo {
        room_id: room_id.to_string(),
        membership: row.map(|row| row.membership),
        messages: Some(messages),
        state,
        visibility: Some(if published { "public" } else { "private" }),
        account_data: Some(noted.collect::<Result<_, Internal>>()?),
        invite: None,
    })
}

/// The position that a token of `events` stands for, in one room.
#[must_use]
pub fn position(token: PageToken) -> Option<i64> {
    match token {
        PageToken::Position(pos) => Some(pos),
        PageToken::Place { .. } => None,
    }
}
