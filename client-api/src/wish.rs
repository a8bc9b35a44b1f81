//! What the routes that change memberships take in common.

use ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, RoomId, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};
use starling_engine::{
    Engine,
    rooms::{
        aliases,
        membership::threepid::{exchange, proof::Proof},
    },
};

use crate::{call::Call, error::Error};

/// How many servers a client may name.
const MAX_VIA: usize = 20;

/// The room that a path names by ID or alias, and servers that may be in it.
pub(crate) struct Named {
    pub(crate) room_id: OwnedRoomId,
    pub(crate) via: Vec<OwnedServerName>,
}

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    via: Vec<String>,
    /// The name of `via` before specification v1.12.
    #[serde(default)]
    server_name: Vec<String>,
}

impl Named {
    /// Of the first parameter of the path, and the query.
    pub(crate) async fn of(call: &Call) -> Result<Self, Error> {
        let Query { mut via, server_name } = call.query_as()?;
        via.extend(server_name);
        via.truncate(MAX_VIA);
        let mut via = via
            .into_iter()
            .map(|name| OwnedServerName::try_from(name.as_str()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Error::invalid_param("`via` is not a server name"))?;
        if !call.path_arg(0).starts_with('#') {
            return Ok(Self { room_id: call.path_id(0)?, via });
        }
        let alias: &RoomAliasId = call
            .path_arg(0)
            .try_into()
            .map_err(|_| Error::invalid_param("This is not a room alias"))?;
        let named = aliases::resolve(&call.engine, alias).await?;
        let named = named.ok_or_else(|| Error::not_found("There is no such alias"))?;
        via.extend(named.servers);
        Ok(Self { room_id: named.room_id, via })
    }
}

/// The body of a request to join or knock.
pub(crate) struct Wish {
    pub(crate) reason: Option<String>,
    /// The proof that an address is the user's which was invited, with who invited it.
    pub(crate) accepted: Option<(OwnedUserId, Proof)>,
    /// What else the client wants the event to say.
    pub(crate) more: Map<String, Value>,
}

impl Wish {
    pub(crate) async fn of(call: &mut Call) -> Result<Self, Error> {
        let mut more: Map<String, Value> = call.body_as().await?;
        let accepted = more.remove("third_party_signed").map(accepted).transpose()?;
        let reason = match more.remove("reason") {
            None | Some(Value::Null) => None,
            Some(Value::String(reason)) => Some(reason),
            Some(_) => return Err(Error::bad_json("`reason` is not a string")),
        };
        Ok(Self { reason, accepted, more })
    }

    /// Makes an invite of the user of what was an invite of their address.
    pub(crate) async fn redeem(
        &self,
        engine: &Engine,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<(), Error> {
        let Some((sender, proof)) = &self.accepted else { return Ok(()) };
        if proof.mxid != user_id {
            return Err(Error::forbidden("The invite was accepted by somebody else"));
        }
        Ok(exchange::redeem(engine, room_id, sender, proof).await?)
    }
}

fn accepted(signed: Value) -> Result<(OwnedUserId, Proof), Error> {
    let sender = signed.get("sender").and_then(Value::as_str);
    let sender = sender.and_then(|sender| OwnedUserId::try_from(sender).ok());
    let accepted = sender.zip(Proof::read(signed));
    accepted.ok_or_else(|| Error::bad_json("`third_party_signed` is malformed"))
}

/// The body of a request about another user.
#[derive(Deserialize)]
pub(crate) struct About {
    user_id: String,
    pub(crate) reason: Option<String>,
}

impl About {
    /// Whom it is about.
    pub(crate) fn target(&self) -> Result<OwnedUserId, Error> {
        let malformed = |_| Error::invalid_param("`user_id` is not a user ID");
        OwnedUserId::try_from(self.user_id.as_str()).map_err(malformed)
    }
}
