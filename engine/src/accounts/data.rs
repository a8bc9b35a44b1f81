//! Account data: what clients keep here for a user, for all rooms or for one; tags among it.

use ruma::{RoomId, UserId};
use serde_json::{Map, Value, value::RawValue};
use starling_storage::{
    At, Change, Claim, CommitError, Fact,
    account_data::{self as rows, Expected, Write},
    memberships, unread,
};

use crate::{
    Engine, Internal,
    push::{reach, rules},
};

/// How long the type of account data or the name of a tag may be, in bytes.
const LONGEST_NAME: usize = 255;

/// How many pieces of account data a user may have.
const MOST: i64 = 10_000;

/// How many tags a room may have.
const MOST_TAGS: usize = 100;

/// How often a change is made again when another one came between.
const TRIES: usize = 10;

/// The type that holds the tags of a room.
const TAGS: &str = "m.tag";

/// Why account data are not set.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// The server sets that type itself.
    #[error("{0} is not set this way")]
    ServerControlled(String),
    /// The type's or the tag's name is empty or too long.
    #[error("the name is empty or too long")]
    BadName,
    /// The user has never been in that room.
    #[error("you are not in this room")]
    NotInRoom,
    /// The user has too much already.
    #[error("there is too much already")]
    TooMuch,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Account data of a user: for that room, or for all without one.
///
/// # Errors
///
/// When the database fails.
pub async fn get(
    engine: &Engine,
    user: &UserId,
    room: Option<&RoomId>,
    kind: &str,
) -> Result<Option<Box<RawValue>>, Internal> {
    let mut conn = engine.storage.read().await?;
    let found = rows::get(&mut conn, user.as_str(), name_of(room), kind).await?;
    let found = found.filter(|content| content != rows::REMOVED);
    if room.is_none() && kind == rules::KIND {
        return Ok(Some(rules::content(engine.config.push, user, found.as_deref())?));
    }
    Ok(found.map(RawValue::from_string).transpose()?)
}

/// Sets account data of a user; `content` is a JSON object. An empty one removes them, of which the
/// user's clients hear as of any content.
///
/// <https://github.com/matrix-org/matrix-spec-proposals/pull/3391>
///
/// # Errors
///
/// [`SetError`].
pub async fn set(
    engine: &Engine,
    user: &UserId,
    room: Option<&RoomId>,
    kind: &str,
    content: String,
) -> Result<(), SetError> {
    if matches!(kind, "m.fully_read" | rules::KIND) {
        return Err(SetError::ServerControlled(kind.to_owned()));
    }
    check(engine, user, room, kind).await?;
    let content = if is_empty(&content) { rows::REMOVED.to_owned() } else { content };
    let mut change = Change::new();
    let ignored = (room.is_none() && kind == rules::IGNORED).then(|| rules::ignored_in(&content));
    let at = put(&mut change, user, room, kind, content);
    if let Some(ignored) = ignored {
        // Whom a user ignores, does not notify them.
        let rooms = if ignored.is_empty() { vec![] } else { vec![reach::EVERYWHERE.to_owned()] };
        let user_id = user.to_string();
        change.write(unread::Write::Reach { user_id, source: "ignored", rooms, at });
    }
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

/// Removes account data of a user. What is not there is not removed again.
///
/// # Errors
///
/// [`SetError`].
pub async fn remove(
    engine: &Engine,
    user: &UserId,
    room: Option<&RoomId>,
    kind: &str,
) -> Result<(), SetError> {
    let is_there = get(engine, user, room, kind).await?.is_some();
    match is_there || matches!(kind, "m.fully_read" | rules::KIND) {
        true => set(engine, user, room, kind, rows::REMOVED.to_owned()).await,
        false => Ok(()),
    }
}

fn is_empty(content: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(content).is_ok_and(|content| content.is_empty())
}

/// The tags of a room, by name.
///
/// # Errors
///
/// When the database fails.
pub async fn tags(
    engine: &Engine,
    user: &UserId,
    room: &RoomId,
) -> Result<Map<String, Value>, Internal> {
    let mut conn = engine.storage.read().await?;
    let found = rows::get(&mut conn, user.as_str(), room.as_str(), TAGS).await?;
    Ok(found.map_or_else(Map::new, |content| tags_of(&content)))
}

/// Sets a tag of a room, or removes it.
///
/// # Errors
///
/// [`SetError`].
pub async fn set_tag(
    engine: &Engine,
    user: &UserId,
    room: &RoomId,
    tag: &str,
    value: Option<Value>,
) -> Result<(), SetError> {
    if tag.is_empty() || tag.len() > LONGEST_NAME {
        return Err(SetError::BadName);
    }
    check(engine, user, Some(room), TAGS).await?;
    for _ in 0..TRIES {
        match try_set_tag(engine, user, room, tag, value.clone()).await {
            Err(SetError::Internal(Internal::Commit(CommitError::Conflict))) => {}
            other => return other,
        }
    }
    Err(Internal::from(CommitError::Conflict).into())
}

async fn try_set_tag(
    engine: &Engine,
    user: &UserId,
    room: &RoomId,
    tag: &str,
    value: Option<Value>,
) -> Result<(), SetError> {
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let found = rows::get_with_pos(&mut conn, user.as_str(), room.as_str(), TAGS).await;
    drop(conn);
    let (content, pos) = found.map_err(Internal::from)?.unwrap_or_default();
    let mut tags = tags_of(&content);
    match value {
        Some(value) => tags.insert(tag.to_owned(), value),
        None => tags.remove(tag),
    };
    if tags.len() > MOST_TAGS {
        return Err(SetError::TooMuch);
    }
    let mut change = Change::new();
    change.claim(Claim::AccountData(Expected {
        user_id: user.to_string(),
        room_id: room.to_string(),
        kind: TAGS.to_owned(),
        pos,
    }));
    let content = serde_json::json!({ "tags": tags }).to_string();
    put(&mut change, user, Some(room), TAGS, content);
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

/// The tags in a content, which a client may have set in some other form.
fn tags_of(content: &str) -> Map<String, Value> {
    match serde_json::from_str::<Map<String, Value>>(content).map(|mut c| c.remove("tags")) {
        Ok(Some(Value::Object(tags))) => tags,
        _ => Map::new(),
    }
}

async fn check(
    engine: &Engine,
    user: &UserId,
    room: Option<&RoomId>,
    kind: &str,
) -> Result<(), SetError> {
    if kind.is_empty() || kind.len() > LONGEST_NAME {
        return Err(SetError::BadName);
    }
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    if let Some(room) = room {
        let row = memberships::get(&mut conn, user.as_str(), room.as_str()).await;
        if row.map_err(Internal::from)?.is_none() {
            return Err(SetError::NotInRoom);
        }
    }
    let known = rows::get(&mut conn, user.as_str(), name_of(room), kind).await;
    if known.map_err(Internal::from)?.is_none() {
        let count = rows::count(&mut conn, user.as_str()).await.map_err(Internal::from)?;
        if count >= MOST {
            return Err(SetError::TooMuch);
        }
    }
    Ok(())
}

fn put(
    change: &mut Change,
    user: &UserId,
    room: Option<&RoomId>,
    kind: &str,
    content: String,
) -> At {
    let (user_id, room_id, kind) = (user.to_string(), name_of(room).to_owned(), kind.to_owned());
    let at = change.fact(Fact::AccountData {
        user_id: user_id.clone(),
        room_id: room_id.clone(),
        kind: kind.clone(),
    });
    change.write(Write::Put { user_id, room_id, kind, content, at });
    at
}

fn name_of(room: Option<&RoomId>) -> &str {
    room.map_or("", RoomId::as_str)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use ruma::room_id;
    use serde_json::json;
    use starling_storage::memberships::MembershipRow;

    use super::*;
    use crate::testing::on_each_database;

    #[tokio::test]
    async fn no_tag_is_lost_when_several_are_set_at_once() {
        on_each_database(async |test| {
            let (user, _) = test.user("alice").await.unwrap();
            let room = room_id!("!room:test");
            let mut change = Change::new();
            let (user_id, room_id) = (user.to_string(), room.to_string());
            let fact = Fact::Membership { user_id: user_id.clone(), room_id: room_id.clone() };
            let at = change.fact(fact);
            let row = MembershipRow { user_id, room_id, ..MembershipRow::default() };
            change.write(memberships::Write::Put { row, at });
            test.engine.storage.commit(change).await.unwrap();

            let names: Vec<String> = (0..8).map(|number| format!("u.{number}")).collect();
            let set = names
                .iter()
                .map(|tag| set_tag(&test.engine, &user, room, tag, Some(json!({ "order": 0.5 }))));
            for outcome in join_all(set).await {
                outcome.unwrap();
            }
            assert_eq!(tags(&test.engine, &user, room).await.unwrap().len(), 8);
            set_tag(&test.engine, &user, room, "u.3", None).await.unwrap();
            assert_eq!(tags(&test.engine, &user, room).await.unwrap().len(), 7);
            test
        })
        .await
        .unwrap();
    }
}
