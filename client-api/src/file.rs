//! Files in requests and responses.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#content-repository>

use std::time::Duration;

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ruma::http_headers::{ContentDisposition, ContentDispositionType};
use serde::Deserialize;
use starling_engine::media::{
    Found, MediaError, MediaId, Shown,
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

/// Pages of any origin may show files.
const EVERYWHERE: HeaderValue = HeaderValue::from_static("cross-origin");

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
    allow_redirect: Option<bool>,
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
    let redirect = may_redirect(call, effort)?;
    answer(call, found, file_name.map(ToOwned::to_owned), redirect).await
}

/// Whether the client may be sent to where the bytes are: at the old addresses it says so if it may.
fn may_redirect(call: &Call, effort: Effort) -> Result<bool, Error> {
    Ok(effort.authenticated || call.query_as::<Query>()?.allow_redirect == Some(true))
}

/// The answer with a file, or with the part of it that is wanted.
async fn answer(call: &Call, file: Found, file_name: Option<String>, redirect: bool) -> Answer {
    let tag = format!("\"{}\"", file.hash);
    if call.header("if-none-match").is_some_and(|tags| tags.split(',').any(|it| it.trim() == tag)) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(header::ETAG, value(&tag)?);
        return Ok(response);
    }
    let content_type = file.content_type.as_deref().unwrap_or("application/octet-stream");
    let disposition = disposition(content_type, file_name.or(file.file_name));
    let about = About { content_type, disposition, authenticated: file.authenticated };
    if redirect && let Some(elsewhere) = elsewhere(call, &file.hash, &about).await? {
        return Ok(elsewhere);
    }
    let range = match call.header("range").filter(|_| is_current(call, &tag)) {
        Some(wanted) => range(wanted, file.size)?,
        None => None,
    };
    let bytes = call.engine.blobs.get(&file.hash, range.clone()).await.map_err(MediaError::from)?;
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
    describe(headers, &about, length)?;
    Ok(response)
}

/// The answer with a picture.
pub(crate) async fn picture(call: &Call, picture: Thumbnail, effort: Effort) -> Answer {
    let extension = picture.content_type.rsplit('/').next().unwrap_or("png");
    let file_name = Some(format!("thumbnail.{extension}"));
    let inline = ContentDispositionType::Inline;
    let disposition = ContentDisposition::new(inline).with_filename(file_name);
    let content_type = picture.content_type.clone();
    let authenticated = effort.authenticated;
    let about = About { content_type: &content_type, disposition, authenticated };
    if may_redirect(call, effort)?
        && let Some(elsewhere) = elsewhere(call, &picture.hash, &about).await?
    {
        return Ok(elsewhere);
    }
    let length = picture.size;
    let mut response = Response::new(Body::from_stream(picture.open(&call.engine).await?));
    describe(response.headers_mut(), &about, length)?;
    Ok(response)
}

/// What is said of bytes.
struct About<'a> {
    content_type: &'a str,
    disposition: ContentDisposition,
    /// Whether only those who are logged in may have them.
    authenticated: bool,
}

impl About<'_> {
    fn cache_control(&self) -> &'static str {
        match self.authenticated {
            true => "private, max-age=31536000, immutable",
            false => "public, max-age=31536000, immutable",
        }
    }
}

/// The answer that leads to the store of files, if clients are to fetch from there. It leads there for
/// some minutes, so that nobody may keep it: 307 and never 308.
async fn elsewhere(
    call: &Call,
    hash: &str,
    about: &About<'_>,
) -> Result<Option<Response>, MediaError> {
    let shown = Shown {
        content_type: about.content_type,
        disposition: &about.disposition.to_string(),
        cache_control: about.cache_control(),
    };
    let address = call.engine.blobs.address(hash, shown).await?;
    let location = address.and_then(|address| HeaderValue::try_from(address).ok());
    Ok(location.map(|location| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, location);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert("cross-origin-resource-policy", EVERYWHERE);
        response
    }))
}

fn describe(headers: &mut HeaderMap, about: &About<'_>, length: u64) -> Result<(), Error> {
    headers.insert(header::CONTENT_TYPE, value(about.content_type)?);
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONTENT_DISPOSITION, value(&about.disposition.to_string())?);
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-resource-policy", EVERYWHERE);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(about.cache_control()));
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
