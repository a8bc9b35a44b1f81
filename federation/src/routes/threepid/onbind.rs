//! PUT /_matrix/federation/v1/3pid/onbind

use axum::extract::State;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Map, Value};
use starling_engine::rooms::membership::threepid::{exchange, proof::Proof};

use crate::{
    door::{Door, Json, UnsignedBody},
    error::{Error, Kind},
};

/// How many invites of one address are redeemed; whoever asks needs no signature.
const MAX_INVITES: usize = 50;

#[derive(Deserialize)]
pub(crate) struct Body {
    mxid: OwnedUserId,
    #[serde(default)]
    invites: Vec<Invite>,
}

#[derive(Deserialize)]
struct Invite {
    mxid: OwnedUserId,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    signed: Value,
}

/// An address belongs to a user of ours, who may have been invited by it. Whether that is so, the
/// servers of those who invited find out: an invite that cannot be redeemed is left out.
pub(crate) async fn put(
    State(door): State<Door>,
    UnsignedBody { body, .. }: UnsignedBody<Body>,
) -> Result<Json<Map<String, Value>>, Error> {
    if body.mxid.server_name() != door.engine.config.server_name {
        return Err(Error::new(Kind::InvalidParam, "The user is not of this server"));
    }
    if body.invites.len() > MAX_INVITES {
        return Err(Error::new(Kind::TooLarge, format!("More than {MAX_INVITES} invites")));
    }
    for invite in body.invites {
        let proof = Proof::read(invite.signed);
        let theirs = proof.filter(|proof| proof.mxid == body.mxid && invite.mxid == body.mxid);
        let Some(proof) = theirs else { continue };
        let redeemed =
            exchange::redeem(&door.engine, &invite.room_id, &invite.sender, &proof).await;
        if let Err(error) = redeemed {
            tracing::info!(%error, room.id = %invite.room_id, user.id = %body.mxid,
                "An invite of an address could not be redeemed");
        }
    }
    Ok(Json(Map::new()))
}
