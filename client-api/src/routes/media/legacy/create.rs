//! POST /_matrix/media/v1/create

use serde_json::json;
use starling_engine::media::upload;

use crate::{answer::Answer, call::Call, limits::Doing};

pub(crate) async fn post(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.take(Doing::Media, Some(&session))?;
    let (id, expires) = upload::promise(&call.engine, &session.user_id).await?;
    crate::answer::json(&json!({ "content_uri": id.to_string(), "unused_expires_at": expires }))
}
