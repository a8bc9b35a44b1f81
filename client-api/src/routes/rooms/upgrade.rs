//! POST /_matrix/client/v3/rooms/{roomId}/upgrade

use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId};
use serde::Deserialize;
use serde_json::json;
use starling_engine::rooms::{
    upgrade::{self, Upgrade, UpgradeError},
    versions,
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    limits::Doing,
    shadow,
};

#[derive(Deserialize)]
struct Body {
    new_version: String,
    #[serde(default)]
    additional_creators: Vec<String>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated_to_act().await?;
    call.limit(Doing::Creating, &session)?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let body: Body = call.body_as().await?;
    let unsupported = |_| UpgradeError::UnsupportedVersion;
    let version = RoomVersionId::try_from(body.new_version).map_err(unsupported)?;
    let additional_creators = creators(&version, &body.additional_creators, &session.user_id)?;
    if session.is_shadow_banned() {
        return shadow::replaced(&session, &[call.path_arg(0), version.as_str()]);
    }
    let wanted = Upgrade { room_id, user_id: session.user_id, version, additional_creators };
    let replacement = upgrade::upgrade(&call.engine, &wanted).await?;
    answer_json(&json!({ "replacement_room": replacement }))
}

/// "When upgrading to a room version which doesn't support additional creators, this field is
/// ignored".
fn creators(
    version: &RoomVersionId,
    named: &[String],
    creator: &OwnedUserId,
) -> Result<Vec<OwnedUserId>, Error> {
    let rules = versions::rules(version).ok_or(UpgradeError::UnsupportedVersion)?;
    let mut creators = Vec::new();
    if !rules.authorization.additional_room_creators {
        return Ok(creators);
    }
    for id in named {
        let malformed = |_| Error::invalid_param(format!("{id} is not a user ID"));
        let id = OwnedUserId::try_from(id.as_str()).map_err(malformed)?;
        if id != *creator && !creators.contains(&id) {
            creators.push(id);
        }
    }
    Ok(creators)
}
