//! What another server sends a file in: two parts, and what headers say of it.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid>

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderValue, header};
use multer::{Constraints, Multipart, SizeLimit};
use url::Url;

use super::{MediaError, upload::Label};

/// What a server answers who has a file.
pub enum Part {
    /// The file.
    Bytes(Label, BoxStream<'static, Result<Bytes, String>>),
    /// Where the file is.
    Elsewhere(Url),
}

/// Opens what is of that content type and has at most `limit` bytes.
///
/// # Errors
///
/// [`MediaError::Remote`] when it is not as it must be.
pub async fn open(
    content_type: &str,
    body: impl Stream<Item = Result<Bytes, String>> + Send + 'static,
    limit: u64,
) -> Result<Part, MediaError> {
    let boundary = boundary(content_type).ok_or_else(|| malformed("it is not multipart/mixed"))?;
    let limits = SizeLimit::new().whole_stream(limit);
    let mut parts =
        Multipart::with_constraints(body, boundary, Constraints::new().size_limit(limits));
    // The first part holds what may be known about the file some day.
    let about = parts.next_field().await.map_err(malformed)?;
    drop(about.ok_or_else(|| malformed("it has no parts"))?);
    let file = parts.next_field().await.map_err(malformed)?;
    let file = file.ok_or_else(|| malformed("it has one part only"))?;
    if let Some(place) = file.headers().get(header::LOCATION) {
        return location(place);
    }
    let label = label(file.headers());
    Ok(Part::Bytes(label, file.map_err(|error| error.to_string()).boxed()))
}

pub(super) fn location(place: &HeaderValue) -> Result<Part, MediaError> {
    let url = place.to_str().ok().and_then(|place| Url::parse(place).ok());
    url.map(Part::Elsewhere).ok_or_else(|| malformed("it leads to no address"))
}

fn boundary(content_type: &str) -> Option<String> {
    let kind: mime::Mime = content_type.parse().ok()?;
    let is_multipart = kind.essence_str() == "multipart/mixed";
    let boundary = kind.get_param(mime::BOUNDARY).filter(|_| is_multipart)?;
    Some(boundary.as_str().to_owned())
}

/// What headers say of a file.
pub(super) fn label(headers: &HeaderMap) -> Label {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    Label {
        content_type: text(header::CONTENT_TYPE).map(ToOwned::to_owned),
        file_name: text(header::CONTENT_DISPOSITION).and_then(file_name),
    }
}

/// The file name of a `Content-Disposition`; the one in UTF-8, should there be two.
#[must_use]
pub fn file_name(disposition: &str) -> Option<String> {
    use ruma::http_headers::ContentDisposition;
    disposition.parse::<ContentDisposition>().ok()?.filename
}

pub(super) fn malformed(reason: impl ToString) -> MediaError {
    MediaError::Remote(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_those_of_mixed_parts() {
        assert_eq!(boundary("multipart/mixed; boundary=abc").as_deref(), Some("abc"));
        assert_eq!(boundary("Multipart/Mixed; boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(boundary("multipart/form-data; boundary=abc"), None);
        assert_eq!(boundary("multipart/mixed"), None);
        assert_eq!(boundary("text/plain"), None);
    }

    #[test]
    fn file_names_are_read_in_their_forms() {
        assert_eq!(file_name("inline; filename=a.txt").as_deref(), Some("a.txt"));
        assert_eq!(file_name("attachment; filename=\"a b\\\".txt\"").as_deref(), Some("a b\".txt"));
        let both = "inline; filename=fallback; filename*=utf-8''%E2%9C%93.txt";
        assert_eq!(file_name(both).as_deref(), Some("✓.txt"));
        assert_eq!(file_name("inline"), None);
    }
}
