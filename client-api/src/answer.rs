//! Making a response.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use bytes::BytesMut;
use http::{HeaderValue, StatusCode, header};
use ruma::api::{OutgoingResponse, OutgoingResponseExt as _};
use serde::Serialize;
use starling_engine::rooms::send::answering::Unanswered;

use crate::error::Error;

/// What a route gives back.
pub(crate) type Answer = Result<Response, Error>;

/// 200 with the specification's response type.
pub(crate) fn answer(response: impl OutgoingResponse) -> Answer {
    let response = response.try_into_http_response::<BytesMut>().map_err(Error::internal)?;
    Ok(response.map(|body| Body::from(body.freeze())))
}

/// 200 with a value of our own as JSON.
pub(crate) fn json(value: &impl Serialize) -> Answer {
    raw_json(serde_json::to_vec(value).map_err(Error::internal)?)
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

/// An answer that ends the waiting for it when it is written.
pub(crate) fn held(unanswered: Unanswered, answer: Answer) -> Answer {
    let mut response = answer?;
    response.extensions_mut().insert(Arc::new(unanswered));
    Ok(response)
}
