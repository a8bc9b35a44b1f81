//! DELETE /_matrix/client/v3/room_keys/keys
//! GET /_matrix/client/v3/room_keys/keys
//! PUT /_matrix/client/v3/room_keys/keys
//! DELETE /_matrix/client/v3/room_keys/keys/{roomId}
//! GET /_matrix/client/v3/room_keys/keys/{roomId}
//! PUT /_matrix/client/v3/room_keys/keys/{roomId}
//! DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}
//! GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}
//! PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}

use std::collections::BTreeMap;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use starling_engine::{
    Internal,
    backups::{self, Pages, Session, Sessions, Which},
};

use crate::{
    answer::{Answer, json, raw_json},
    call::Call,
    error::Error,
};

#[derive(Deserialize)]
struct Query {
    version: String,
}

#[derive(Deserialize)]
struct Rooms {
    rooms: BTreeMap<String, Room>,
}

#[derive(Deserialize)]
struct Room {
    sessions: BTreeMap<String, Session>,
}

pub(crate) async fn put_all(mut call: Call) -> Answer {
    let Rooms { rooms } = call_body(&mut call).await?;
    let sessions = rooms.into_iter().map(|(room_id, room)| (room_id, room.sessions));
    put(&call, sessions.collect()).await
}

pub(crate) async fn put_room(mut call: Call) -> Answer {
    let Room { sessions } = call_body(&mut call).await?;
    let room_id = call.path_arg(0).to_owned();
    put(&call, Sessions::from([(room_id, sessions)])).await
}

pub(crate) async fn put_session(mut call: Call) -> Answer {
    let session: Session = call_body(&mut call).await?;
    let (room_id, session_id) = (call.path_arg(0).to_owned(), call.path_arg(1).to_owned());
    put(&call, Sessions::from([(room_id, BTreeMap::from([(session_id, session)]))])).await
}

/// Who asks is checked before what is said.
async fn call_body<T: serde::de::DeserializeOwned>(call: &mut Call) -> Result<T, Error> {
    call.authenticated_or_guest().await?;
    call.body_as().await
}

async fn put(call: &Call, sessions: Sessions) -> Answer {
    let user = call.authenticated_or_guest().await?.user_id;
    let Query { version } = call.query_as()?;
    json(&backups::put(&call.engine, &user, &version, sessions).await?)
}

pub(crate) async fn delete_all(call: Call) -> Answer {
    delete(&call, Which::default()).await
}

pub(crate) async fn delete_room(call: Call) -> Answer {
    delete(&call, Which { room_id: Some(call.path_arg(0)), session_id: None }).await
}

pub(crate) async fn delete_session(call: Call) -> Answer {
    let (room_id, session_id) = (Some(call.path_arg(0)), Some(call.path_arg(1)));
    delete(&call, Which { room_id, session_id }).await
}

async fn delete(call: &Call, which: Which<'_>) -> Answer {
    let user = call.authenticated_or_guest().await?.user_id;
    let Query { version } = call.query_as()?;
    json(&backups::remove_sessions(&call.engine, &user, &version, which).await?)
}

pub(crate) async fn get_session(call: Call) -> Answer {
    let user = call.authenticated_or_guest().await?.user_id;
    let Query { version } = call.query_as()?;
    let (room_id, session_id) = (call.path_arg(0), call.path_arg(1));
    json(&backups::session(&call.engine, &user, &version, room_id, session_id).await?)
}

pub(crate) async fn get_all(call: Call) -> Answer {
    get(&call, None, r#"{"rooms":{"#, "}}").await
}

pub(crate) async fn get_room(call: Call) -> Answer {
    get(&call, Some(call.path_arg(0)), r#"{"sessions":{"#, "}}").await
}

/// A backup may be larger than memory: it is sent page by page as it is read.
async fn get(call: &Call, room_id: Option<&str>, head: &str, tail: &'static str) -> Answer {
    let user = call.authenticated_or_guest().await?.user_id;
    let Query { version } = call.query_as()?;
    let pages = backups::pages(&call.engine, &user, &version, room_id).await?;
    let writer = Writer {
        pages,
        by_room: room_id.is_none(),
        room: None,
        begun: false,
        head: Some(head.to_owned()),
        tail: Some(tail),
    };
    let pieces = stream::try_unfold(writer, async |mut writer| {
        Ok::<_, Internal>(writer.next().await?.map(|piece| (piece, writer)))
    });
    raw_json(Body::from_stream(pieces))
}

/// Writes pages of sessions as JSON.
struct Writer {
    pages: Pages,
    /// Whether sessions stand in their rooms.
    by_room: bool,
    room: Option<String>,
    /// Whether a session was written where the next one comes.
    begun: bool,
    head: Option<String>,
    tail: Option<&'static str>,
}

impl Writer {
    async fn next(&mut self) -> Result<Option<Bytes>, Internal> {
        let page = self.pages.next().await?;
        let mut text = self.head.take().unwrap_or_default();
        if page.is_empty() {
            let Some(tail) = self.tail.take() else { return Ok(None) };
            if self.room.is_some() {
                text.push_str("}}");
            }
            text.push_str(tail);
        }
        for (room_id, session_id, session) in page {
            if self.by_room && self.room.as_deref() != Some(&*room_id) {
                text.push_str(if self.room.is_some() { "}}," } else { "" });
                text.push_str(&serde_json::to_string(&room_id)?);
                text.push_str(r#":{"sessions":{"#);
                (self.room, self.begun) = (Some(room_id), false);
            }
            text.push_str(if self.begun { "," } else { "" });
            self.begun = true;
            text.push_str(&serde_json::to_string(&session_id)?);
            text.push(':');
            text.push_str(&serde_json::to_string(&session)?);
        }
        Ok(Some(text.into()))
    }
}
