//! GET /_matrix/client/v1/media/download/{serverName}/{mediaId}
//! GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}

use starling_engine::media::find::Effort;

use crate::{
    answer::Answer,
    call::Call,
    error::Error,
    file::{self, Query},
    limits::Doing,
};

pub(crate) async fn get(call: Call) -> Answer {
    file::download(&call, effort(&call).await?, None).await
}

pub(crate) async fn get_named(call: Call) -> Answer {
    file::download(&call, effort(&call).await?, Some(call.path_arg(2))).await
}

async fn effort(call: &Call) -> Result<Effort, Error> {
    let session = call.authenticated_or_guest().await?;
    call.take(Doing::Media, Some(&session))?;
    Ok(call.query_as::<Query>()?.effort())
}
