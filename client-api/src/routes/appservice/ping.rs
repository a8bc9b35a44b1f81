//! POST /_matrix/client/v1/appservice/{appserviceId}/ping

use serde::Deserialize;
use serde_json::json;
use starling_engine::appservices::ping;

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
};

/// How long a transaction ID may be, in bytes.
const LONGEST_ID: usize = 255;

#[derive(Deserialize)]
struct Body {
    transaction_id: Option<String>,
}

pub(crate) async fn post(mut call: Call) -> Answer {
    let Some(service) = call.appservice()? else {
        call.authenticated().await?;
        return Err(Error::forbidden("Only application services ask this"));
    };
    if service.id != call.path_arg(0) {
        return Err(Error::forbidden("This is the token of another application service"));
    }
    let body: Body = call.body_as().await?;
    let id = body.transaction_id;
    if id.as_ref().is_some_and(|id| id.len() > LONGEST_ID) {
        return Err(Error::invalid_param("The transaction ID is longer than 255 bytes"));
    }
    let took = ping::ping(&call.engine, &service, id.as_deref()).await?;
    answer::json(&json!({ "duration_ms": took.as_millis() }))
}
