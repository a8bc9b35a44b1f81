//! GET /_matrix/federation/v1/media/download/{mediaId}

use std::time::Duration;

use axum::{extract::State, response::Response};
use ruma::api::federation::authenticated_media::get_content::v1::Request;
use starling_engine::media::{
    MediaError,
    find::{self, Effort},
};

use crate::{
    door::{Door, Signed},
    error::Error,
    parts::{self, About},
};

/// How long an upload that was promised is waited for, at most.
pub(super) const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { request, .. }: Signed<Request>,
) -> Result<Response, Error> {
    let id = super::own(&door, &request.media_id)?;
    let effort = Effort {
        patience: request.timeout_ms.min(LONGEST_PATIENCE),
        ask_others: false,
        authenticated: true,
    };
    let file = find::find(&door.engine, &id, effort).await?;
    let about = About { content_type: file.content_type, file_name: file.file_name };
    if let Some(address) = parts::address(&door.engine, &file.hash, &about).await? {
        return parts::elsewhere(&address);
    }
    let bytes = door.engine.blobs.get(&file.hash, None).await.map_err(MediaError::from)?;
    parts::answer(&about, bytes)
}
