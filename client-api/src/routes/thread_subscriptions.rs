//! GET /_matrix/client/unstable/io.element.msc4308/thread_subscriptions

use serde::Deserialize;
use starling_engine::reading::{
    pos::Pos,
    subscriptions::{self, ChangesRequest},
};

use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
    limits::Doing,
};

#[derive(Deserialize)]
struct Query {
    dir: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u64>,
}

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.door.limits.user(Doing::Asking, &session.user_id)?;
    let query: Query = call.query_as()?;
    if query.dir.is_some_and(|dir| dir != "b") || query.limit == Some(0) {
        return Err(Error::invalid_param("`dir` is `b`, and `limit` is greater than zero"));
    }
    // A client fills the gaps that sliding sync left, between what that gave and where it was before.
    let token = |text: Option<String>| {
        let bad = |_| Error::invalid_param("The token is not one of this list");
        let number = |text: String| match Pos::parse(&text) {
            Ok(pos) => Ok(pos.seen.pos),
            Err(_) => text.parse::<i64>().map_err(bad),
        };
        text.map(number).transpose()
    };
    let request =
        ChangesRequest { from: token(query.from)?, to: token(query.to)?, limit: query.limit };
    json(&subscriptions::changes(&call.engine, &session.user_id, request).await?)
}
