//! GET /_matrix/media/v3/preview_url

pub(crate) use crate::routes::media::preview_url::get;
