//! The state of a room and its members, as somebody may read them: as they are now, or as they were
//! when the reader left.

use std::sync::Arc;

use ruma::{
    RoomId,
    events::{StateEventType, room::member::MembershipState},
};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::{
    memberships,
    rooms::{self, partial},
    state as rows,
};

use super::{
    access::{Asking, ReadError, wait_for_members},
    reader::Reader,
    show::Form,
};
use crate::{
    Engine, Internal, events::StoredEvent, rooms::visibility::membership_of, state::EMPTY_ROOT,
};

/// How many of a room's first states are looked through for members. A room begins with its creation
/// and the join of who made it.
const FIRST_STATES: i64 = 5;

/// All state events that somebody may read.
///
/// # Errors
///
/// See [`ReadError`].
pub async fn all(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
) -> Result<Vec<Box<RawValue>>, ReadError> {
    let reader = asking.member(engine, room_id).await?;
    wait_for_members(engine, room_id).await?;
    let root = reader.current_root().await?;
    let events = reader.state(root).await?;
    Ok(reader.show_state(&events, &Form::whole()).await?)
}

/// In which form a state event is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its content.
    Content,
    /// The whole event.
    Event,
}

/// One state event.
///
/// # Errors
///
/// See [`ReadError`].
pub async fn one(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    kind: StateEventType,
    state_key: &str,
    part: Part,
) -> Result<Box<RawValue>, ReadError> {
    let reader = asking.member(engine, room_id).await?;
    if kind == StateEventType::RoomMember && state_key != asking.user_id.as_str() {
        wait_for_members(engine, room_id).await?;
    }
    let root = reader.current_root().await?;
    let event = reader.state_event(root, kind, state_key).await?.ok_or(ReadError::NoSuchEvent)?;
    if part == Part::Content {
        return Ok(event.pdu.content.clone());
    }
    let shown = reader.show_state(std::slice::from_ref(&event), &Form::whole()).await?;
    shown.into_iter().next().ok_or(ReadError::NoSuchEvent)
}

/// Which members are wanted.
#[derive(Clone, Debug)]
pub struct WantedMembers {
    /// As they were at this position; the greatest for now.
    pub at: i64,
    /// Those with this membership, ...
    pub membership: Option<MembershipState>,
    /// ... and those with another membership than this.
    pub not_membership: Option<MembershipState>,
}

/// The member events of a room, as somebody may read them.
///
/// # Errors
///
/// See [`ReadError`]; [`ReadError::Forbidden`] also when the room's history was not open to the user
/// at the position.
pub async fn members(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
    wanted: &WantedMembers,
) -> Result<Vec<Box<RawValue>>, ReadError> {
    let mut reader = asking.member(engine, room_id).await?;
    wait_for_members(engine, room_id).await?;
    let root = reader.root_at(wanted.at).await?.ok_or(ReadError::Forbidden)?;
    let mut events = reader.state(root).await?;
    events.retain(|event| is_wanted(event, wanted));
    Ok(reader.show_state(&events, &Form::whole()).await?)
}

fn is_wanted(event: &Arc<StoredEvent>, wanted: &WantedMembers) -> bool {
    let Some((StateEventType::RoomMember, _)) = event.pdu.key() else { return false };
    let membership = membership_of(Some(&event.pdu));
    match (&wanted.membership, &wanted.not_membership) {
        (None, None) => true,
        // "When specified alongside `not_membership`, the two parameters create an 'or' condition".
        (is, is_not) => {
            is.as_ref().is_some_and(|it| *it == membership)
                || is_not.as_ref().is_some_and(|it| *it != membership)
        }
    }
}

/// A joined member, as others see them.
#[derive(Clone, Debug, Serialize)]
pub struct JoinedMember {
    /// Who.
    #[serde(skip)]
    pub user_id: String,
    /// Their display name in the room. Clients expect a null where there is none.
    pub display_name: Option<String>,
    /// Their avatar in the room.
    pub avatar_url: Option<String>,
}

/// Who is joined to a room. For who is so themselves.
///
/// # Errors
///
/// See [`ReadError`].
pub async fn joined_members(
    engine: &Engine,
    asking: Asking<'_>,
    room_id: &RoomId,
) -> Result<Vec<JoinedMember>, ReadError> {
    let mut conn = engine.storage.read().await?;
    let own = memberships::get(&mut conn, asking.user_id.as_str(), room_id.as_str()).await?;
    if own.is_none_or(|own| own.membership != "join") {
        return Err(ReadError::Forbidden);
    }
    drop(conn);
    wait_for_members(engine, room_id).await?;
    let mut conn = engine.storage.read().await?;
    let rows = memberships::of_room(&mut conn, room_id.as_str(), &["join".to_owned()]).await?;
    let member = |row: memberships::MembershipRow| JoinedMember {
        user_id: row.user_id,
        display_name: row.display_name,
        avatar_url: row.avatar_url,
    };
    Ok(rows.into_iter().map(member).collect())
}

impl Reader {
    /// Root of the room's state as it is, or was when the reader left.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn current_root(&self) -> Result<i64, Internal> {
        let mut conn = self.engine.storage.read().await?;
        let Some(left) = self.joined_until().filter(|until| *until < i64::MAX) else {
            let room = rooms::get(&mut conn, self.room_id.as_str()).await?;
            return Ok(room.map_or(EMPTY_ROOT, |room| room.current_state));
        };
        let roots = rows::roots_at(&mut conn, &[self.room_id.to_string()], left).await?;
        Ok(roots.into_iter().next().map_or(EMPTY_ROOT, |(_, root)| root))
    }

    /// Root of the room's state at a position, or where the reader left the room if that was before;
    /// `None` when they may not know it.
    async fn root_at(&mut self, at: i64) -> Result<Option<i64>, Internal> {
        if at >= self.joined_until().unwrap_or(i64::MAX) {
            return self.current_root().await.map(Some);
        }
        let mut conn = self.engine.storage.read().await?;
        // Of a time when most members were not known, what was learnt of them then is told.
        let completed = partial::completed_after(&mut conn, self.room_id.as_str(), at).await?;
        let at = completed.unwrap_or(at);
        let roots = rows::roots_at(&mut conn, &[self.room_id.to_string()], at).await?;
        drop(conn);
        let root = match roots.into_iter().next() {
            Some((_, root)) => root,
            None => self.first_root().await?,
        };
        Ok(self.sees_state(root, at).await?.then_some(root))
    }

    /// Root of the first state of the room that is known here and has members: what comes closest to
    /// that at a token from before it, such as the one that stands before a whole timeline.
    async fn first_root(&self) -> Result<i64, Internal> {
        let mut conn = self.engine.storage.read().await?;
        let roots = rows::first_roots(&mut conn, self.room_id.as_str(), FIRST_STATES).await?;
        drop(conn);
        for root in &roots {
            let entries = self.snapshots.entries(*root).await?;
            if entries.iter().any(|((kind, _), _)| *kind == StateEventType::RoomMember) {
                return Ok(*root);
            }
        }
        Ok(roots.last().copied().unwrap_or(EMPTY_ROOT))
    }
}
