//! PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}

use axum::extract::State;
use ruma::{OwnedRoomId, OwnedUserId, RoomId};
use serde::Deserialize;
use serde_json::{Map, Value};
use starling_engine::rooms::membership::{
    MembershipError,
    threepid::{exchange, proof::Proof},
};

use crate::{
    door::{Door, Json, SignedBody},
    error::{Error, Kind},
};

#[derive(Deserialize)]
pub(crate) struct Body {
    #[serde(rename = "type")]
    kind: String,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    state_key: OwnedUserId,
    content: Content,
}

#[derive(Deserialize)]
struct Content {
    membership: String,
    third_party_invite: ThirdPartyInvite,
}

#[derive(Deserialize)]
struct ThirdPartyInvite {
    signed: Value,
}

pub(crate) async fn put(
    State(door): State<Door>,
    SignedBody { origin, path, body, .. }: SignedBody<Body>,
) -> Result<Json<Map<String, Value>>, Error> {
    let invalid = |reason: &str| Error::new(Kind::InvalidParam, reason);
    let named = path.first().and_then(|id| <&RoomId>::try_from(id.as_str()).ok());
    if named != Some(&*body.room_id) {
        return Err(invalid("The room ID in the path is not that of the event"));
    }
    if body.kind != "m.room.member" || body.content.membership != "invite" {
        return Err(invalid("Not an invite"));
    }
    if body.state_key.server_name() != origin {
        return Err(invalid("The invited user is not of your server"));
    }
    if body.sender.server_name() != door.engine.config.server_name {
        return Err(invalid("The sender is not of this server"));
    }
    let proof = Proof::read(body.content.third_party_invite.signed);
    let proof = proof.filter(|proof| proof.mxid == body.state_key);
    let proof = proof.ok_or_else(|| invalid("The invite was not accepted by this user"))?;
    exchange::exchange(&door.engine, &body.room_id, &body.sender, &proof).await?;
    Ok(Json(Map::new()))
}

impl From<MembershipError> for Error {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::Internal(error) => Self::failed(&error),
            MembershipError::UnknownRoom => Self::new(Kind::NotFound, error.to_string()),
            MembershipError::InviteBlocked => Self::new(Kind::InviteBlocked, error.to_string()),
            error => Self::new(Kind::Forbidden, error.to_string()),
        }
    }
}
