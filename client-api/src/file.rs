//! Files in requests and responses.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#content-repository>

use std::time::Duration;

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ruma::http_headers::{ContentDisposition, ContentDispositionType};
use serde::Deserialize;
use starling_engine::media::{
    Found, MediaId,
    find::{self, Effort},
    thumbnails::Thumbnail,
};

use crate::{answer::Answer, call::Call, error::Error};

/// How long an upload that was promised is waited for if nothing is said.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it is waited for at most.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// What a page that a file is shown on may do: nothing.
const POLICY: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; \
     style-src 'unsafe-inline'; object-src 'self';",
);

/// Types that browsers may show where they are, because nothing in them is run.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content>
const INLINE: &[&str] = &[
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// What every request for a file may say of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    timeout_ms: Option<u64>,
    allow_remote: Option<bool>,
}

impl Query {
    /// How far one goes for who is logged in.
    pub(crate) fn effort(&self) -> Effort {
        let patience = self.timeout_ms.map_or(PATIENCE, Duration::from_millis);
        Effort { patience: patience.min(LONGEST_PATIENCE), ask_others: true, authenticated: true }
    }

    /// How far one goes for anybody.
    pub(crate) fn effort_for_anybody(&self) -> Effort {
        let ask_others = self.allow_remote.unwrap_or(true);
        Effort { ask_others, authenticated: false, ..self.effort() }
    }
}

/// The file that the path names by its first two parameters.
pub(crate) fn named(call: &Call) -> Result<MediaId, Error> {
    MediaId::new(call.path_arg(0), call.path_arg(1))
        .ok_or_else(|| Error::not_found("There can be no such file"))
}

/// The answer with the file that the path names, under another name if one is given.
pub(crate) async fn download(call: &Call, effort: Effort, file_name: Option<&str>) -> Answer {
    let found = find::find(&call.engine, &named(call)?, effort).await?;
    answer(call, found, file_name.map(ToOwned::to_owned)).await
}

/// The answer with a file, or with the part of it that is wanted.
async fn answer(call: &Call, file: Found, file_name: Option<String>) -> Answer {
    let tag = format!("\"{}\"", file.hash);
    if call.header("if-none-match").is_some_and(|tags| tags.split(',').any(|it| it.trim() == tag)) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(header::ETAG, value(&tag)?);
        return Ok(response);
    }
    let range = match call.header("range").filter(|_| is_current(call, &tag)) {
        Some(wanted) => range(wanted, file.size)?,
        None => None,
    };
    let content_type = file.content_type.as_deref().unwrap_or("application/octet-stream");
    let disposition = disposition(content_type, file_name.or(file.file_name));
    let bytes = call.engine.blobs.get(&file.hash, range.clone()).await.map_err(Error::internal)?;
    let mut response = Response::new(Body::from_stream(bytes));
    let length = range.as_ref().map_or(file.size, |range| range.end - range.start);
    if let Some(range) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let part = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
        response.headers_mut().insert(header::CONTENT_RANGE, value(&part)?);
    }
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, value(&tag)?);
    describe(headers, content_type, length, &disposition, file.authenticated)?;
    Ok(response)
}

/// The answer with a picture.
pub(crate) fn picture(picture: Thumbnail, authenticated: bool) -> Answer {
    let extension = picture.content_type.rsplit('/').next().unwrap_or("png");
    let file_name = Some(format!("thumbnail.{extension}"));
    let inline = ContentDispositionType::Inline;
    let disposition = ContentDisposition::new(inline).with_filename(file_name);
    let mut response = Response::new(Body::from_stream(picture.bytes));
    let headers = response.headers_mut();
    describe(headers, &picture.content_type, picture.size, &disposition, authenticated)?;
    Ok(response)
}

fn describe(
    headers: &mut HeaderMap,
    content_type: &str,
    length: u64,
    disposition: &ContentDisposition,
    authenticated: bool,
) -> Result<(), Error> {
    let cache = match authenticated {
        true => "private, max-age=31536000, immutable",
        false => "public, max-age=31536000, immutable",
    };
    headers.insert(header::CONTENT_TYPE, value(content_type)?);
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONTENT_DISPOSITION, value(&disposition.to_string())?);
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let everywhere = HeaderValue::from_static("cross-origin");
    headers.insert("cross-origin-resource-policy", everywhere);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(())
}

fn disposition(content_type: &str, file_name: Option<String>) -> ContentDisposition {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let kind = match INLINE.iter().any(|inline| inline.eq_ignore_ascii_case(essence)) {
        true => ContentDispositionType::Inline,
        false => ContentDispositionType::Attachment,
    };
    ContentDisposition::new(kind).with_filename(file_name)
}

/// Whether a part may be of the file that the client has begun to fetch.
fn is_current(call: &Call, tag: &str) -> bool {
    call.header("if-range").is_none_or(|wanted| wanted == tag)
}

/// The part that is wanted; `None`: all of it. Of several parts none is sent alone.
fn range(wanted: &str, size: u64) -> Result<Option<std::ops::Range<u64>>, Error> {
    let Ok(parsed) = http_range_header::parse_range_header(wanted) else { return Ok(None) };
    match parsed.validate(size) {
        Ok(ranges) => match ranges.as_slice() {
            [range] => Ok(Some(*range.start()..*range.end() + 1)),
            _ => Ok(None),
        },
        Err(_) => Err(Error::range_not_satisfiable(size)),
    }
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::try_from(text).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_inside_the_file() {
        let of_ten = |wanted| range(wanted, 10).unwrap();
        assert_eq!(of_ten("bytes=0-0"), Some(0..1));
        assert_eq!(of_ten("bytes=3-"), Some(3..10));
        assert_eq!(of_ten("bytes=-4"), Some(6..10));
        assert_eq!(of_ten("bytes=5-100"), Some(5..10));
        assert_eq!(of_ten("bytes=0-1,4-5"), None);
        assert_eq!(of_ten("lines=0-1"), None);
        assert!(range("bytes=10-", 10).is_err());
        assert!(range("bytes=0-", 0).is_err());
    }

    #[test]
    fn only_what_runs_nothing_is_shown_in_place() {
        let shown = |content_type| disposition(content_type, None).to_string();
        assert_eq!(shown("image/png"), "inline");
        assert_eq!(shown("Text/Plain; charset=utf-8"), "inline");
        for hostile in ["text/html", "image/svg+xml", "application/xhtml+xml", "", "text/plainx"] {
            assert_eq!(shown(hostile), "attachment", "{hostile}");
        }
        let named = disposition("image/png", Some("ab\r\nc.png".to_owned())).to_string();
        assert!(!named.contains(char::is_control), "{named}");
    }
}
