//! PUT /_matrix/federation/v1/invite/{roomId}/{eventId}
//! PUT /_matrix/federation/v2/invite/{roomId}/{eventId}

use axum::extract::State;
use ruma::{RoomVersionId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use starling_engine::rooms::serve::invite::{self, Invitation, InviteError};

use crate::{
    door::{Door, Json, SignedBody, room_and_event},
    error::{Error, Kind},
};

#[derive(Deserialize)]
pub(crate) struct BodyV2 {
    room_version: RoomVersionId,
    event: Box<RawValue>,
    #[serde(default)]
    invite_room_state: Vec<Box<RawValue>>,
}

/// What a body of v1, which is the event itself, has beside the event.
#[derive(Deserialize)]
struct BodyV1 {
    #[serde(default)]
    unsigned: Unsigned,
}

#[derive(Default, Deserialize)]
struct Unsigned {
    #[serde(default)]
    invite_room_state: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
pub(crate) struct Answer {
    event: Box<RawValue>,
}

pub(crate) async fn put_v2(
    State(door): State<Door>,
    SignedBody { origin, path, body, .. }: SignedBody<BodyV2>,
) -> Result<Json<Answer>, Error> {
    take(&door, &origin, &path, &body).await.map(Json)
}

/// The older form, which is for rooms of version 1 and 2; their events have the same format.
pub(crate) async fn put_v1(
    State(door): State<Door>,
    SignedBody { origin, path, body: event, .. }: SignedBody<Box<RawValue>>,
) -> Result<Json<(u16, Answer)>, Error> {
    let BodyV1 { unsigned } = serde_json::from_str(event.get())?;
    let invite_room_state = unsigned.invite_room_state;
    let body = BodyV2 { room_version: RoomVersionId::V1, event, invite_room_state };
    take(&door, &origin, &path, &body).await.map(|answer| Json((200, answer)))
}

async fn take(
    door: &Door,
    origin: &ServerName,
    path: &[String],
    body: &BodyV2,
) -> Result<Answer, Error> {
    door.limits.invite(origin)?;
    let (room_id, event_id) = room_and_event(path)?;
    let invitation = Invitation {
        room_id,
        event_id,
        room_version: &body.room_version,
        event: &body.event,
        room_state: &body.invite_room_state,
    };
    let signed = invite::invite(&door.engine, origin, invitation).await?;
    Ok(Answer { event: signed.json.clone() })
}

impl From<InviteError> for Error {
    fn from(error: InviteError) -> Self {
        match error {
            InviteError::UnsupportedVersion(ref version) => {
                Self::new(Kind::IncompatibleRoomVersion, error.to_string())
                    .with("room_version", version.as_str())
            }
            InviteError::Invalid(reason) => Self::new(Kind::InvalidParam, reason),
            InviteError::Forbidden(reason) => Self::new(Kind::Forbidden, reason),
            InviteError::Blocked => Self::new(Kind::InviteBlocked, error.to_string()),
            InviteError::Internal(error) => Self::failed(&error),
        }
    }
}
