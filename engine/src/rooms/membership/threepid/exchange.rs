//! Making an invite of a user of what was an invite of an address, by the proof that the address is
//! theirs.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#third-party-invites>

use bytes::Bytes;
use http::{Method, Request};
use ruma::{
    RoomId, UserId,
    events::{StateEventType, room::member::MembershipState},
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::{
    identity::LIMITS,
    proof::{Key, Proof},
};
use crate::{
    Engine, ask,
    internal::Internal,
    remote::Limits,
    rooms::{
        batch::Batch,
        membership::{
            MembershipError,
            content::Member,
            invite::{self, Invite},
        },
        room,
        visibility::membership_of,
    },
};

/// What it may cost to have another server make the invite, which asks us in between.
const EXCHANGE_LIMITS: Limits =
    Limits { timeout: std::time::Duration::from_secs(60), max_body: 64 * 1024 };

/// Has the invite made: here, when the user who invited is ours, or by their server.
///
/// # Errors
///
/// See [`MembershipError`].
pub async fn redeem(
    engine: &Engine,
    room_id: &RoomId,
    sender: &UserId,
    proof: &Proof,
) -> Result<(), MembershipError> {
    if sender.server_name() == engine.config.server_name {
        return exchange(engine, room_id, sender, proof).await;
    }
    let name = proof.mxid.localpart();
    let body = json!({
        "type": "m.room.member",
        "room_id": room_id,
        "sender": sender,
        "state_key": proof.mxid,
        "content": {
            "membership": "invite",
            "third_party_invite": { "display_name": name, "signed": proof.signed },
        },
    });
    let path = ask::path("v1/exchange_third_party_invite", &[room_id.as_str()]);
    let server = sender.server_name();
    let _: IgnoredAny =
        ask::send(engine, server, Method::PUT, path, &body, EXCHANGE_LIMITS).await?;
    Ok(())
}

/// Makes the invite in a room where a user of ours invited an address.
///
/// # Errors
///
/// [`MembershipError::Forbidden`] when there is no such invite, or the proof does not hold.
pub async fn exchange(
    engine: &Engine,
    room_id: &RoomId,
    sender: &UserId,
    proof: &Proof,
) -> Result<(), MembershipError> {
    let forbidden = |reason: &str| MembershipError::Forbidden(reason.to_owned());
    let room = room::load(engine, room_id).await?;
    let room = room.ok_or_else(|| forbidden("there is no such invite"))?;
    let invite = (StateEventType::RoomThirdPartyInvite, proof.token.clone());
    let member = (StateEventType::RoomMember, proof.mxid.to_string());
    let keys = [invite.clone(), member.clone()];
    let state = Batch::new(engine, &room).state(room.row.current_state, &keys).await?;
    let invite = state.get(&invite).filter(|invite| invite.sender == sender);
    let invite = invite.ok_or_else(|| forbidden("there is no such invite"))?;
    let member = state.get(&member);
    match membership_of(member.map(|pdu| &**pdu)) {
        // The proof was redeemed before.
        MembershipState::Invite | MembershipState::Join => return Ok(()),
        // Who was removed does not come back by a proof that they still have.
        MembershipState::Leave if member.is_some_and(|member| member.sender != *proof.mxid) => {
            return Err(forbidden("the user was removed from the room"));
        }
        _ => {}
    }
    let content: Map<String, Value> =
        serde_json::from_str(invite.content.get()).map_err(Internal::from)?;
    let key = proof.key(&content).ok_or_else(|| forbidden("the proof does not hold"))?;
    if !is_valid(engine, &key).await {
        return Err(forbidden("the identity server does not vouch for its key"));
    }
    let name = content.get("display_name").cloned().unwrap_or_else(|| "".into());
    let by_address = json!({ "display_name": name, "signed": proof.signed });
    let more = Map::from_iter([("third_party_invite".to_owned(), by_address)]);
    let (target, member) = (&*proof.mxid, Member { more, ..Member::default() });
    invite::invite(engine, Invite { room_id, sender, target, member }).await?;
    Ok(())
}

/// "H1 MUST verify the request from H3 to ensure … the `key_validity_url` as still being valid."
async fn is_valid(engine: &Engine, key: &Key) -> bool {
    #[derive(Deserialize)]
    struct Answer {
        valid: bool,
    }
    // "If this URL is absent, the key must be considered valid indefinitely."
    let Some(url) = &key.validity_url else { return true };
    let Ok(mut url) = url::Url::parse(url) else { return false };
    url.set_fragment(None);
    url.query_pairs_mut().append_pair("public_key", &key.public_key);
    let Ok(request) = Request::get(url.as_str()).body(Bytes::new()) else { return false };
    match engine.transport.fetch(request, LIMITS).await {
        Ok(response) if response.status().is_success() => {
            serde_json::from_slice::<Answer>(response.body()).is_ok_and(|answer| answer.valid)
        }
        Ok(_) => false,
        Err(error) => {
            tracing::info!(%error, "Whether a key of an identity server is valid cannot be told");
            false
        }
    }
}
