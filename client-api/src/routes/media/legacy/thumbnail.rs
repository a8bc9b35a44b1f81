//! GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}

use crate::{answer::Answer, call::Call, file::Query, limits::Doing, routes::media::thumbnail};

pub(crate) async fn get(call: Call) -> Answer {
    call.take(Doing::Media, None)?;
    let query: Query = call.query_as()?;
    thumbnail::thumbnail(&call, query.effort_for_anybody()).await
}
