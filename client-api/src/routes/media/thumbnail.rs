//! GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}

use serde::Deserialize;
use starling_engine::media::{
    find::Effort,
    thumbnails::{self, Wish},
};

use crate::{
    answer::Answer,
    call::Call,
    error::Error,
    file::{self, Query},
    limits::Doing,
};

#[derive(Deserialize)]
struct Size {
    width: Option<String>,
    height: Option<String>,
    method: Option<String>,
    animated: Option<bool>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated_or_guest().await?;
    call.take(Doing::Media, Some(&session))?;
    let query: Query = call.query_as()?;
    thumbnail(&call, query.effort()).await
}

/// The answer with a picture of the file that the path names.
pub(super) async fn thumbnail(call: &Call, effort: Effort) -> Answer {
    let wish = wish(call)?;
    let picture = thumbnails::find(&call.engine, &file::named(call)?, wish, effort).await?;
    file::picture(call, picture, effort).await
}

/// What cannot be a size makes no sense to the server: 400 `M_UNKNOWN`.
fn wish(call: &Call) -> Result<Wish, Error> {
    let size: Size = call.query_as()?;
    let pixels = |length: Option<String>, name: &str| {
        let length = length.ok_or_else(|| Error::missing_param(format!("`{name}` is missing")))?;
        length.parse().map_err(|_| Error::unknown(format!("`{name}` is no number of pixels")))
    };
    let crop = match size.method.as_deref() {
        None | Some("scale") => false,
        Some("crop") => true,
        Some(_) => return Err(Error::unknown("There is no such method")),
    };
    Ok(Wish {
        width: pixels(size.width, "width")?,
        height: pixels(size.height, "height")?,
        crop,
        animated: size.animated == Some(true),
    })
}
