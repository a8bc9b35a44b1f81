//! Creating rooms: all events of the new room are one change.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>

pub mod initial;

pub mod power_levels;

use std::sync::Arc;

use ruma::{
    OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId, RoomVersionId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};
use starling_storage::rooms as rows;

use super::{
    aliases,
    append::{self, Disposition, NewEvent},
    authorize::Denied,
    batch::{Batch, BatchError},
    build::{self, BuildError, Draft},
    membership::{
        content::Member,
        invite::{self, Invite},
        permission,
        threepid::{self, ThirdParty},
    },
    naming::{self, AliasError},
    room::{self, Room, RoomPlace},
    versions,
};
use crate::{Engine, appservices::queries, events::Pdu, internal::Internal, rng};

/// How many users a room can be created with.
const MAX_INVITES: usize = 100;

/// How many state events a room can be created with.
const MAX_INITIAL_STATE: usize = 200;

/// How many equal rooms one user can create in the same millisecond.
const MAX_SAME_TIME: i64 = 100;

/// What kind of room is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// By invite.
    PrivateChat,
    /// By invite, and who is invited has the power of the creator.
    TrustedPrivateChat,
    /// Open to all.
    PublicChat,
}

/// A state event to begin with.
#[derive(Clone, Debug)]
pub struct InitialState {
    /// The event type.
    pub kind: StateEventType,
    /// The state key.
    pub state_key: String,
    /// The content, a JSON object.
    pub content: Box<RawValue>,
}

/// A room that is wanted.
#[derive(Clone, Debug)]
pub struct CreateRoom {
    /// Who creates it.
    pub creator: OwnedUserId,
    /// Its version, if not the default one.
    pub version: Option<RoomVersionId>,
    /// What kind of room.
    pub preset: Preset,
    /// Whether the directory lists it.
    pub published: bool,
    /// The local part of its alias.
    pub alias: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// Who is invited.
    pub invite: Vec<OwnedUserId>,
    /// Whether the invites are to a conversation of two.
    pub is_direct: bool,
    /// More content for the create event.
    pub creation_content: Map<String, Value>,
    /// State to begin with.
    pub initial_state: Vec<InitialState>,
    /// What is to be different about the power levels.
    pub power_level_content_override: Map<String, Value>,
}

/// Why a room was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The room version is not supported.
    #[error("the room version is not supported")]
    UnsupportedVersion,
    /// The alias cannot be made here.
    #[error("{0}")]
    BadAlias(String),
    /// The alias names another room.
    #[error("the alias is taken")]
    AliasTaken,
    /// A user who is to be invited does not want invites.
    #[error("one of the users does not take invites")]
    InviteBlocked,
    /// Too much is wanted at once.
    #[error("{0}")]
    TooMuch(String),
    /// An event cannot be as it is wanted.
    #[error("{0}")]
    BadContent(String),
    /// The room would not be allowed to become what is wanted.
    #[error("{0}")]
    InvalidState(String),
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<BuildError> for CreateError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::BadContent(reason) => Self::BadContent(reason),
            BuildError::TooLarge => Self::TooMuch("an event is too large".to_owned()),
            BuildError::Denied(Denied::Event(reason)) => Self::BadContent(reason),
            BuildError::Denied(denied) => Self::InvalidState(denied.to_string()),
            BuildError::Internal(error) => Self::Internal(error),
        }
    }
}

/// Creates a room, and invites. An invite that another server does not take does not undo the room.
///
/// # Errors
///
/// See [`CreateError`].
pub async fn create(engine: &Engine, wanted: &CreateRoom) -> Result<OwnedRoomId, CreateError> {
    let version =
        wanted.version.clone().unwrap_or_else(|| engine.config.default_room_version.clone());
    let rules = versions::rules(&version).ok_or(CreateError::UnsupportedVersion)?;
    check_amounts(wanted)?;
    let alias = alias(engine, wanted).await?;
    check_invites(engine, wanted).await?;
    let (place, create) = free_place(engine, wanted, &version, &rules).await?;
    let room_id = create.room_id.clone();
    let room = Room::new(room_id.clone(), version, rules);
    let mut batch = Batch::first(engine, &room);
    let new = NewEvent {
        pdu: create,
        state_before: Some(0),
        disposition: Disposition::Accepted,
        redacted_by: None,
        local: true,
    };
    append::append(&mut batch, new).await?;

    for draft in initial::drafts(engine, wanted, alias.as_deref(), batch.room.rules()).await? {
        build::author(&mut batch, &draft).await?;
    }
    let others = invite_ours(&mut batch, wanted).await?;
    if wanted.published {
        let room_id = room_id.to_string();
        batch.change.write(rows::Write::Published { room_id, published: true });
    }
    if let Some(alias) = &alias {
        let claim = aliases::claim(engine, &wanted.creator, alias, &room_id);
        batch.change.claim(claim);
    }
    match batch.commit(&mut place.put(room)).await {
        Ok(_) => {}
        Err(BatchError::NameTaken) => return Err(CreateError::AliasTaken),
        Err(BatchError::Internal(error)) => return Err(error.into()),
        Err(error) => return Err(Internal::Damaged(error.to_string()).into()),
    }
    invite_others(engine, wanted, &room_id, &others).await;
    Ok(room_id)
}

/// As [`create`], and invites those of whom only an address is known. An invite that is not possible
/// does not undo the room.
///
/// # Errors
///
/// See [`CreateError`].
pub async fn create_and_invite(
    engine: &Engine,
    wanted: &CreateRoom,
    by_address: &[ThirdParty],
) -> Result<OwnedRoomId, CreateError> {
    if by_address.len() + wanted.invite.len() > MAX_INVITES {
        return Err(CreateError::TooMuch(format!("more than {MAX_INVITES} invites")));
    }
    let room_id = create(engine, wanted).await?;
    for whom in by_address {
        let member = Member { is_direct: wanted.is_direct, ..Member::default() };
        let invited = threepid::invite(engine, &room_id, &wanted.creator, whom, member).await;
        if let Err(error) = invited {
            tracing::info!(%error, room.id = %room_id,
                "An address could not be invited to a new room");
        }
    }
    Ok(room_id)
}

fn check_amounts(wanted: &CreateRoom) -> Result<(), CreateError> {
    if wanted.invite.len() > MAX_INVITES {
        return Err(CreateError::TooMuch(format!("more than {MAX_INVITES} invites")));
    }
    if wanted.initial_state.len() > MAX_INITIAL_STATE {
        return Err(CreateError::TooMuch(format!("more than {MAX_INITIAL_STATE} state events")));
    }
    Ok(())
}

/// Whoever wants no invites gets none, and who creates the room is told before there is one.
async fn check_invites(engine: &Engine, wanted: &CreateRoom) -> Result<(), CreateError> {
    let ours = |user_id: &&OwnedUserId| user_id.server_name() == engine.config.server_name;
    for user_id in wanted.invite.iter().filter(ours) {
        queries::ensure_user(engine, user_id).await?;
        if *user_id != wanted.creator
            && permission::refuses(engine, user_id, &wanted.creator).await?
        {
            return Err(CreateError::InviteBlocked);
        }
    }
    Ok(())
}

async fn alias(
    engine: &Engine,
    wanted: &CreateRoom,
) -> Result<Option<OwnedRoomAliasId>, CreateError> {
    let Some(localpart) = &wanted.alias else { return Ok(None) };
    let alias = RoomAliasId::parse(format!("#{localpart}:{}", engine.config.server_name))
        .map_err(|error| CreateError::BadAlias(error.to_string()))?;
    match naming::check_new(engine, &alias) {
        Ok(()) => {}
        Err(AliasError::Internal(error)) => return Err(error.into()),
        Err(error) => return Err(CreateError::BadAlias(error.to_string())),
    }
    match aliases::known(engine, &alias).await? {
        Some(_) => Err(CreateError::AliasTaken),
        None => Ok(Some(alias)),
    }
}

/// A create event with the place of its room. Since version 12 the event gives the room its ID: of two
/// that would be the same, made by one user in the same millisecond, the later gets another time.
pub(super) async fn free_place(
    engine: &Engine,
    wanted: &CreateRoom,
    version: &RoomVersionId,
    rules: &RoomVersionRules,
) -> Result<(RoomPlace, Arc<Pdu>), CreateError> {
    let now = engine.clock.now_ms();
    for ts in now..now + MAX_SAME_TIME {
        let room_id = rules.event_format.require_room_create_room_id.then(|| new_id(engine));
        let room_id = room_id.transpose()?;
        let create = create_event(engine, wanted, version, rules, room_id.as_deref(), ts)?;
        let place = room::place(engine, &create.room_id).await;
        if let Err(place) = place.room(engine).await? {
            return Ok((place, create));
        }
    }
    Err(CreateError::TooMuch("too many rooms at once".to_owned()))
}

/// An ID for a room of a version before 12.
pub(super) fn new_id(engine: &Engine) -> Result<OwnedRoomId, Internal> {
    Ok(RoomId::parse(format!("!{}:{}", rng::token::<18>(), engine.config.server_name))?)
}

/// The create event, which since version 12 gives the room its ID.
pub(super) fn create_event(
    engine: &Engine,
    wanted: &CreateRoom,
    version: &RoomVersionId,
    rules: &RoomVersionRules,
    room_id: Option<&RoomId>,
    ts: i64,
) -> Result<Arc<Pdu>, CreateError> {
    let mut content = wanted.creation_content.clone();
    content.insert("room_version".to_owned(), version.as_str().into());
    content.remove("creator");
    if !rules.authorization.use_room_create_sender {
        content.insert("creator".to_owned(), wanted.creator.as_str().into());
    }
    if rules.authorization.additional_room_creators {
        add_creators(wanted, &mut content)?;
    }
    let content = to_raw_value(&content).map_err(Internal::from)?;
    let kind = TimelineEventType::RoomCreate;
    let draft = Draft { ts: Some(ts), ..Draft::state(wanted.creator.clone(), kind, "", content) };
    Ok(build::create_event(engine, room_id, &draft, rules)?)
}

/// Who is invited to a trusted private chat shares the power of the creator, which since version 12
/// only creators have.
fn add_creators(wanted: &CreateRoom, content: &mut Map<String, Value>) -> Result<(), CreateError> {
    if wanted.preset != Preset::TrustedPrivateChat || wanted.invite.is_empty() {
        return Ok(());
    }
    let creators = content.entry("additional_creators").or_insert_with(|| json!([]));
    let Value::Array(creators) = creators else {
        return Err(CreateError::BadContent("`additional_creators` is not a list".to_owned()));
    };
    for user_id in &wanted.invite {
        let user_id = Value::from(user_id.as_str());
        if !creators.contains(&user_id) {
            creators.push(user_id);
        }
    }
    Ok(())
}

/// Invites the users of this server, and gives back the others.
async fn invite_ours(
    batch: &mut Batch,
    wanted: &CreateRoom,
) -> Result<Vec<OwnedUserId>, CreateError> {
    let mut others = Vec::new();
    for user_id in &wanted.invite {
        let is_ours = user_id.server_name() == batch.engine.config.server_name;
        if *user_id == wanted.creator {
            continue;
        }
        match is_ours {
            true => {
                drop(build::author(batch, &invite_of_ours(batch, wanted, user_id).await?).await?)
            }
            false => others.push(user_id.clone()),
        }
    }
    Ok(others)
}

/// Invites users of other servers, whose servers have to agree.
async fn invite_others(
    engine: &Engine,
    wanted: &CreateRoom,
    room_id: &RoomId,
    others: &[OwnedUserId],
) {
    for target in others {
        let member = Member { is_direct: wanted.is_direct, ..Member::default() };
        let invite = Invite { room_id, sender: &wanted.creator, target, member };
        if let Err(error) = invite::invite(engine, invite).await {
            tracing::info!(%error, room.id = %room_id, user.id = %target,
                "A user could not be invited to a new room");
        }
    }
}

async fn invite_of_ours(
    batch: &Batch,
    wanted: &CreateRoom,
    user_id: &UserId,
) -> Result<Draft, CreateError> {
    let member = Member { is_direct: wanted.is_direct, ..Member::default() };
    let content = member.content(&batch.engine, user_id, "invite").await?;
    let kind = TimelineEventType::RoomMember;
    Ok(Draft::state(wanted.creator.clone(), kind, user_id.as_str(), content))
}

#[cfg(test)]
mod tests;
