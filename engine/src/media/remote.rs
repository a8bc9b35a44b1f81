//! Fetching files from the servers that have them.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#content-repository>

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use http::{Request, Response, StatusCode, header};
use serde::Deserialize;
use starling_storage::{
    Change,
    media::{MediaRow, Write},
};
use url::Url;

use super::{
    MediaError, MediaId,
    envelope::{self, Part, label, location, malformed},
    find,
    upload::{self, Label},
};
use crate::{
    Engine,
    outside::FetchLimits,
    remote::{ByteStream, Limits, TransportError},
};

/// How long fetching a file may take, beside what the other server may wait for it.
const FETCH_TIME: Duration = Duration::from_secs(5 * 60);

/// How large the answer of a server that has no file may be, in bytes.
const LARGEST_REFUSAL: usize = 16 * 1024;

/// What a file may come with beside its own bytes: a JSON object, headers, boundaries.
const ENVELOPE: u64 = 64 * 1024;

/// Fetches a file, once however many want it, and returns the row that it has then.
///
/// # Errors
///
/// [`MediaError::NotFound`], [`MediaError::NotYetUploaded`], [`MediaError::RemoteTooLarge`],
/// [`MediaError::Remote`].
pub(super) async fn fetch(
    engine: &Engine,
    id: &MediaId,
    patience: Duration,
) -> Result<MediaRow, MediaError> {
    let turn = engine.media.fetching.get_with_by_ref(id, Default::default);
    let _turn = turn.lock().await;
    if let Some(row) = find::here(engine, id).await? {
        return Ok(row);
    }
    let limit = engine.config.media.largest_remote;
    let part = match by_federation(engine, id, patience).await? {
        Some(part) => part,
        None => by_legacy_address(engine, id, patience).await?,
    };
    let part = match part {
        Part::Bytes(label, bytes) => (label, bytes),
        Part::Elsewhere(url) => elsewhere(engine, url).await?,
    };
    keep(engine, id, part, limit).await
}

/// Asks the endpoint of servers for servers; `None` when the other one does not know it.
async fn by_federation(
    engine: &Engine,
    id: &MediaId,
    patience: Duration,
) -> Result<Option<Part>, MediaError> {
    let path = format!(
        "/_matrix/federation/v1/media/download/{}?timeout_ms={}",
        id.id(),
        patience.as_millis()
    );
    let response = ask(engine, id, &path, patience).await?;
    if response.status() != StatusCode::OK {
        return match refusal(response).await {
            Refusal::UnknownAddress => Ok(None),
            Refusal::Error(error) => Err(error),
        };
    }
    let limit = engine.config.media.largest_remote.saturating_add(ENVELOPE);
    let kind = response.headers().get(header::CONTENT_TYPE).cloned();
    let kind = kind.as_ref().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let body = response.into_body().map_err(|error| error.to_string());
    Ok(Some(envelope::open(kind, body, limit).await?))
}

/// Asks where servers asked before there was an endpoint for them.
async fn by_legacy_address(
    engine: &Engine,
    id: &MediaId,
    patience: Duration,
) -> Result<Part, MediaError> {
    let path = format!(
        "/_matrix/media/v3/download/{}/{}?allow_remote=false&allow_redirect=true&timeout_ms={}",
        id.origin(),
        id.id(),
        patience.as_millis()
    );
    let response = ask(engine, id, &path, patience).await?;
    match response.status() {
        StatusCode::OK => {
            let label = label(response.headers());
            let bytes = response.into_body().map_err(|error| error.to_string()).boxed();
            Ok(Part::Bytes(label, bytes))
        }
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
            let place = response.headers().get(header::LOCATION);
            location(place.ok_or_else(|| malformed("it leads nowhere"))?)
        }
        _ => match refusal(response).await {
            Refusal::UnknownAddress => Err(MediaError::NotFound),
            Refusal::Error(error) => Err(error),
        },
    }
}

async fn ask(
    engine: &Engine,
    id: &MediaId,
    path: &str,
    patience: Duration,
) -> Result<Response<ByteStream>, MediaError> {
    let request = Request::get(path).body(Bytes::new()).map_err(malformed)?;
    let largest = engine.config.media.largest_remote.saturating_add(ENVELOPE);
    let limits = Limits {
        timeout: FETCH_TIME + patience,
        max_body: usize::try_from(largest).unwrap_or(usize::MAX),
    };
    let response = engine.transport.open(id.origin(), request, limits).await;
    response.map_err(|error| match error {
        TransportError::TooLarge { .. } => MediaError::RemoteTooLarge,
        error => MediaError::Remote(error.to_string()),
    })
}

enum Refusal {
    /// The other server does not know the address.
    UnknownAddress,
    /// It does.
    Error(MediaError),
}

async fn refusal(response: Response<ByteStream>) -> Refusal {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        errcode: String,
    }
    let status = response.status();
    let mut body = Vec::new();
    let mut chunks = response.into_body();
    while let Some(Ok(chunk)) = chunks.next().await {
        if body.len() + chunk.len() > LARGEST_REFUSAL {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    let errcode = serde_json::from_slice(&body).map_or_else(|_| String::new(), |b: Body| b.errcode);
    match (status, errcode.as_str()) {
        (_, "M_UNRECOGNIZED") => Refusal::UnknownAddress,
        // Whatever says so is not an implementation of this address.
        (status, "") if status.is_client_error() => Refusal::UnknownAddress,
        (StatusCode::NOT_FOUND, _) => Refusal::Error(MediaError::NotFound),
        (_, "M_NOT_YET_UPLOADED") => Refusal::Error(MediaError::NotYetUploaded),
        (_, "M_TOO_LARGE") => Refusal::Error(MediaError::RemoteTooLarge),
        _ => Refusal::Error(MediaError::Remote(format!("it answered {status}"))),
    }
}

/// Fetches what a server keeps elsewhere.
async fn elsewhere(
    engine: &Engine,
    url: Url,
) -> Result<(Label, BoxStream<'static, Result<Bytes, String>>), MediaError> {
    let largest = engine.config.media.largest_remote;
    let limits = FetchLimits { timeout: FETCH_TIME, max_body: largest, language: None };
    let fetched = engine.outside.fetch(&url, limits).await;
    let fetched = fetched.map_err(|error| MediaError::Remote(error.to_string()))?;
    if fetched.status != StatusCode::OK {
        return Err(MediaError::Remote(format!("what it leads to answered {}", fetched.status)));
    }
    let label = label(&fetched.headers);
    Ok((label, fetched.body.map_err(|error| error.to_string()).boxed()))
}

async fn keep(
    engine: &Engine,
    id: &MediaId,
    (label, bytes): (Label, BoxStream<'static, Result<Bytes, String>>),
    limit: u64,
) -> Result<MediaRow, MediaError> {
    let now = engine.clock.now_ms();
    let label = label.bounded();
    let stored = upload::store(engine, bytes, limit, |stored| {
        let mut change = Change::new();
        change.write(Write::Add(MediaRow {
            authenticated: engine.config.media.freeze_legacy,
            ..upload::row(id, stored, label.clone(), now)
        }));
        change
    })
    .await;
    match stored {
        Ok(_) => find::here(engine, id).await?.ok_or(MediaError::NotFound),
        Err(MediaError::TooLarge) => Err(MediaError::RemoteTooLarge),
        Err(MediaError::BrokenOff(reason)) => Err(MediaError::Remote(reason)),
        Err(error) => Err(error),
    }
}
