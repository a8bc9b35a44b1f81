//! GET /_matrix/media/v3/download/{serverName}/{mediaId}
//! GET /_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}

use starling_engine::media::find::Effort;

use crate::{
    answer::Answer,
    call::Call,
    error::Error,
    file::{self, Query},
    limits::Doing,
};

pub(crate) async fn get(call: Call) -> Answer {
    file::download(&call, effort(&call)?, None).await
}

pub(crate) async fn get_named(call: Call) -> Answer {
    file::download(&call, effort(&call)?, Some(call.path_arg(2))).await
}

fn effort(call: &Call) -> Result<Effort, Error> {
    call.take(Doing::Media, None)?;
    Ok(call.query_as::<Query>()?.effort_for_anybody())
}
