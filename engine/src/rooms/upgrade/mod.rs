//! Upgrading a room: a new one takes its place. What happens in both rooms is one change, so there is
//! never half an upgrade.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>

mod copied;

mod power_levels;

use std::{sync::Arc, time::Duration};

use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, RoomVersionId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};
use starling_storage::rooms as rows;

use self::copied::Old;
use super::{
    append::{self, Disposition, NewEvent},
    authorize::Denied,
    batch::{Batch, BatchError, MAX_ATTEMPTS},
    build::{self, BuildError, Draft},
    create::{self, CreateError, CreateRoom, Preset},
    membership::content::Member,
    partial,
    room::{self, Room, RoomGuard, RoomPlace},
    versions,
};
use crate::{Engine, events::Pdu, internal::Internal, presence};

/// How many additional creators one may name.
const MAX_CREATORS: usize = 100;

/// How long it is waited for the members of a room that was joined without them.
const PATIENCE: Duration = Duration::from_secs(60);

/// An upgrade that is wanted.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who upgrades it.
    pub user_id: OwnedUserId,
    /// The version of the new room.
    pub version: RoomVersionId,
    /// Who else counts as a creator of the new room, where the version has such.
    pub additional_creators: Vec<OwnedUserId>,
}

/// Why a room was not upgraded.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The room version is not supported.
    #[error("the room version is not supported")]
    UnsupportedVersion,
    /// The user is not in the room, or may not upgrade it.
    #[error("{0}")]
    Forbidden(String),
    /// There is more to take along than this server does at once.
    #[error("{0}")]
    TooMuch(String),
    /// The new room would not be allowed to become what the old one is.
    #[error("{0}")]
    InvalidState(String),
    /// Not all of its members are known, and with them who is banned.
    #[error("the members of the room are not known yet")]
    Incomplete,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<BuildError> for UpgradeError {
    fn from(error: BuildError) -> Self {
        CreateError::from(error).into()
    }
}

impl From<CreateError> for UpgradeError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Internal(error) => Self::Internal(error),
            CreateError::TooMuch(reason) => Self::TooMuch(reason),
            error => Self::InvalidState(error.to_string()),
        }
    }
}

/// Upgrades a room, and gives back the ID of the new one.
///
/// # Errors
///
/// See [`UpgradeError`].
pub async fn upgrade(engine: &Engine, upgrade: &Upgrade) -> Result<OwnedRoomId, UpgradeError> {
    let rules = versions::rules(&upgrade.version).ok_or(UpgradeError::UnsupportedVersion)?;
    if upgrade.additional_creators.len() > MAX_CREATORS {
        return Err(UpgradeError::TooMuch(format!("more than {MAX_CREATORS} creators")));
    }
    let outside = || UpgradeError::Forbidden("you are not in this room".to_owned());
    if !partial::wait(engine, &upgrade.room_id, PATIENCE).await? {
        return Err(UpgradeError::Incomplete);
    }
    let mut old = room::lock(engine, &upgrade.room_id).await?.ok_or_else(outside)?;
    for _ in 0..MAX_ATTEMPTS {
        if let Some(room_id) = attempt(engine, &mut old, upgrade, &rules).await? {
            drop(old);
            presence::note_active(engine, &upgrade.user_id).await;
            return Ok(room_id);
        }
    }
    Err(Internal::Damaged(format!("{} changes too fast", upgrade.room_id)).into())
}

/// `None` when something changed meanwhile.
async fn attempt(
    engine: &Engine,
    old: &mut RoomGuard,
    upgrade: &Upgrade,
    rules: &RoomVersionRules,
) -> Result<Option<OwnedRoomId>, UpgradeError> {
    let mut batch = Batch::new(engine, old);
    let (place, create) = replace(&mut batch, upgrade, rules).await?;
    let state = Old::read(&batch, upgrade, rules).await?;
    lock_up(&mut batch, upgrade, &state).await?;

    let new = Room::new(create.room_id.clone(), upgrade.version.clone(), rules.clone());
    let (begun, mut batch) = batch.go_on_with_new(&new);
    furnish(&mut batch, create, upgrade, &state).await?;
    move_names(&mut batch, &upgrade.room_id, state.published);
    let new_id = new.id.clone();
    match batch.commit_with(&mut place.put(new), begun, old).await {
        Ok(_) => Ok(Some(new_id)),
        Err(BatchError::Conflict | BatchError::NameTaken) => Ok(None),
        Err(BatchError::Internal(error)) => Err(error.into()),
        Err(error) => Err(Internal::Damaged(error.to_string()).into()),
    }
}

/// Makes the create event, and says in the old room which one takes its place. Each of the two events
/// names the other as far as it can: since version 12 the create event makes the room's ID.
async fn replace(
    batch: &mut Batch,
    upgrade: &Upgrade,
    rules: &RoomVersionRules,
) -> Result<(RoomPlace, Arc<Pdu>), UpgradeError> {
    let engine = batch.engine.clone();
    let mut wanted = wanted(batch, upgrade, rules).await?;
    if !rules.event_format.require_room_create_room_id {
        let free = create::free_place(&engine, &wanted, &upgrade.version, rules).await?;
        bury(batch, upgrade, &free.1.room_id).await?;
        return Ok(free);
    }
    let room_id = create::new_id(&engine)?;
    let tombstone = bury(batch, upgrade, &room_id).await?;
    if let Some(Value::Object(predecessor)) = wanted.creation_content.get_mut("predecessor") {
        predecessor.insert("event_id".to_owned(), tombstone.as_str().into());
    }
    let (version, ts) = (&upgrade.version, engine.clock.now_ms());
    let create = create::create_event(&engine, &wanted, version, rules, Some(&room_id), ts)?;
    Ok((room::place(&engine, &room_id).await, create))
}

/// The new room, as far as its create event says what it is.
async fn wanted(
    batch: &Batch,
    upgrade: &Upgrade,
    rules: &RoomVersionRules,
) -> Result<CreateRoom, UpgradeError> {
    let key = (StateEventType::RoomCreate, String::new());
    let state = batch.state(batch.room.row.current_state, std::slice::from_ref(&key)).await?;
    let content = state.get(&key).map(|create| create.content.get()).unwrap_or("{}");
    let old: Map<String, Value> = serde_json::from_str(content).map_err(Internal::from)?;
    let mut content = Map::new();
    // "a `type` field which is copied from the `predecessor` room"; what keeps other servers out
    // must not be lost either.
    for field in ["type", "m.federate"] {
        content.extend(old.get(field).map(|value| (field.to_owned(), value.clone())));
    }
    content.insert("predecessor".to_owned(), json!({ "room_id": upgrade.room_id }));
    if rules.authorization.additional_room_creators && !upgrade.additional_creators.is_empty() {
        content.insert("additional_creators".to_owned(), json!(upgrade.additional_creators));
    }
    Ok(CreateRoom {
        creator: upgrade.user_id.clone(),
        version: Some(upgrade.version.clone()),
        preset: Preset::PrivateChat,
        published: false,
        alias: None,
        name: None,
        topic: None,
        invite: vec![],
        is_direct: false,
        creation_content: content,
        initial_state: vec![],
        power_level_content_override: Map::new(),
    })
}

/// Sends the tombstone, which the user must be allowed to.
async fn bury(
    batch: &mut Batch,
    upgrade: &Upgrade,
    new: &RoomId,
) -> Result<OwnedEventId, UpgradeError> {
    let content = json!({ "body": "This room has been replaced", "replacement_room": new });
    let draft = draft(upgrade, StateEventType::RoomTombstone, "", &content)?;
    match build::author(batch, &draft).await {
        Ok(pdu) => Ok(pdu.event_id.clone()),
        Err(BuildError::Denied(Denied::Event(reason) | Denied::State(reason))) => {
            Err(UpgradeError::Forbidden(reason))
        }
        Err(error) => Err(error.into()),
    }
}

/// Keeps people from going on in the old room, and takes from it the names that it loses. The user
/// may not be allowed to do either, which does not keep the room from being upgraded.
async fn lock_up(batch: &mut Batch, upgrade: &Upgrade, state: &Old) -> Result<(), UpgradeError> {
    let rules = batch.room.rules().authorization.clone();
    let levels = state.levels.as_deref();
    if let Some(levels) = levels.and_then(|levels| power_levels::locked(levels, &rules)) {
        let levels = Value::Object(levels);
        try_author(batch, &draft(upgrade, StateEventType::RoomPowerLevels, "", &levels)?).await?;
    }
    if let Some(content) = state.aliases_left.clone() {
        let kind = TimelineEventType::RoomCanonicalAlias;
        let draft = Draft::state(upgrade.user_id.clone(), kind, "", content);
        try_author(batch, &draft).await?;
    }
    Ok(())
}

async fn try_author(batch: &mut Batch, draft: &Draft) -> Result<(), UpgradeError> {
    match build::author(batch, draft).await {
        Ok(_) => Ok(()),
        Err(BuildError::Internal(error)) => Err(error.into()),
        Err(error) => {
            tracing::info!(%error, room.id = %batch.room.id, event.kind = %draft.kind,
                "An event is left out of the upgrade of a room");
            Ok(())
        }
    }
}

/// Whether a room is as safe as before without a state event of this kind: it only says what the room
/// is called or lists.
fn may_be_left_out(kind: &StateEventType) -> bool {
    matches!(
        kind,
        StateEventType::RoomName
            | StateEventType::RoomTopic
            | StateEventType::RoomAvatar
            | StateEventType::RoomCanonicalAlias
            | StateEventType::SpaceChild
    )
}

/// Puts into the new room what the old one had; where that would let in or lay open what the old one
/// did not, the room is not upgraded. The power levels come last: before them the creator may do
/// everything, whatever they may do afterwards.
async fn furnish(
    batch: &mut Batch,
    create: Arc<Pdu>,
    upgrade: &Upgrade,
    state: &Old,
) -> Result<(), UpgradeError> {
    let new = NewEvent {
        pdu: create,
        state_before: Some(0),
        disposition: Disposition::Accepted,
        redacted_by: None,
        local: true,
    };
    append::append(batch, new).await?;
    let user_id = &upgrade.user_id;
    let join = Member::default().content(&batch.engine, user_id, "join").await?;
    let kind = TimelineEventType::RoomMember;
    build::author(batch, &Draft::state(user_id.clone(), kind, user_id.as_str(), join)).await?;
    for (kind, state_key, content) in &state.copied {
        let event_kind = TimelineEventType::from(kind.clone());
        let draft = Draft::state(user_id.clone(), event_kind, state_key, content.clone());
        match may_be_left_out(kind) {
            true => try_author(batch, &draft).await?,
            false => drop(build::author(batch, &draft).await?),
        }
    }
    let levels = draft(upgrade, StateEventType::RoomPowerLevels, "", &state.new_levels)?;
    build::author(batch, &levels).await?;
    Ok(())
}

/// Gives the aliases and the place in the directory to the new room.
fn move_names(batch: &mut Batch, old: &RoomId, published: bool) {
    let (from, to) = (old.to_string(), batch.room.id.to_string());
    batch.change.write(rows::Write::MoveAliases { from: from.clone(), to: Some(to.clone()) });
    if published {
        batch.change.write(rows::Write::Published { room_id: from, published: false });
        batch.change.write(rows::Write::Published { room_id: to, published: true });
    }
}

fn draft(
    upgrade: &Upgrade,
    kind: StateEventType,
    state_key: &str,
    content: &impl serde::Serialize,
) -> Result<Draft, Internal> {
    let content: Box<RawValue> = to_raw_value(content)?;
    let kind = TimelineEventType::from(kind);
    Ok(Draft::state(upgrade.user_id.clone(), kind, state_key, content))
}

#[cfg(test)]
mod tests;
