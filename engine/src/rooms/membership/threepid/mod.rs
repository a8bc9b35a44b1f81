//! Inviting somebody of whom only an e-mail address is known: an identity server knows their user ID,
//! or keeps the invite until it does.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#third-party-invites>

pub mod exchange;

mod identity;

pub mod proof;

use ruma::{
    OwnedUserId, RoomId, UserId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::to_raw_value};

use self::identity::{IdentityServer, Stored};
use super::{
    MembershipError,
    content::Member,
    invite::{self, Invite},
};
use crate::{
    Engine,
    internal::Internal,
    rooms::{
        batch::{Batch, State},
        build::Draft,
        power::{self, Action, Powers},
        room, send,
        visibility::membership_of,
    },
};

/// How long an address may be, in bytes.
const LONGEST_ADDRESS: usize = 500;

/// Who is invited, and who knows them.
#[derive(Clone, Debug, Deserialize)]
pub struct ThirdParty {
    /// Host and port of the identity server.
    pub id_server: String,
    /// A token for it, of the user who invites.
    pub id_access_token: String,
    /// The kind of address: `email`.
    pub medium: String,
    /// The address.
    pub address: String,
}

/// Why nobody was invited.
#[derive(Debug, thiserror::Error)]
pub enum ThreepidError {
    /// That is no identity server, or no address.
    #[error("{0}")]
    Malformed(String),
    /// The identity server refuses the user who invites.
    #[error("the identity server refuses: {0}")]
    Refused(String),
    /// The identity server did not help.
    #[error("the identity server did not help: {0}")]
    Unreachable(String),
    /// The invite itself is not possible.
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

impl From<Internal> for ThreepidError {
    fn from(error: Internal) -> Self {
        Self::Membership(error.into())
    }
}

/// Invites who has an address.
///
/// # Errors
///
/// See [`ThreepidError`].
pub async fn invite(
    engine: &Engine,
    room_id: &RoomId,
    sender: &UserId,
    whom: &ThirdParty,
    member: Member,
) -> Result<(), ThreepidError> {
    if whom.address.is_empty() || whom.address.len() > LONGEST_ADDRESS || whom.medium.len() > 50 {
        return Err(ThreepidError::Malformed("that is no address".to_owned()));
    }
    let state = inviter_sees(engine, room_id, sender).await?;
    let server = IdentityServer::new(engine, whom)?;
    if let Some(target) = server.lookup().await? {
        return invite_known(engine, room_id, sender, &target, member).await;
    }
    match server.store(&about_room(room_id, sender, &state)).await? {
        Stored::Bound(target) => invite_known(engine, room_id, sender, &target, member).await,
        Stored::Kept(kept) => {
            let content = to_raw_value(&kept.content()).map_err(Internal::from)?;
            let kind = TimelineEventType::RoomThirdPartyInvite;
            let draft = Draft::state(sender.to_owned(), kind, kept.token, content);
            send::one(engine, room_id, &draft, None).await.map_err(MembershipError::from)?;
            Ok(())
        }
    }
}

async fn invite_known(
    engine: &Engine,
    room_id: &RoomId,
    sender: &UserId,
    target: &OwnedUserId,
    member: Member,
) -> Result<(), ThreepidError> {
    invite::invite(engine, Invite { room_id, sender, target, member }).await?;
    Ok(())
}

/// The state that is told the identity server, if the user may invite. Nobody outside hears of an
/// invite that is not possible.
async fn inviter_sees(
    engine: &Engine,
    room_id: &RoomId,
    sender: &UserId,
) -> Result<State, MembershipError> {
    let forbidden = |reason: &str| MembershipError::Forbidden(reason.to_owned());
    let room = room::load(engine, room_id).await?;
    let room = room.ok_or_else(|| forbidden("you are not in this room"))?;
    let member = (StateEventType::RoomMember, sender.to_string());
    let mut keys = power::state_keys().to_vec();
    keys.push(member.clone());
    keys.extend(TOLD.map(|(kind, _, _)| (StateEventType::from(kind), String::new())));
    let state = Batch::new(engine, &room).state(room.row.current_state, &keys).await?;
    if membership_of(state.get(&member).map(|pdu| &**pdu)) != MembershipState::Join {
        return Err(forbidden("you are not in this room"));
    }
    match Powers::new(&state, &room.rules().authorization).allow(sender, Action::Invite) {
        true => Ok(state),
        false => Err(forbidden("you may not invite")),
    }
}

/// What the identity server is told of the room: event type, field of its content, field of the
/// request.
const TOLD: [(&str, &str, &str); 5] = [
    ("m.room.canonical_alias", "alias", "room_alias"),
    ("m.room.avatar", "url", "room_avatar_url"),
    ("m.room.join_rules", "join_rule", "room_join_rules"),
    ("m.room.name", "name", "room_name"),
    ("m.room.create", "type", "room_type"),
];

fn about_room(room_id: &RoomId, sender: &UserId, state: &State) -> Map<String, Value> {
    let mut about = Map::new();
    about.insert("room_id".to_owned(), room_id.as_str().into());
    about.insert("sender".to_owned(), sender.as_str().into());
    let mut tell = |kind: StateEventType, key: &str, field: &str, name: &str| {
        let value = state.get(&(kind, key.to_owned())).and_then(|pdu| pdu.content_str(field));
        about.extend(value.map(|value| (name.to_owned(), json!(value))));
    };
    for (kind, field, name) in TOLD {
        tell(kind.into(), "", field, name);
    }
    tell(StateEventType::RoomMember, sender.as_str(), "displayname", "sender_display_name");
    tell(StateEventType::RoomMember, sender.as_str(), "avatar_url", "sender_avatar_url");
    about
}
