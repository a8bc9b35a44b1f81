//! GET /_matrix/federation/v1/media/thumbnail/{mediaId}

use axum::{extract::State, response::Response};
use ruma::{
    api::federation::authenticated_media::get_content_thumbnail::v1::Request, media::Method,
};
use starling_engine::media::{
    find::Effort,
    thumbnails::{self, Wish},
};

use super::download::LONGEST_PATIENCE;
use crate::{
    door::{Door, Signed},
    error::Error,
    parts::{self, About},
};

pub(crate) async fn get(
    State(door): State<Door>,
    Signed { request, .. }: Signed<Request>,
) -> Result<Response, Error> {
    let id = super::own(&door, &request.media_id)?;
    let pixels = |length: ruma::UInt| u32::try_from(length).unwrap_or(u32::MAX);
    let wish = Wish {
        width: pixels(request.width),
        height: pixels(request.height),
        crop: request.method == Some(Method::Crop),
        animated: request.animated == Some(true),
    };
    let effort = Effort {
        patience: request.timeout_ms.min(LONGEST_PATIENCE),
        ask_others: false,
        authenticated: true,
    };
    let picture = thumbnails::find(&door.engine, &id, wish, effort).await?;
    let about = About { content_type: Some(picture.content_type.clone()), file_name: None };
    if let Some(address) = parts::address(&door.engine, &picture.hash, &about).await? {
        return parts::elsewhere(&address);
    }
    parts::answer(&about, picture.open(&door.engine).await?)
}
