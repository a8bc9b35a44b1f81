//! GET /_synapse/admin/v1/room/{roomId}/media
//! POST /_synapse/admin/v1/room/{roomId}/media/quarantine

use ruma::OwnedRoomId;
use serde_json::json;
use starling_engine::{
    admin::media::{self, Selection},
    media::MediaId,
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    routes::admin::rooms::known,
};

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let room_id = room(&call).await?;
    let files = media::of_room(&call.engine, &room_id).await?;
    let own = &call.engine.config.server_name;
    let (local, remote): (Vec<_>, Vec<_>) = files.iter().partition(|id| id.origin() == own);
    let addresses =
        |files: Vec<&MediaId>| files.iter().map(ToString::to_string).collect::<Vec<_>>();
    answer_json(&json!({ "local": addresses(local), "remote": addresses(remote) }))
}

pub(crate) async fn post_quarantine(call: Call) -> Answer {
    let by = call.administrator().await?.user_id;
    let room_id = room(&call).await?;
    let selection = Selection::In(&room_id);
    let count = media::quarantine(&call.engine, by.as_str(), selection).await?;
    answer_json(&json!({ "num_quarantined": count }))
}

/// The room of the path, which must be known.
async fn room(call: &Call) -> Result<OwnedRoomId, Error> {
    let room_id: OwnedRoomId = call.path_id(0)?;
    known(call, &room_id).await?;
    Ok(room_id)
}
