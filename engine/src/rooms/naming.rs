//! Giving rooms aliases, and taking them away.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>

use ruma::{
    OwnedRoomId, RoomAliasId, RoomId, UserId,
    events::{StateEventType, TimelineEventType},
};
use starling_storage::{Change, CommitError, memberships, rooms as rows};

use super::{
    aliases::claim,
    batch::Batch,
    canonical_alias,
    power::{self, Powers},
    room,
    send::{self, SetState},
};
use crate::{
    Engine,
    appservices::{ApplicationService, exclusive},
    internal::Internal,
};

/// How many aliases a room may have here.
const MAX_ALIASES: usize = 1000;

/// Why an alias was not made or removed.
#[derive(Debug, thiserror::Error)]
pub enum AliasError {
    /// The alias is of another server, or outside the grammar.
    #[error("{0}")]
    Malformed(String),
    /// It names a room already.
    #[error("the alias is taken")]
    Taken,
    /// There is no such alias.
    #[error("there is no such alias")]
    Unknown,
    /// Only an application service may make or remove it, or another one than asks.
    #[error("the alias is kept for an application service")]
    Exclusive,
    /// The user may not do this.
    #[error("you may not do this")]
    Forbidden,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Who makes or removes an alias.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// The user.
    pub user_id: &'a UserId,
    /// Whether they administer this server.
    pub is_admin: bool,
    /// The application service that acts for them.
    pub appservice: Option<&'a ApplicationService>,
}

/// Checks that an alias can be made here.
///
/// # Errors
///
/// [`AliasError::Malformed`].
pub fn check_new(engine: &Engine, alias: &RoomAliasId) -> Result<(), AliasError> {
    let malformed = |reason: &str| Err(AliasError::Malformed(reason.to_owned()));
    if alias.server_name() != engine.config.server_name {
        return malformed("the alias is of another server");
    }
    if alias.as_str().len() > 255 {
        return malformed("the alias is longer than 255 bytes");
    }
    if alias.alias().is_empty() || alias.alias().contains(['\0', ':']) {
        return malformed("the alias is outside the grammar");
    }
    Ok(())
}

/// Checks that an alias is not kept from who asks.
///
/// # Errors
///
/// [`AliasError::Exclusive`].
pub fn check_kept(
    engine: &Engine,
    by: Option<&ApplicationService>,
    alias: &RoomAliasId,
) -> Result<(), AliasError> {
    match exclusive::allows_alias(&engine.config.appservices, by, alias) {
        true => Ok(()),
        false => Err(AliasError::Exclusive),
    }
}

/// Gives a room an alias: who is in it may, and an application service in its namespaces.
///
/// # Errors
///
/// See [`AliasError`].
pub async fn make(
    engine: &Engine,
    by: By<'_>,
    alias: &RoomAliasId,
    room_id: &RoomId,
) -> Result<(), AliasError> {
    let By { user_id, appservice, .. } = by;
    check_new(engine, alias)?;
    check_kept(engine, appservice, alias)?;
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let member = memberships::get(&mut conn, user_id.as_str(), room_id.as_str()).await;
    let is_joined = member.map_err(Internal::from)?.is_some_and(|row| row.membership == "join");
    let room = rows::get(&mut conn, room_id.as_str()).await.map_err(Internal::from)?;
    if room.is_none() || (!is_joined && appservice.is_none()) {
        return Err(AliasError::Forbidden);
    }
    let existing = rows::aliases_of(&mut conn, room_id.as_str()).await.map_err(Internal::from)?;
    drop(conn);
    if existing.len() >= MAX_ALIASES {
        return Err(AliasError::Malformed(format!("a room has at most {MAX_ALIASES} aliases")));
    }
    let mut change = Change::new();
    change.claim(claim(engine, user_id, alias, room_id));
    match engine.storage.commit(change).await {
        Ok(_) => Ok(()),
        Err(CommitError::NameTaken) => Err(AliasError::Taken),
        Err(error) => Err(AliasError::Internal(error.into())),
    }
}

/// Takes an alias away: who made it may, who has the power to set the canonical alias, and an application
/// service in its namespaces.
///
/// # Errors
///
/// See [`AliasError`].
pub async fn remove(engine: &Engine, by: By<'_>, alias: &RoomAliasId) -> Result<(), AliasError> {
    let By { user_id, is_admin, appservice } = by;
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let row = rows::alias(&mut conn, alias.as_str()).await.map_err(Internal::from)?;
    drop(conn);
    let row = row.ok_or(AliasError::Unknown)?;
    if !is_admin {
        check_kept(engine, appservice, alias)?;
    }
    let room_id: OwnedRoomId = row.room_id.try_into().map_err(Internal::from)?;
    let has_power = row.creator == *user_id || is_admin || appservice.is_some();
    if !has_power && !may_name(engine, user_id, &room_id).await? {
        return Err(AliasError::Forbidden);
    }
    let mut change = Change::new();
    change.write(rows::Write::RemoveAlias { alias: alias.to_string() });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    forget_canonical(engine, user_id, alias, &room_id).await
}

/// Whether a user is in a room and may set its canonical alias.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn may_name(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
) -> Result<bool, Internal> {
    let Some(room) = room::load(engine, room_id).await? else { return Ok(false) };
    let member = (StateEventType::RoomMember, user_id.to_string());
    let [levels, create] = power::state_keys();
    let batch = Batch::new(engine, &room);
    let keys = [levels, create, member.clone()];
    let state = batch.state(room.row.current_state, &keys).await?;
    let joined = state
        .get(&member)
        .is_some_and(|member| member.content_str("membership").as_deref() == Some("join"));
    let powers = Powers::new(&state, &room.rules().authorization);
    Ok(joined && powers.allow_event(user_id, &TimelineEventType::RoomCanonicalAlias, true))
}

/// Takes a removed alias out of `m.room.canonical_alias`, when the user may change that.
async fn forget_canonical(
    engine: &Engine,
    user_id: &UserId,
    alias: &RoomAliasId,
    room_id: &RoomId,
) -> Result<(), AliasError> {
    let Some(room) = room::load(engine, room_id).await? else { return Ok(()) };
    let key = (StateEventType::RoomCanonicalAlias, String::new());
    let batch = Batch::new(engine, &room);
    let mut state = batch.state(room.row.current_state, std::slice::from_ref(&key)).await?;
    let Some(event) = state.remove(&key) else { return Ok(()) };
    let Some(content) = canonical_alias::without(&event.content, alias) else {
        return Ok(());
    };
    let set = SetState {
        room_id: room_id.to_owned(),
        sender: user_id.to_owned(),
        kind: key.0,
        state_key: key.1,
        content,
        ts: None,
    };
    // The alias is gone either way.
    if let Err(error) = send::state(engine, set).await {
        tracing::debug!(%error, %room_id, "the canonical alias was left as it is");
    }
    Ok(())
}
