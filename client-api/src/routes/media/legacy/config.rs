//! GET /_matrix/media/v3/config

pub(crate) use crate::routes::media::config::get;
