//! Rooms that may be joined by who is in another room: whether a user may, and who lets them in.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms>

use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    events::{StateEventType, room::member::MembershipState},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use starling_storage::{memberships, rooms::partial};

use super::{
    batch::Batch,
    power::{self, Action, Powers},
    serve::access,
    visibility::membership_of,
};
use crate::{Engine, internal::Internal};

/// How many rooms of an `allow` list are looked at.
const MAX_ALLOWED: usize = 100;

/// Whether a user may join on account of another room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The room's rules do not ask for it, or the user was invited or is in the room already.
    NotNeeded,
    /// This user of ours lets them in.
    By(OwnedUserId),
    /// They are in none of the rooms.
    Refused,
    /// There are rooms about which this server knows nothing: another server may tell.
    CannotTell,
    /// They may, but nobody of ours has the power to let them in: another server may.
    NobodyMay,
}

#[derive(Deserialize)]
struct JoinRules {
    join_rule: String,
    #[serde(default)]
    allow: Value,
}

/// Whether a user may join the batch's room, as it is now.
///
/// # Errors
///
/// When the database fails.
pub async fn grant(batch: &Batch, user_id: &UserId) -> Result<Grant, Internal> {
    let rules_key = (StateEventType::RoomJoinRules, String::new());
    let member_key = (StateEventType::RoomMember, user_id.to_string());
    let mut keys = power::state_keys().to_vec();
    keys.extend([rules_key.clone(), member_key.clone()]);
    let state = batch.state(batch.room.row.current_state, &keys).await?;
    let membership = membership_of(state.get(&member_key).map(|pdu| &**pdu));
    let restricted = state.get(&rules_key).and_then(|pdu| restricted(&pdu.content));
    let Some(allowed) = restricted else { return Ok(Grant::NotNeeded) };
    if matches!(membership, MembershipState::Join | MembershipState::Invite) {
        return Ok(Grant::NotNeeded);
    }
    match is_in_one(&batch.engine, user_id, &allowed).await? {
        Some(true) => {}
        Some(false) => return Ok(Grant::Refused),
        None => return Ok(Grant::CannotTell),
    }
    let powers = Powers::new(&state, &batch.room.rules().authorization);
    let who = who_may_invite(&batch.engine, &batch.room.id, &powers).await?;
    Ok(who.map_or(Grant::NobodyMay, Grant::By))
}

/// The rooms whose members may join, if the join rules are of that kind.
pub(crate) fn restricted(content: &RawValue) -> Option<Vec<OwnedRoomId>> {
    let rules: JoinRules = serde_json::from_str(content.get()).ok()?;
    if !matches!(&*rules.join_rule, "restricted" | "knock_restricted") {
        return None;
    }
    let room = |condition: &Value| {
        let kind = condition.get("type").and_then(Value::as_str);
        let room_id = condition.get("room_id").and_then(Value::as_str)?;
        OwnedRoomId::try_from(room_id).ok().filter(|_| kind == Some("m.room_membership"))
    };
    let allow = rules.allow.as_array().map(Vec::as_slice).unwrap_or_default();
    Some(allow.iter().filter_map(room).take(MAX_ALLOWED).collect())
}

/// Whether a user is in one of the rooms; `None` when this server is not in all of them.
async fn is_in_one(
    engine: &Engine,
    user_id: &UserId,
    rooms: &[OwnedRoomId],
) -> Result<Option<bool>, Internal> {
    let mut outside = false;
    for room_id in rooms {
        if !access::is_in_room(engine, room_id, &engine.config.server_name).await? {
            outside = true;
            continue;
        }
        let mut conn = engine.storage.read().await?;
        let row = memberships::get(&mut conn, user_id.as_str(), room_id.as_str()).await?;
        // While not all members are known, those of other servers are believed in too easily.
        let is_partial = partial::is_partial(&mut conn, room_id.as_str()).await?;
        outside |= is_partial;
        let is_known = !is_partial || user_id.server_name() == engine.config.server_name;
        if is_known && row.is_some_and(|row| row.membership == "join") {
            return Ok(Some(true));
        }
    }
    Ok((!outside).then_some(false))
}

async fn who_may_invite(
    engine: &Engine,
    room_id: &RoomId,
    powers: &Powers,
) -> Result<Option<OwnedUserId>, Internal> {
    let mut conn = engine.storage.read().await?;
    let users = memberships::local_joined(&mut conn, room_id.as_str()).await?;
    let users = users.into_iter().filter_map(|user| OwnedUserId::try_from(user).ok());
    Ok(users.into_iter().find(|user| powers.allow(user, Action::Invite)))
}
