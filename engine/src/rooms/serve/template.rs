//! `make_join`, `make_leave` and `make_knock`: the outline of a membership event, for another server
//! to fill in and sign.
//!
//! Other servers sign what we give them here only if it is what they asked for, and so do we.

use ruma::{RoomId, RoomVersionId, ServerName, UserId, events::TimelineEventType};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::access;
use crate::{
    Engine,
    events::{Canonical, Pdu},
    internal::Internal,
    rooms::{
        authorize::{self, Denied},
        batch::Batch,
        build::{self, BuildError, Draft},
        restricted::{self, Grant},
        room,
    },
};

/// What a user of another server wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `join`.
    Join,
    /// `leave`: also to reject an invite or take a knock back.
    Leave,
    /// `knock`.
    Knock,
}

impl Wish {
    /// The value of `membership`.
    #[must_use]
    pub fn membership(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Knock => "knock",
        }
    }
}

/// The outline of an event.
#[derive(Debug)]
pub struct Template {
    /// By whose rules it is to be finished.
    pub room_version: RoomVersionId,
    /// The event without hashes and signatures.
    pub event: Box<RawValue>,
}

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The room is not known here, or this server is not in it (any more).
    #[error("this server is not in the room")]
    NotFound,
    /// It is not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// The asking server does not know the room's version.
    #[error("the room is of version {0}")]
    Incompatible(RoomVersionId),
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

/// Makes the outline of a membership event, if the rules allow the event now.
///
/// `versions` are the room versions that the asking server knows; `None` where it does not say.
///
/// # Errors
///
/// See [`TemplateError`].
pub async fn template(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    user_id: &UserId,
    wish: Wish,
    versions: Option<&[RoomVersionId]>,
) -> Result<Template, TemplateError> {
    if user_id.server_name() != origin {
        return Err(TemplateError::Forbidden("The user is not of your server".to_owned()));
    }
    let room = room::load(engine, room_id).await?.ok_or(TemplateError::NotFound)?;
    if !access::acl_allows(engine, room_id, origin).await? {
        let reason = "The room's server ACL does not allow your server";
        return Err(TemplateError::Forbidden(reason.to_owned()));
    }
    if !access::can_help(engine, room_id, wish).await? {
        return Err(TemplateError::NotFound);
    }
    let room_version = room.version.0.clone();
    if versions.is_some_and(|known| !known.contains(&room_version)) {
        return Err(TemplateError::Incompatible(room_version));
    }
    let mut batch = Batch::new(engine, &room);
    let mut content = json!({ "membership": wish.membership() });
    if wish == Wish::Join
        && let Some(authoriser) = authoriser(&batch, user_id).await?
    {
        content["join_authorised_via_users_server"] = json!(authoriser);
    }
    let content = to_raw_value(&content).map_err(Internal::from)?;
    let draft = Draft::state(user_id.to_owned(), TimelineEventType::RoomMember, user_id, content);
    let outline = build::outline(&mut batch, &draft).await.map_err(|error| match error {
        BuildError::Internal(error) => TemplateError::Internal(error),
        error => TemplateError::Forbidden(error.to_string()),
    })?;
    check(&batch, &outline.event, outline.state_before).await?;
    let event = RawValue::from_string(template_text(outline.event)).map_err(Internal::from)?;
    Ok(Template { room_version, event })
}

async fn authoriser(
    batch: &Batch,
    user_id: &UserId,
) -> Result<Option<ruma::OwnedUserId>, TemplateError> {
    match restricted::grant(batch, user_id).await? {
        Grant::NotNeeded => Ok(None),
        Grant::By(user_id) => Ok(Some(user_id)),
        Grant::Refused => {
            Err(TemplateError::Forbidden("The user is in none of the rooms to be in".to_owned()))
        }
        Grant::CannotTell => Err(TemplateError::CannotTell),
        Grant::NobodyMay => Err(TemplateError::NobodyMay),
    }
}

/// Checks the event as if it were finished.
async fn check(batch: &Batch, outline: &Canonical, state_before: i64) -> Result<(), TemplateError> {
    let rules = batch.room.rules();
    let forbidden = |reason: &dyn std::fmt::Display| TemplateError::Forbidden(reason.to_string());
    let mut event = outline.clone();
    let filler = json!({ "hashes": { "sha256": "" }, "signatures": {} });
    let filler: ruma::CanonicalJsonObject =
        serde_json::from_value(filler).map_err(Internal::from)?;
    event.object_mut().extend(filler);
    let pdu = Pdu::from_canonical(event, rules).map_err(|error| forbidden(&error))?;
    let keys = authorize::state_keys(&pdu, rules).map_err(|error| forbidden(&error))?;
    let state = batch.state(state_before, &keys).await?;
    let get = |kind: &_, key: &str| state.get(&(Clone::clone(kind), key.to_owned())).cloned();
    authorize::check_state(&pdu, rules, get).map_err(|denied| match denied {
        Denied::State(reason) | Denied::Event(reason) => TemplateError::Forbidden(reason),
        missing @ Denied::Missing(_) => forbidden(&missing),
    })
}

/// In room versions 1 and 2 the server that finishes the event names it.
fn template_text(mut event: Canonical) -> String {
    event.object_mut().remove("event_id");
    event.to_text()
}
