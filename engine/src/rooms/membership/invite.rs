//! Inviting: users of ours by ourselves, others by asking their server to sign the invite.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room>

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use ruma::{OwnedEventId, RoomId, UserId};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    MembershipError, adopt,
    content::Member,
    local::{self, Change},
    permission,
    remote::Made,
};
use crate::{
    Engine,
    appservices::queries,
    ask::{self, AskError},
    events::Pdu,
    internal::Internal,
    remote::Limits,
    rooms::{
        append::{self, Disposition},
        batch::{Batch, BatchError, MAX_ATTEMPTS},
        blocked, build, federated, policy,
        receive::judge::{self, Judged},
        room,
        serve::stripped,
    },
};

/// What an invite may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(30), max_body: 1024 * 1024 };

/// An invite that is wanted.
#[derive(Clone, Debug)]
pub struct Invite<'a> {
    /// To which room.
    pub room_id: &'a RoomId,
    /// By whom.
    pub sender: &'a UserId,
    /// Of whom.
    pub target: &'a UserId,
    /// What the event says beside that.
    pub member: Member,
}

/// Invites a user.
///
/// # Errors
///
/// See [`MembershipError`].
pub async fn invite(engine: &Engine, invite: Invite<'_>) -> Result<OwnedEventId, MembershipError> {
    let Invite { room_id, sender, target, member } = invite;
    let change = Change { room_id, sender, target, membership: "invite", member };
    if target.server_name() != engine.config.server_name {
        return invite_elsewhere(engine, change).await;
    }
    blocked::check(engine, room_id).await?;
    queries::ensure_user(engine, target).await?;
    if permission::refuses(engine, target, sender).await? {
        return Err(MembershipError::InviteBlocked);
    }
    local::change(engine, change).await
}

/// Makes the invite, has it signed by the other server, and only then puts it into the room.
async fn invite_elsewhere(
    engine: &Engine,
    change: Change<'_>,
) -> Result<OwnedEventId, MembershipError> {
    let draft = change.draft(engine).await?;
    let outside = || MembershipError::Forbidden("you are not in this room".to_owned());
    local::wait_for_members(engine, change.room_id).await?;
    let guard = room::lock(engine, change.room_id).await?.ok_or_else(outside)?;
    let mut batch = Batch::new(engine, &guard);
    if !federated::is_open_to(&batch, change.target.server_name()).await? {
        let reason = "this room is for users of one server only";
        return Err(MembershipError::Forbidden(reason.to_owned()));
    }
    let (pdu, _) = build::compose(&mut batch, &draft).await?;
    drop(guard);
    let (version, rules) = (*batch.room.version).clone();
    let server = change.target.server_name().to_owned();
    let pdu = policy::signed(engine, pdu).await?;
    let made = Made { pdu, version, rules, server };
    let root = batch.room.row.current_state;
    let state = stripped::of_room(engine, change.room_id, root).await?;
    let state: Vec<_> = state.iter().map(|pdu| pdu.json.clone()).collect();
    let signed = ask_to_sign(engine, &made, &state).await?;
    // The invited server may have given it back without.
    let signed = policy::signed(engine, signed).await?;
    put(engine, change.room_id, signed).await
}

async fn ask_to_sign(
    engine: &Engine,
    made: &Made,
    state: &[Box<RawValue>],
) -> Result<Arc<Pdu>, MembershipError> {
    #[derive(Deserialize)]
    struct Answer {
        event: Box<RawValue>,
    }
    let segments = [made.pdu.room_id.as_str(), made.pdu.event_id.as_str()];
    let body = json!({
        "room_version": made.version, "event": made.pdu.json, "invite_room_state": state,
    });
    let path = ask::path("v2/invite", &segments);
    let answer: Result<Answer, _> =
        ask::send(engine, &made.server, Method::PUT, path, &body, LIMITS).await;
    let event = match answer {
        Ok(answer) => answer.event,
        Err(error) if made.rules.event_format.require_event_id && is_unknown_endpoint(&error) => {
            invite_v1(engine, made, state).await?
        }
        Err(error) if is_unknown_version(&error) => return Err(MembershipError::UnsupportedThere),
        Err(error) => return Err(error.into()),
    };
    let refused = || MembershipError::RemoteFailed("the invite came back changed".to_owned());
    adopt::countersigned(made, &event).ok_or_else(refused)
}

fn is_unknown_endpoint(error: &AskError) -> bool {
    matches!(error, AskError::Refused { status, errcode, .. }
        if matches!(*status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
            && (errcode.is_empty() || errcode == "M_UNRECOGNIZED"))
}

fn is_unknown_version(error: &AskError) -> bool {
    matches!(error, AskError::Refused { errcode, .. }
        if matches!(&**errcode, "M_INCOMPATIBLE_ROOM_VERSION" | "M_UNSUPPORTED_ROOM_VERSION"))
}

/// The old form of the request, for the room versions that it knows.
async fn invite_v1(
    engine: &Engine,
    made: &Made,
    state: &[Box<RawValue>],
) -> Result<Box<RawValue>, MembershipError> {
    #[derive(Deserialize)]
    struct Answer {
        event: Box<RawValue>,
    }
    let segments = [made.pdu.room_id.as_str(), made.pdu.event_id.as_str()];
    let mut event: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(made.pdu.json.get()).map_err(Internal::from)?;
    event.insert("unsigned".to_owned(), json!({ "invite_room_state": state }));
    let path = ask::path("v1/invite", &segments);
    let answer: (u16, Answer) =
        ask::send(engine, &made.server, Method::PUT, path, &event, LIMITS).await?;
    Ok(answer.1.event)
}

/// Puts the signed invite into the room, as it is by now.
async fn put(
    engine: &Engine,
    room_id: &RoomId,
    pdu: Arc<Pdu>,
) -> Result<OwnedEventId, MembershipError> {
    let mut guard = room::lock(engine, room_id).await?.ok_or(MembershipError::UnknownRoom)?;
    for _ in 0..MAX_ATTEMPTS {
        let mut batch = Batch::new(engine, &guard);
        match judge::judge(&mut batch, &pdu, None).await? {
            Judged::Ready(mut new) if new.disposition == Disposition::Accepted => {
                new.local = true;
                append::append(&mut batch, new).await?;
            }
            Judged::Known => return Ok(pdu.event_id.clone()),
            _ => {
                let reason = "the room changed so that the invite is not allowed any more";
                return Err(MembershipError::Forbidden(reason.to_owned()));
            }
        }
        match batch.commit(&mut guard).await {
            Ok(_) => return Ok(pdu.event_id.clone()),
            Err(BatchError::Conflict) => {}
            Err(BatchError::Internal(error)) => return Err(error.into()),
            Err(error) => return Err(Internal::Damaged(error.to_string()).into()),
        }
    }
    Err(Internal::Damaged(format!("{room_id} changes too fast")).into())
}
