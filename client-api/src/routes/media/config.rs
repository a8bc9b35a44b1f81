//! GET /_matrix/client/v1/media/config

use serde_json::json;

use crate::{answer::Answer, call::Call, limits::Doing};

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.take(Doing::Media, Some(&session))?;
    let largest = call.engine.config.media.largest_upload;
    crate::answer::json(&json!({ "m.upload.size": largest }))
}
