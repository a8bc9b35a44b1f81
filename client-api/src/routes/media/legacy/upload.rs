//! POST /_matrix/media/v3/upload
//! PUT /_matrix/media/v3/upload/{serverName}/{mediaId}

use serde::Deserialize;
use serde_json::json;
use starling_engine::media::upload::{self, Label};

use crate::{answer::Answer, call::Call, error::Error, file, limits::Doing};

#[derive(Deserialize)]
struct Query {
    filename: Option<String>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.take(Doing::Media, Some(&session))?;
    let label = label(&call)?;
    let bytes = call.take_body().into_data_stream();
    let id = upload::upload(&call.engine, &session.user_id, label, bytes).await?;
    crate::answer::json(&json!({ "content_uri": id.to_string() }))
}

pub(crate) async fn put(mut call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.take(Doing::Media, Some(&session))?;
    let (id, label) = (file::named(&call)?, label(&call)?);
    let bytes = call.take_body().into_data_stream();
    upload::keep_promise(&call.engine, &session.user_id, &id, label, bytes).await?;
    crate::answer::json(&json!({}))
}

/// What is said of the file. One that is announced too large is not read at all.
fn label(call: &Call) -> Result<Label, Error> {
    let length = call.header("content-length").and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > call.engine.config.media.largest_upload) {
        return Err(Error::too_large("The file is too large"));
    }
    let query: Query = call.query_as()?;
    let content_type = call.header("content-type").map(ToOwned::to_owned);
    Ok(Label { content_type, file_name: query.filename })
}
