//! Bringing users into rooms, and power to them.

use std::collections::BTreeMap;

use ruma::{
    OwnedServerName, OwnedUserId, RoomId, UserId,
    events::{StateEventType, TimelineEventType, room::power_levels::UserPowerLevel},
};
use serde_json::{Map, Value, value::to_raw_value};
use starling_storage::memberships;

use crate::{
    Engine, Internal,
    rooms::{
        batch::Batch,
        membership::{
            MembershipError,
            content::Member,
            invite::{self, Invite},
            join::{self, Join},
            local,
        },
        power::{self, Powers},
        room,
        send::{self, SendError, SetState},
    },
};

/// The power of who administers a room whose creators have no number.
const USUAL_LEVEL: i64 = 100;

/// Why a user is not brought into a room, or gets no power there.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The user is of another server.
    #[error("the user is not of this server")]
    NotOurs,
    /// The room is not known.
    #[error("there is no such room")]
    UnknownRoom,
    /// Nobody of this deployment who is in the room may give power.
    #[error("nobody of this server has the power for it")]
    Powerless,
    /// The room refuses it.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The room refuses it.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Has a user of this deployment join a room. If the room wants an invite and the administrator may
/// give one, they do.
///
/// # Errors
///
/// [`MemberError`].
pub async fn join(
    engine: &Engine,
    by: &UserId,
    user_id: &UserId,
    room_id: &RoomId,
    via: Vec<OwnedServerName>,
) -> Result<(), MemberError> {
    if user_id.server_name() != engine.config.server_name {
        return Err(MemberError::NotOurs);
    }
    let join = || Join { user_id, room_id, via: via.clone(), reason: None, more: Map::new() };
    match join::join(engine, join()).await {
        Ok(_) => return Ok(()),
        Err(error @ MembershipError::Forbidden(_)) => {
            let own = local::membership(engine, by, room_id).await?;
            if own.is_none_or(|own| own.membership != "join") {
                return Err(error.into());
            }
        }
        Err(error) => return Err(error.into()),
    }
    let member = Member::default();
    invite::invite(engine, Invite { room_id, sender: by, target: user_id, member }).await?;
    join::join(engine, join()).await?;
    Ok(())
}

/// Gives a user the highest power that somebody of this deployment has in a room, and invites them
/// where they cannot join by themselves.
///
/// # Errors
///
/// [`MemberError`].
pub async fn make_admin(
    engine: &Engine,
    room_id: &RoomId,
    user_id: &UserId,
) -> Result<(), MemberError> {
    let room = room::load(engine, room_id).await?.ok_or(MemberError::UnknownRoom)?;
    let batch = Batch::new(engine, &room);
    let [levels, create] = power::state_keys();
    let rules = (StateEventType::RoomJoinRules, String::new());
    let member = (StateEventType::RoomMember, user_id.to_string());
    let keys = [levels.clone(), create, rules.clone(), member.clone()];
    let state = batch.state(room.row.current_state, &keys).await?;
    let powers = Powers::new(&state, &room.rules().authorization);
    let giver = giver(engine, room_id, &powers).await?.ok_or(MemberError::Powerless)?;
    let level = match powers.of(&giver) {
        UserPowerLevel::Int(level) => i64::from(level),
        _ => USUAL_LEVEL,
    };
    if powers.of(user_id) < UserPowerLevel::Int(level.try_into().unwrap_or_default()) {
        let content = state.get(&levels).map(|event| event.content.clone());
        let content = content.map(|content| serde_json::from_str(content.get())).transpose();
        let mut content: BTreeMap<String, Value> =
            content.map_err(Internal::from)?.unwrap_or_default();
        let users = content.entry("users".to_owned()).or_insert_with(|| Map::new().into());
        if let Value::Object(users) = users {
            users.insert(user_id.to_string(), level.into());
        }
        let set = SetState {
            room_id: room_id.to_owned(),
            sender: giver.clone(),
            kind: levels.0,
            state_key: String::new(),
            content: to_raw_value(&content).map_err(Internal::from)?,
            ts: None,
        };
        send::state(engine, set).await?;
    }
    let membership = state.get(&member).and_then(|event| event.content_str("membership"));
    let is_open = state.get(&rules).and_then(|event| event.content_str("join_rule")).as_deref()
        == Some("public");
    if !is_open && !matches!(membership.as_deref(), Some("join" | "invite")) {
        let member = Member::default();
        let invite = Invite { room_id, sender: &giver, target: user_id, member };
        invite::invite(engine, invite).await?;
    }
    Ok(())
}

/// Who of this deployment has most power in a room, of those who may change the power levels.
async fn giver(
    engine: &Engine,
    room_id: &RoomId,
    powers: &Powers,
) -> Result<Option<OwnedUserId>, Internal> {
    let mut conn = engine.storage.read().await?;
    let joined = memberships::local_joined(&mut conn, room_id.as_str()).await?;
    drop(conn);
    let may =
        |user: &OwnedUserId| powers.allow_event(user, &TimelineEventType::RoomPowerLevels, true);
    let able = joined.into_iter().filter_map(|user| user.try_into().ok()).filter(may);
    Ok(able.max_by_key(|user| powers.of(user)))
}
