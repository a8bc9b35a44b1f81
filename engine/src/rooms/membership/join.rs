//! Joining a room: by ourselves where this server is in it, else by the help of one that is.

use ruma::{OwnedEventId, OwnedServerName, OwnedUserId, RoomId, UserId};
use serde_json::{Map, Value};

use super::{
    MembershipError, adopt,
    content::Member,
    local::{self, Change},
    remote::{self, Handshake, Wish},
};
use crate::{
    Engine,
    rooms::{
        batch::Batch,
        blocked, partial,
        restricted::{self, Grant},
        room,
        send::guests,
    },
};

/// A join that is wanted.
#[derive(Clone, Debug)]
pub struct Join<'a> {
    /// Who joins.
    pub user_id: &'a UserId,
    /// Which room.
    pub room_id: &'a RoomId,
    /// Servers that may be in it.
    pub via: Vec<OwnedServerName>,
    /// Why.
    pub reason: Option<String>,
    /// What else the client wants the event to say.
    pub more: Map<String, Value>,
}

/// Joins a room. Who is joined already stays so.
///
/// # Errors
///
/// See [`MembershipError`].
pub async fn join(engine: &Engine, join: Join<'_>) -> Result<OwnedEventId, MembershipError> {
    let Join { user_id, room_id, reason, more, .. } = &join;
    blocked::check(engine, room_id).await?;
    let mut member = Member { reason: reason.clone(), more: more.clone(), ..Member::default() };
    if local::is_resident(engine, room_id).await? && knows(engine, &join).await? {
        match way_in(engine, user_id, room_id).await? {
            Grant::NotNeeded => return join_here(engine, &join, member).await,
            Grant::By(authoriser) => {
                member.authorised_by = Some(authoriser);
                return join_here(engine, &join, member).await;
            }
            Grant::Refused => {
                let reason = "you are in none of the rooms that let you in";
                return Err(MembershipError::Forbidden(reason.to_owned()));
            }
            // Another server may know, or have the power.
            Grant::NobodyMay | Grant::CannotTell => {}
        }
    }
    join_by_others(engine, &join, &member).await
}

/// Whether this server can tell if the user may join. While only a part of the members is known, it
/// does not know whom the room has banned; who is in it already may change what they say there.
async fn knows(engine: &Engine, join: &Join<'_>) -> Result<bool, MembershipError> {
    if !partial::is_partial(engine, join.room_id).await? {
        return Ok(true);
    }
    let row = local::membership(engine, join.user_id, join.room_id).await?;
    Ok(row.is_some_and(|row| row.membership == "join"))
}

async fn way_in(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
) -> Result<Grant, MembershipError> {
    let room = room::load(engine, room_id).await?.ok_or(MembershipError::UnknownRoom)?;
    Ok(restricted::grant(&Batch::new(engine, &room), user_id).await?)
}

async fn join_here(
    engine: &Engine,
    join: &Join<'_>,
    member: Member,
) -> Result<OwnedEventId, MembershipError> {
    let (room_id, sender, target) = (join.room_id, join.user_id, join.user_id);
    // Who is in the room needs nobody to let them in again.
    let change = Change { room_id, sender, target, membership: "join", member };
    local::change(engine, change).await
}

async fn join_by_others(
    engine: &Engine,
    join: &Join<'_>,
    member: &Member,
) -> Result<OwnedEventId, MembershipError> {
    // Whether the room lets guests in, only those know who are in it.
    if guests::is_guest(engine, join.user_id).await? {
        return Err(MembershipError::GuestsForbidden);
    }
    let servers = servers(engine, join.user_id, join.room_id, &join.via).await?;
    let wish = Wish {
        engine,
        handshake: Handshake::Join,
        room_id: join.room_id,
        user_id: join.user_id,
        member,
    };
    let mut last = MembershipError::UnknownRoom;
    for server in servers {
        match join_by(&wish, &server).await {
            Ok(event_id) => return Ok(event_id),
            Err(error @ (MembershipError::Internal(_) | MembershipError::BadContent(_))) => {
                return Err(error);
            }
            Err(error) => {
                tracing::info!(server.name = %server, room.id = %join.room_id, %error,
                    "A server did not help to join");
                last = worse(last, error);
            }
        }
    }
    Err(last)
}

async fn join_by(
    wish: &Wish<'_>,
    server: &OwnedServerName,
) -> Result<OwnedEventId, MembershipError> {
    let made = wish.make(server).await?;
    // Where we are in the room and know its state, a part of it is of no use.
    let is_resident = local::is_resident(wish.engine, wish.room_id).await?;
    let is_whole = is_resident && !partial::is_partial(wish.engine, wish.room_id).await?;
    let answer = wish.send_join(&made, !is_whole).await?;
    adopt::room(wish.engine, &made, answer).await
}

/// Of two reasons the one that tells more.
pub(super) fn worse(a: MembershipError, b: MembershipError) -> MembershipError {
    let weight = |error: &MembershipError| match error {
        MembershipError::UnknownRoom => 0,
        MembershipError::RemoteFailed(_) => 1,
        MembershipError::UnableToAuthorise => 2,
        _ => 3,
    };
    if weight(&b) >= weight(&a) { b } else { a }
}

/// The servers that may be in a room: those that are named and the one that invited; if no other
/// is named, also the ones that are known to be in it and the one that the room's ID names.
pub(super) async fn servers(
    engine: &Engine,
    user_id: &UserId,
    room_id: &RoomId,
    via: &[OwnedServerName],
) -> Result<Vec<OwnedServerName>, MembershipError> {
    let inviter = local::membership(engine, user_id, room_id).await?;
    let inviter = inviter.and_then(|row| OwnedUserId::try_from(row.sender).ok());
    let inviter = inviter.map(|sender| sender.server_name().to_owned());
    // Whoever says where to go is not sent elsewhere; to name this server says nothing.
    if via.iter().any(|server| *server != engine.config.server_name) {
        return Ok(remote::candidates(engine, via.iter().cloned().chain(inviter)));
    }
    let mut conn = engine.storage.read().await?;
    let known = starling_storage::rooms::servers_in(&mut conn, room_id.as_str()).await?;
    let known = known.into_iter().filter_map(|server| server.try_into().ok());
    let named = room_id.server_name().map(ToOwned::to_owned);
    Ok(remote::candidates(engine, inviter.into_iter().chain(known).chain(named)))
}
