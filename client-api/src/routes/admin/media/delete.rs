//! POST /_synapse/admin/v1/media/delete
//! POST /_synapse/admin/v1/media/{serverName}/delete

use serde::Deserialize;
use starling_engine::admin::media::{self, Old};

use super::deleted;
use crate::{answer::Answer, call::Call, error::Error, routes::admin::reset_password::yes};

/// The first moments in milliseconds since 1970 that tools can mean: what is less was given in seconds.
pub(in crate::routes::admin) const SECONDS: i64 = 30_000_000_000;

#[derive(Deserialize)]
struct Query {
    before_ts: i64,
    #[serde(default)]
    size_gt: i64,
    #[serde(default = "yes")]
    keep_profiles: bool,
}

pub(crate) async fn post(call: Call) -> Answer {
    call.administrator().await?;
    let Query { before_ts, size_gt, keep_profiles } = call.query_as()?;
    if before_ts < SECONDS {
        return Err(Error::invalid_param("`before_ts` must be milliseconds since 1970"));
    }
    if size_gt < 0 {
        return Err(Error::invalid_param("`size_gt` must not be negative"));
    }
    let old = Old { before_ts, larger_than: size_gt, keep_avatars: keep_profiles };
    deleted(&media::remove_old(&call.engine, old).await?)
}

/// The name of a server in the path can only be this one's.
pub(crate) async fn post_of_server(call: Call) -> Answer {
    call.administrator().await?;
    if call.path_arg(0) != call.engine.config.server_name.as_str() {
        return Err(Error::invalid_param("This server can only delete files of its own users"));
    }
    post(call).await
}
