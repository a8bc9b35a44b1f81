//! POST /_matrix/client/v3/createRoom

use ruma::{OwnedUserId, RoomAliasId, RoomVersionId, events::StateEventType};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use starling_engine::rooms::{
    create::{self, CreateRoom, InitialState, Preset},
    membership::threepid::ThirdParty,
    naming,
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Body {
    visibility: Option<Visibility>,
    preset: Option<WantedPreset>,
    room_alias_name: Option<String>,
    name: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    invite: Vec<String>,
    #[serde(default)]
    invite_3pid: Vec<ThirdParty>,
    room_version: Option<String>,
    #[serde(default)]
    creation_content: Map<String, Value>,
    #[serde(default)]
    initial_state: Vec<WantedState>,
    #[serde(default)]
    is_direct: bool,
    #[serde(default)]
    power_level_content_override: Map<String, Value>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Visibility {
    Public,
    #[default]
    Private,
}

#[derive(Clone, Copy, Deserialize)]
enum WantedPreset {
    #[serde(rename = "private_chat")]
    Private,
    #[serde(rename = "public_chat")]
    Public,
    #[serde(rename = "trusted_private_chat")]
    TrustedPrivate,
}

#[derive(Deserialize)]
struct WantedState {
    #[serde(rename = "type")]
    kind: StateEventType,
    #[serde(default)]
    state_key: String,
    content: Box<RawValue>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    call.limit(Doing::Creating, &session)?;
    let mut body: Body = call.body_as().await?;
    if let Some(localpart) = &body.room_alias_name {
        let alias = format!("#{localpart}:{}", call.engine.config.server_name);
        // What is no alias is refused below.
        if let Ok(alias) = <&RoomAliasId>::try_from(&*alias) {
            naming::check_kept(&call.engine, session.appservice.as_deref(), alias)?;
        }
    }
    let mut by_address = std::mem::take(&mut body.invite_3pid);
    let shadow_banned = session.is_shadow_banned();
    let mut wanted = wanted(session.user_id, body)?;
    if shadow_banned {
        wanted.invite.clear();
        by_address.clear();
    }
    let room_id = create::create_and_invite(&call.engine, &wanted, &by_address).await?;
    answer_json(&json!({ "room_id": room_id }))
}

fn wanted(creator: OwnedUserId, body: Body) -> Result<CreateRoom, Error> {
    let published = body.visibility.unwrap_or_default() == Visibility::Public;
    let version = body.room_version.map(|version| {
        RoomVersionId::try_from(version).map_err(|_| create::CreateError::UnsupportedVersion)
    });
    let invite = body.invite.into_iter().map(|id| {
        let malformed = || Error::invalid_param(format!("{id} is not a user ID"));
        OwnedUserId::try_from(id.as_str()).map_err(|_| malformed())
    });
    let initial_state = body.initial_state.into_iter();
    Ok(CreateRoom {
        creator,
        version: version.transpose()?,
        preset: preset(body.preset, published),
        published,
        alias: body.room_alias_name,
        name: body.name,
        topic: body.topic,
        invite: invite.collect::<Result<_, _>>()?,
        is_direct: body.is_direct,
        creation_content: body.creation_content,
        initial_state: initial_state
            .map(|WantedState { kind, state_key, content }| InitialState {
                kind,
                state_key,
                content,
            })
            .collect(),
        power_level_content_override: body.power_level_content_override,
    })
}

/// Without a preset, the visibility in the directory decides.
fn preset(wanted: Option<WantedPreset>, published: bool) -> Preset {
    match wanted {
        Some(WantedPreset::Private) => Preset::PrivateChat,
        Some(WantedPreset::Public) => Preset::PublicChat,
        Some(WantedPreset::TrustedPrivate) => Preset::TrustedPrivateChat,
        None if published => Preset::PublicChat,
        None => Preset::PrivateChat,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use crate::testing::TestDoor;

    const PATH: &str = "/_matrix/client/v3/createRoom";

    #[tokio::test]
    async fn makes_rooms_and_refuses_what_cannot_be() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        let room = door.post(PATH, &alice, json!({})).await.ok();
        assert!(room["room_id"].as_str().unwrap().starts_with('!'));
        let named = json!({ "room_alias_name": "a", "visibility": "public", "name": "N",
            "invite": ["@bob:test"], "preset": "public_chat", "room_version": "10" });
        door.post(PATH, &alice, named.clone()).await.ok();
        for (body, errcode) in [
            (named, "M_ROOM_IN_USE"),
            (json!({ "room_version": "none" }), "M_UNSUPPORTED_ROOM_VERSION"),
            (json!({ "room_version": 12 }), "M_BAD_JSON"),
            (json!({ "invite": ["bob"] }), "M_INVALID_PARAM"),
            (json!({ "invite": "@bob:test" }), "M_BAD_JSON"),
            (json!({ "preset": "nice_chat" }), "M_BAD_JSON"),
            (json!({ "initial_state": [{ "type": "m.room.name" }] }), "M_MISSING_PARAM"),
            (json!({ "initial_state": [{ "type": "x", "content": 1 }] }), "M_BAD_JSON"),
            (
                json!({ "power_level_content_override": { "users": { "@alice:test": 100 } } }),
                "M_INVALID_ROOM_STATE",
            ),
        ] {
            door.post(PATH, &alice, body).await.refused(StatusCode::BAD_REQUEST, errcode);
        }
    }
}
