//! GET /_matrix/client/v1/media/preview_url

use serde::Deserialize;
use starling_engine::media::preview;
use url::Url;

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Query {
    url: Option<String>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.take(Doing::Media, Some(&session))?;
    if !call.engine.config.media.url_previews {
        return Err(Error::not_in_use("There are no previews on this server"));
    }
    let query: Query = call.query_as()?;
    let url = query.url.ok_or_else(|| Error::missing_param("`url` is missing"))?;
    let url = Url::parse(&url).map_err(|_| Error::invalid_param("`url` is no address"))?;
    let language = call.header("accept-language");
    let preview = preview::preview(&call.engine, &url, language).await?;
    json(&*preview)
}
