//! `send_join`, `send_leave` and `send_knock`: membership events that another server made of our
//! template, taken into the room and passed on to all servers in it.

use std::sync::Arc;

use ruma::{EventId, OwnedUserId, RoomId, ServerName, events::TimelineEventType};
use serde_json::value::RawValue;

use super::{
    access,
    joined::{self, Joined},
    stripped,
    template::Wish,
};
use crate::{
    Engine,
    events::{
        Canonical, Pdu,
        sign::{Expectation, Role, sign_event},
        store,
    },
    internal::Internal,
    rooms::{
        append::{self, Disposition, NewEvent},
        batch::{Batch, BatchError, MAX_ATTEMPTS},
        policy::{self, PolicyError},
        receive::{
            intake,
            judge::{self, Judged},
        },
        restricted::{self, Grant},
        room::{self, RoomGuard},
    },
};

/// An event that is handed in.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The room that the request names.
    pub room_id: &'a RoomId,
    /// The event that the request names.
    pub event_id: &'a EventId,
    /// The event.
    pub pdu: &'a RawValue,
}

/// Why an event is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The room is not known here, or this server is not in it (any more).
    #[error("this server is not in the room")]
    NotFound,
    /// The event is not what the request says, or not well made.
    #[error("{0}")]
    Invalid(String),
    /// It is not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// This server cannot tell whether the user may join.
    #[error("this server is not in all rooms whose members may join")]
    CannotTell,
    /// The user may join, but nobody here can let them in.
    #[error("no user of this server may invite")]
    NobodyMay,
    /// A failure of ours.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Takes a join and answers with the state of the room before it; without most of its members, if the
/// other server can do with that.
///
/// # Errors
///
/// See [`SubmitError`].
pub async fn join(
    engine: &Engine,
    origin: &ServerName,
    submission: Submission<'_>,
    omit_members: bool,
) -> Result<Joined, SubmitError> {
    let (event, state_before) = take(engine, origin, submission, Wish::Join).await?;
    let room_id = submission.room_id;
    Ok(match omit_members && joined::is_past_shown(engine, origin, room_id, &event).await? {
        true => joined::without_members(engine, room_id, event, state_before).await?,
        false => joined::whole(engine, room_id, event, state_before).await?,
    })
}

/// Takes a leave.
///
/// # Errors
///
/// See [`SubmitError`].
pub async fn leave(
    engine: &Engine,
    origin: &ServerName,
    submission: Submission<'_>,
) -> Result<(), SubmitError> {
    take(engine, origin, submission, Wish::Leave).await.map(|_| ())
}

/// Takes a knock, and answers with what the knocking user may know of the room: PDUs.
///
/// # Errors
///
/// See [`SubmitError`].
pub async fn knock(
    engine: &Engine,
    origin: &ServerName,
    submission: Submission<'_>,
) -> Result<Vec<Arc<Pdu>>, SubmitError> {
    let (_, state_before) = take(engine, origin, submission, Wish::Knock).await?;
    Ok(stripped::of_room(engine, submission.room_id, state_before).await?)
}

/// Takes an event into the room. Returns it with the root of the state before it.
async fn take(
    engine: &Engine,
    origin: &ServerName,
    submission: Submission<'_>,
    wish: Wish,
) -> Result<(Arc<Pdu>, i64), SubmitError> {
    let room_id = submission.room_id;
    let version = store::room_version(engine, room_id).await?.ok_or(SubmitError::NotFound)?;
    if !access::acl_allows(engine, room_id, origin).await? {
        let reason = "The room's server ACL does not allow your server";
        return Err(SubmitError::Forbidden(reason.to_owned()));
    }
    if !access::can_help(engine, room_id, wish).await? {
        return Err(SubmitError::NotFound);
    }
    let pdu = intake::parse(room_id, &version.1, submission.pdu)
        .map_err(|refused| SubmitError::Invalid(refused.reason))?;
    check_asked_for(origin, submission.event_id, &pdu, wish)?;
    let raw = match authoriser(engine, &pdu, wish) {
        Some(authoriser) => sign(engine, &pdu, &authoriser, &version.1).await?.json,
        None => pdu.json.clone(),
    };
    let pdu = verified(engine, room_id, &version.1, raw).await?;
    // Who is not in the room cannot know of its policy server.
    let pdu = policy::signed(engine, pdu).await.map_err(|error| match error {
        PolicyError::Internal(error) => SubmitError::Internal(error),
        error => SubmitError::Forbidden(error.to_string()),
    })?;
    let mut guard = room::lock(engine, room_id).await?.ok_or(SubmitError::NotFound)?;
    for _ in 0..MAX_ATTEMPTS {
        if let Some(taken) = attempt(engine, &mut guard, &pdu).await? {
            return Ok(taken);
        }
    }
    Err(SubmitError::Internal(Internal::Damaged(format!("{room_id} changes too fast"))))
}

/// That the event is what the request is for, and about a user of the server that hands it in.
fn check_asked_for(
    origin: &ServerName,
    event_id: &EventId,
    pdu: &Pdu,
    wish: Wish,
) -> Result<(), SubmitError> {
    let invalid = |reason: &str| Err(SubmitError::Invalid(reason.to_owned()));
    if pdu.event_id != event_id {
        return invalid("The event ID in the path is not that of the event");
    }
    if pdu.kind != TimelineEventType::RoomMember {
        return invalid("Not a membership event");
    }
    if pdu.state_key.as_deref() != Some(pdu.sender.as_str()) {
        return invalid("The state key is not the sender");
    }
    if pdu.content_str("membership").as_deref() != Some(wish.membership()) {
        return invalid("The membership is another than this endpoint is for");
    }
    if pdu.sender.server_name() != origin {
        let reason = "The sender is not a user of your server";
        return Err(SubmitError::Forbidden(reason.to_owned()));
    }
    Ok(())
}

/// The user of ours who is said to let the joining user in.
fn authoriser(engine: &Engine, pdu: &Pdu, wish: Wish) -> Option<OwnedUserId> {
    let named = pdu.content_str("join_authorised_via_users_server")?;
    let user_id = OwnedUserId::try_from(named).ok()?;
    let ours = user_id.server_name() == engine.config.server_name;
    Some(user_id).filter(|_| ours && wish == Wish::Join)
}

/// Signs a join for the room whose rules let the user in by way of us, if they do.
async fn sign(
    engine: &Engine,
    pdu: &Pdu,
    authoriser: &OwnedUserId,
    rules: &ruma::room_version_rules::RoomVersionRules,
) -> Result<Pdu, SubmitError> {
    let room = room::load(engine, &pdu.room_id).await?.ok_or(SubmitError::NotFound)?;
    let batch = Batch::new(engine, &room);
    match restricted::grant(&batch, &pdu.sender).await? {
        // That this very user may do it is for the room's rules to say.
        Grant::By(_) => {}
        // Invited in the meantime: the signature does no harm, and the event needs it.
        Grant::NotNeeded => {}
        Grant::Refused => {
            let reason = "The user is in none of the rooms to be in";
            return Err(SubmitError::Forbidden(reason.to_owned()));
        }
        Grant::CannotTell => return Err(SubmitError::CannotTell),
        Grant::NobodyMay => return Err(SubmitError::NobodyMay),
    }
    tracing::debug!(room.id = %pdu.room_id, by = %authoriser, user = %pdu.sender, "Letting a user in");
    let invalid = |error: &dyn std::fmt::Display| SubmitError::Invalid(error.to_string());
    let event = Canonical::parse(pdu.json.get(), rules).map_err(|error| invalid(&error))?;
    let expected = Expectation {
        role: Role::Authoriser,
        origin: &engine.config.server_name,
        kind: "m.room.member",
        room_id: Some(&pdu.room_id),
        sender: &pdu.sender,
        state_key: Some(pdu.sender.as_str()),
        membership: Some("join"),
    };
    sign_event(&expected, event, engine.signing_keys.current(), rules)
        .map_err(|error| invalid(&error))
}

/// Checks signatures and hash. An event that its own server did not hash right is refused, not
/// redacted: there is somebody to tell.
async fn verified(
    engine: &Engine,
    room_id: &RoomId,
    rules: &ruma::room_version_rules::RoomVersionRules,
    raw: Box<RawValue>,
) -> Result<Arc<Pdu>, SubmitError> {
    let taken = intake::take(engine, room_id, rules, std::slice::from_ref(&raw)).await?;
    match taken.into_iter().next() {
        Some(Ok(pdu)) if pdu.json.get() == raw.get() => Ok(pdu),
        Some(Ok(_)) => Err(SubmitError::Invalid("The content hash does not match".to_owned())),
        // Who asks has proven who it is, but this event is not proven to be of it.
        Some(Err(refused)) => Err(SubmitError::Forbidden(refused.reason)),
        None => Err(SubmitError::Internal(Internal::Damaged("an event got lost".to_owned()))),
    }
}

/// `None` when another process was faster.
async fn attempt(
    engine: &Engine,
    guard: &mut RoomGuard,
    pdu: &Arc<Pdu>,
) -> Result<Option<(Arc<Pdu>, i64)>, SubmitError> {
    let mut batch = Batch::new(engine, guard);
    let new = match judge::judge(&mut batch, pdu, None).await? {
        Judged::Ready(new) => new,
        Judged::Known => return known(&batch, pdu).await.map(Some),
        Judged::MissingPrev(_) | Judged::MissingAuth(_) => {
            let reason = "The event is built upon events that are not known here";
            return Err(SubmitError::Invalid(reason.to_owned()));
        }
    };
    let (Disposition::Accepted, Some(state_before)) = (new.disposition, new.state_before) else {
        return Err(SubmitError::Forbidden("The room's rules do not allow it".to_owned()));
    };
    // We owe it to the other servers in the room as if it were our own.
    append::append(&mut batch, NewEvent { local: true, ..new }).await?;
    match batch.commit(guard).await {
        Ok(_) => Ok(Some((pdu.clone(), state_before))),
        Err(BatchError::Conflict) => Ok(None),
        Err(BatchError::Internal(error)) => Err(error.into()),
        Err(error) => Err(SubmitError::Internal(Internal::Damaged(error.to_string()))),
    }
}

/// The same event was handed in before, and the answer got lost.
async fn known(batch: &Batch, pdu: &Pdu) -> Result<(Arc<Pdu>, i64), SubmitError> {
    let event = batch.event(&pdu.event_id).await?.filter(|event| event.is_visible());
    let known = event.and_then(|event| Some((event.pdu.clone(), event.state_before?)));
    known.ok_or_else(|| SubmitError::Forbidden("The room's rules do not allow it".to_owned()))
}
