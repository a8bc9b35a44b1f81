//! Invites of our users by other servers.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>

use std::sync::Arc;

use ruma::{
    EventId, RoomId, RoomVersionId, ServerName, UserId, events::TimelineEventType,
    room_version_rules::RoomVersionRules,
};
use serde_json::value::{RawValue, to_raw_value};
use starling_storage::{
    Change, Fact, accounts,
    events::{self as rows, EventRow, flags},
    memberships::{self, MembershipRow},
};

use super::{
    access,
    stripped::{self, StrippedError},
};
use crate::{
    Engine,
    appservices::queries,
    events::{
        Canonical, Pdu, client,
        sign::{Expectation, Role, sign_event},
    },
    internal::Internal,
    rooms::{
        blocked,
        membership::permission::{self, Verdict},
        receive::intake,
        room, versions,
    },
};

/// How many invites of a user may be open before strangers can make no more.
const MAX_INVITES: i64 = 1000;

/// An invite that is handed in.
#[derive(Clone, Copy, Debug)]
pub struct Invitation<'a> {
    /// The room that the request names.
    pub room_id: &'a RoomId,
    /// The event that the request names.
    pub event_id: &'a EventId,
    /// The version of the room.
    pub room_version: &'a RoomVersionId,
    /// The event.
    pub event: &'a RawValue,
    /// What helps the user to recognise the room.
    pub room_state: &'a [Box<RawValue>],
}

/// Why an invite is not taken.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The room's version is not known here.
    #[error("room version {0} is not supported")]
    UnsupportedVersion(RoomVersionId),
    /// It is no invite of a user of ours by a user of the asking server, or not well made.
    #[error("{0}")]
    Invalid(String),
    /// The user cannot be invited.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The user does not want invites.
    #[error("this user does not take invites")]
    Blocked,
    /// A failure of ours.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<StrippedError> for InviteError {
    fn from(error: StrippedError) -> Self {
        match error {
            StrippedError::Invalid(reason) => Self::Invalid(reason),
            StrippedError::Internal(error) => Self::Internal(error),
        }
    }
}

/// Takes an invite for a user of ours, and gives it back with our signature.
///
/// # Errors
///
/// See [`InviteError`]. Nothing is signed then.
pub async fn invite(
    engine: &Engine,
    origin: &ServerName,
    invitation: Invitation<'_>,
) -> Result<Arc<Pdu>, InviteError> {
    let Invitation { room_id, event_id, room_version, event, room_state } = invitation;
    let rules = versions::rules(room_version)
        .ok_or_else(|| InviteError::UnsupportedVersion(room_version.clone()))?;
    if !access::acl_allows(engine, room_id, origin).await? {
        return Err(InviteError::Forbidden("The room's server ACL does not allow your server"));
    }
    let pdu = intake::parse(room_id, &rules, event)
        .map_err(|refused| InviteError::Invalid(refused.reason))?;
    let user_id = check_asked_for(engine, origin, event_id, &pdu)?;
    queries::ensure_user(engine, &user_id).await?;
    let is_shown = check_user(engine, &user_id, &pdu.sender).await?;
    check_open(engine, room_id).await?;
    verify(engine, room_id, &rules, &pdu).await?;
    let room_state = stripped::read(engine, room_id, &rules, room_state).await?;
    let signed = Arc::new(sign(engine, &pdu, &user_id, &rules)?);
    // Whoever is about to take the room over, joined by another server, is waited for.
    let _place = room::place(engine, room_id).await;
    check_open(engine, room_id).await?;
    // An invite that the user is not shown is nothing they could ever refuse: it is answered as any
    // other, and not noted. A server that is in the room gets the event as all others do.
    if is_shown && !access::is_in_room(engine, room_id, &engine.config.server_name).await? {
        store(engine, &signed, room_version, room_state).await?;
    }
    Ok(signed)
}

/// That the event is an invite by a user of the asking server of a user of ours; gives the latter.
fn check_asked_for(
    engine: &Engine,
    origin: &ServerName,
    event_id: &EventId,
    pdu: &Pdu,
) -> Result<ruma::OwnedUserId, InviteError> {
    let invalid = |reason: &str| Err(InviteError::Invalid(reason.to_owned()));
    if pdu.event_id != event_id {
        return invalid("The event ID in the path is not that of the event");
    }
    if pdu.kind != TimelineEventType::RoomMember {
        return invalid("Not a membership event");
    }
    if pdu.content_str("membership").as_deref() != Some("invite") {
        return invalid("Not an invite");
    }
    if pdu.sender.server_name() != origin {
        return invalid("The sender is not a user of your server");
    }
    let user_id = pdu.state_key.as_deref().and_then(|key| <&UserId>::try_from(key).ok());
    match user_id.filter(|user_id| user_id.server_name() == engine.config.server_name) {
        Some(user_id) => Ok(user_id.to_owned()),
        None => invalid("The invited user is not of this server"),
    }
}

/// That administrators have not blocked the room.
async fn check_open(engine: &Engine, room_id: &RoomId) -> Result<(), InviteError> {
    match blocked::by_whom(engine, room_id).await? {
        None => Ok(()),
        Some(_) => Err(InviteError::Forbidden("The room is blocked on this server")),
    }
}

/// That the user can be invited by the sender. Says whether the user is shown the invite.
async fn check_user(
    engine: &Engine,
    user_id: &UserId,
    sender: &UserId,
) -> Result<bool, InviteError> {
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let user = accounts::user(&mut conn, user_id.as_str()).await.map_err(Internal::from)?;
    // Who asks need not learn which of the two it is.
    if user.is_none_or(|user| user.deactivated_ts.is_some()) {
        return Err(InviteError::Forbidden("The user cannot be invited"));
    }
    let invites = memberships::count(&mut conn, user_id.as_str(), "invite");
    let invites = invites.await.map_err(Internal::from)?;
    drop(conn);
    match permission::verdict(engine, user_id, sender).await? {
        Verdict::Refused => Err(InviteError::Blocked),
        Verdict::Hidden => Ok(false),
        Verdict::Shown if invites >= MAX_INVITES => {
            Err(InviteError::Forbidden("The user has too many invites"))
        }
        Verdict::Shown => Ok(true),
    }
}

/// The inviting server must have signed and hashed the event right.
async fn verify(
    engine: &Engine,
    room_id: &RoomId,
    rules: &RoomVersionRules,
    pdu: &Pdu,
) -> Result<(), InviteError> {
    let taken = intake::take(engine, room_id, rules, std::slice::from_ref(&pdu.json)).await?;
    match taken.into_iter().next() {
        Some(Ok(taken)) if taken.json.get() == pdu.json.get() => Ok(()),
        Some(Err(refused)) => Err(InviteError::Invalid(refused.reason)),
        _ => Err(InviteError::Invalid("The content hash does not match".to_owned())),
    }
}

fn sign(
    engine: &Engine,
    pdu: &Pdu,
    user_id: &UserId,
    rules: &RoomVersionRules,
) -> Result<Pdu, InviteError> {
    let invalid = |error: &dyn std::fmt::Display| InviteError::Invalid(error.to_string());
    let event = Canonical::parse(pdu.json.get(), rules).map_err(|error| invalid(&error))?;
    let expected = Expectation {
        role: Role::Invited,
        origin: &engine.config.server_name,
        kind: "m.room.member",
        room_id: Some(&pdu.room_id),
        sender: &pdu.sender,
        state_key: Some(user_id.as_str()),
        membership: Some("invite"),
    };
    sign_event(&expected, event, engine.signing_keys.current(), rules)
        .map_err(|error| invalid(&error))
}

/// Notes the invite beside the room, which is not known here: the event, and the user's membership
/// with what they may know of the room.
async fn store(
    engine: &Engine,
    pdu: &Pdu,
    room_version: &RoomVersionId,
    mut room_state: Vec<Box<RawValue>>,
) -> Result<(), Internal> {
    room_state.push(client::to_stripped(pdu)?);
    let (user_id, room_id) = (pdu.state_key.clone().unwrap_or_default(), pdu.room_id.to_string());
    let mut change = Change::new();
    change.write(rows::Write::Put(Box::new(outlier(engine, pdu))));
    let at = change.fact(Fact::Membership { user_id: user_id.clone(), room_id: room_id.clone() });
    let row = MembershipRow {
        user_id,
        room_id,
        membership: "invite".to_owned(),
        event_id: pdu.event_id.to_string(),
        sender: pdu.sender.to_string(),
        local: true,
        display_name: pdu.content_str("displayname"),
        avatar_url: pdu.content_str("avatar_url"),
        stripped_state: Some(to_raw_value(&room_state)?.get().to_owned()),
        room_version: Some(room_version.to_string()),
        ..MembershipRow::default()
    };
    change.write(memberships::Write::Put { row, at });
    engine.storage.commit(change).await?;
    Ok(())
}

/// The row of an event that has no place in a graph.
pub(in crate::rooms) fn outlier(engine: &Engine, pdu: &Pdu) -> EventRow {
    EventRow {
        room_id: pdu.room_id.to_string(),
        event_id: pdu.event_id.to_string(),
        kind: pdu.kind.to_string(),
        state_key: pdu.state_key.clone(),
        sender: pdu.sender.to_string(),
        depth: pdu.depth,
        origin_server_ts: pdu.origin_server_ts.get().into(),
        received_ts: engine.clock.now_ms(),
        state_before: None,
        flags: flags::OUTLIER,
        redacted_by: None,
        json: pdu.json.get().to_owned(),
        sent_by: None,
    }
}
