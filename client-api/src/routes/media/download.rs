//! GET /_matrix/client/v1/media/download/{serverName}/{mediaId}
//! GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}

use starling_engine::media::find;

use crate::{
    answer::Answer,
    call::Call,
    file::{self, Query},
    limits::Doing,
};

pub(crate) async fn get(call: Call) -> Answer {
    download(&call, None).await
}

pub(crate) async fn get_named(call: Call) -> Answer {
    download(&call, Some(call.path_arg(2).to_owned())).await
}

async fn download(call: &Call, file_name: Option<String>) -> Answer {
    let session = call.authenticated_or_guest().await?;
    call.take(Doing::Media, Some(&session))?;
    let query: Query = call.query_as()?;
    let found = find::find(&call.engine, &file::named(call)?, query.effort()).await?;
    file::answer(call, found, file_name).await
}
