//! Making a response.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use ruma::api::{OutgoingResponse, OutgoingResponseExt as _};
use serde::Serialize;
use starling_engine::rooms::send::answering::Unanswered;

use crate::{error::Error, untaken::Once};

/// What a route gives back.
pub(crate) type Answer = Result<Response, Error>;

/// 200 with the specification's response type.
pub(crate) fn answer(response: impl OutgoingResponse) -> Answer {
    let response = response.try_into_http_response::<Vec<u8>>().map_err(Error::internal)?;
    Ok(response.map(exact))
}

/// 200 with a value of our own as JSON.
pub(crate) fn json(value: &impl Serialize) -> Answer {
    raw_json(exact(serde_json::to_vec(value).map_err(Error::internal)?))
}

/// The same with another status than 200.
pub(crate) fn json_with(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut response = json(value)?;
    *response.status_mut() = status;
    Ok(response)
}

/// 200 with bytes that are JSON already.
pub(crate) fn raw_json(body: impl Into<Body>) -> Answer {
    let mut response = Response::new(body.into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// A body that takes no more memory than it is long: it may be long until the client has taken it, and a text
/// that grew as it was written has room for up to as much again.
fn exact(mut text: Vec<u8>) -> Body {
    text.shrink_to_fit();
    Body::from(text)
}

/// An answer that gives what is used up by that.
pub(crate) fn once(answer: Answer) -> Answer {
    let mut response = answer?;
    response.extensions_mut().insert(Once);
    Ok(response)
}

/// An answer that ends the waiting for it when it is written.
pub(crate) fn held(unanswered: Unanswered, answer: Answer) -> Answer {
    let mut response = answer?;
    response.extensions_mut().insert(Arc::new(unanswered));
    Ok(response)
}
