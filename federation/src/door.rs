//! How a request of another server is let in: its size, its signature, its place in the line.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, OriginalUri, RawPathParams, Request, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use http::header::CONTENT_TYPE;
use moka::sync::Cache;
use ruma::{
    EventId, OwnedEventId, OwnedServerName, RoomId, ServerName,
    api::{IncomingRequest, IncomingRequestExt as _, OutgoingResponse, OutgoingResponseExt as _},
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;
use starling_engine::{Engine, allowance::Allowance, events::Pdu, keys::remote::RemoteKeysError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    error::{Error, Kind},
    limits::Limits,
    request_auth::{self, AuthError},
};

/// How many requests of one server are answered at a time; more of them wait.
const REQUESTS_PER_ORIGIN: usize = 16;
/// How long they wait before they are refused.
const WAIT: Duration = Duration::from_secs(20);
/// How many servers' places in the line are remembered.
const ORIGINS: u64 = 8192;

/// What the door's settings are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether other servers may read the directory of public rooms.
    pub allow_public_rooms: bool,
    /// How many requests one server may make; `None`: any number.
    pub requests: Option<Allowance>,
    /// How many invites one server may send; `None`: any number.
    pub invites: Option<Allowance>,
}

/// What every route is given.
#[derive(Clone, Debug)]
pub struct Door {
    /// The engine.
    pub engine: Engine,
    /// The settings.
    pub options: Options,
    pub(crate) limits: Arc<Limits>,
    lines: Cache<OwnedServerName, Arc<Semaphore>>,
}

impl Door {
    /// A door to an engine.
    #[must_use]
    pub fn new(engine: Engine, options: Options) -> Self {
        let lines =
            Cache::builder().max_capacity(ORIGINS).time_to_idle(Duration::from_secs(600)).build();
        let limits = Arc::new(Limits::new(options.requests, options.invites, &engine.clock));
        Self { engine, options, limits, lines }
    }

    /// Waits for a free place among the requests of a server.
    async fn enter(&self, origin: &ServerName) -> Result<OwnedSemaphorePermit, Error> {
        let line = self
            .lines
            .get_with(origin.to_owned(), || Arc::new(Semaphore::new(REQUESTS_PER_ORIGIN)));
        match tokio::time::timeout(WAIT, line.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::new(Kind::LimitExceeded, "Too many requests of your server at once")
                .with("retry_after_ms", 5000)),
        }
    }
}

/// A request that is signed by the server `origin`: there is no other way to its content.
#[derive(Debug)]
pub struct Signed<T> {
    /// Who asks.
    pub origin: OwnedServerName,
    /// What is asked.
    pub request: T,
    _place: OwnedSemaphorePermit,
}

impl<T: IncomingRequest> FromRequest<Door> for Signed<T> {
    type Rejection = Error;

    async fn from_request(request: Request, door: &Door) -> Result<Self, Error> {
        let Admitted { origin, parts, body, path, place } = admit(request, door).await?;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let request = http::Request::from_parts(parts, &body[..]);
        let request = T::try_from_http_request(request, &path)?;
        Ok(Self { origin, request, _place: place })
    }
}

/// A request that anybody may make.
#[derive(Debug)]
pub struct Unsigned<T>(pub T);

impl<T: IncomingRequest> FromRequest<Door> for Unsigned<T> {
    type Rejection = Error;

    async fn from_request(request: Request, door: &Door) -> Result<Self, Error> {
        let (request, path) = collect(request, door).await?;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let (parts, body) = request.into_parts();
        let request = http::Request::from_parts(parts, &body[..]);
        Ok(Self(T::try_from_http_request(request, &path)?))
    }
}

/// As [`Signed`], for bodies that ruma's types are too strict or too lax for.
#[derive(Debug)]
pub struct SignedBody<T> {
    /// Who asks.
    pub origin: OwnedServerName,
    /// The parameters of the path, in their order.
    pub path: Vec<String>,
    /// The body.
    pub body: T,
    _place: OwnedSemaphorePermit,
}

impl<T: DeserializeOwned> FromRequest<Door> for SignedBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, door: &Door) -> Result<Self, Error> {
        let Admitted { origin, body, path, place, .. } = admit(request, door).await?;
        let body = serde_json::from_slice(&body)?;
        Ok(Self { origin, path, body, _place: place })
    }
}

/// A body of a request that anybody may make.
#[derive(Debug)]
pub struct UnsignedBody<T> {
    /// The body.
    pub body: T,
    _place: OwnedSemaphorePermit,
}

impl<T: DeserializeOwned + Send> FromRequest<Door> for UnsignedBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, door: &Door) -> Result<Self, Error> {
        let (request, _) = collect(request, door).await?;
        let body = serde_json::from_slice(request.body())?;
        // Strangers wait in one line, whoever they are.
        let own = door.engine.config.server_name.clone();
        Ok(Self { body, _place: door.enter(&own).await? })
    }
}

/// A request whose sender is known.
struct Admitted {
    origin: OwnedServerName,
    parts: http::request::Parts,
    body: Bytes,
    path: Vec<String>,
    place: OwnedSemaphorePermit,
}

async fn admit(request: Request, door: &Door) -> Result<Admitted, Error> {
    let (request, path) = collect(request, door).await?;
    let (parts, body) = request.into_parts();
    let origin = request_auth::authenticate(&door.engine, &parts, &body).await?;
    door.limits.request(&origin)?;
    // Who asks is there to be told, too.
    door.engine.outbound.spoke(&origin);
    let place = door.enter(&origin).await?;
    Ok(Admitted { origin, parts, body, path, place })
}

/// Reads the path's parameters, decoded once, and the body, up to the route's limit.
async fn collect(
    request: Request,
    door: &Door,
) -> Result<(http::Request<Bytes>, Vec<String>), Error> {
    let (mut parts, body) = request.into_parts();
    let path = read_path(&mut parts).await?;
    // The signature is over the path as it was asked for, wherever the router is mounted.
    if let Some(OriginalUri(uri)) = parts.extensions.get::<OriginalUri>().cloned() {
        parts.uri = uri;
    }
    let body = Bytes::from_request(Request::from_parts(parts.clone(), body), door).await;
    let body = body.map_err(|error| match error {
        BytesRejection::FailedToBufferBody(error)
            if error.status() == http::StatusCode::PAYLOAD_TOO_LARGE =>
        {
            Error::new(Kind::TooLarge, "The body is too large")
        }
        error => Error::new(Kind::NotJson, error.body_text()),
    })?;
    Ok((http::Request::from_parts(parts, body), path))
}

async fn read_path(parts: &mut http::request::Parts) -> Result<Vec<String>, Error> {
    use axum::extract::FromRequestParts as _;
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(|error| Error::new(Kind::InvalidParam, error.body_text()))?;
    Ok(params.iter().map(|(_, value)| value.to_owned()).collect())
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Internal(RemoteKeysError::Internal(error)) if error.is_passing() => {
                Self::away(error)
            }
            AuthError::Internal(error) => Self::internal(error),
            AuthError::Content(error) => Self::new(Kind::NotJson, error.to_string()),
            error => Self::new(Kind::Unauthorized, error.to_string()),
        }
    }
}

/// Refuses what lacks a part of the membership event that `/send_join` and its like are handed.
///
/// # Errors
///
/// When it is not such an event.
pub fn require_membership(pdu: &RawValue) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "sender")]
        _sender: IgnoredAny,
        #[serde(rename = "origin_server_ts")]
        _ts: IgnoredAny,
        #[serde(rename = "type")]
        _kind: IgnoredAny,
        #[serde(rename = "state_key")]
        _state_key: IgnoredAny,
        #[serde(rename = "content")]
        _content: Content,
    }
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "membership")]
        _membership: IgnoredAny,
    }
    serde_json::from_str::<Event>(pdu.get())?;
    Ok(())
}

/// The room and the event that a path of two parameters names.
///
/// # Errors
///
/// When they are no IDs.
pub fn room_and_event(path: &[String]) -> Result<(&RoomId, &EventId), Error> {
    let [room_id, event_id] = path else {
        return Err(Error::new(Kind::UnknownPath, "Unrecognized request"));
    };
    let bad = |error: ruma::IdParseError| Error::new(Kind::InvalidParam, error.to_string());
    Ok((room_id.as_str().try_into().map_err(bad)?, event_id.as_str().try_into().map_err(bad)?))
}

/// A typed answer.
#[derive(Debug)]
pub struct Answer<T>(pub T);

impl<T: OutgoingResponse> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match self.0.try_into_http_response::<Vec<u8>>() {
            Ok(response) => response.map(exact),
            Err(error) => Error::internal(error).into_response(),
        }
    }
}

/// An answer that is no type of ruma's.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(CONTENT_TYPE, "application/json")], exact(body)).into_response(),
            Err(error) => Error::internal(error).into_response(),
        }
    }
}

/// A body that takes no more memory than it is long: until the other server has taken it, which may be long.
fn exact(mut text: Vec<u8>) -> Body {
    text.shrink_to_fit();
    text.into()
}

/// What a route's handler gives back.
pub type Outcome<T> = Result<Answer<T>, Error>;

/// Events as they are sent.
#[must_use]
pub fn texts(events: &[Arc<Pdu>]) -> Vec<Box<RawValue>> {
    events.iter().map(|pdu| pdu.json.clone()).collect()
}

/// Their IDs.
#[must_use]
pub fn ids(events: &[Arc<Pdu>]) -> Vec<OwnedEventId> {
    events.iter().map(|pdu| pdu.event_id.clone()).collect()
}
