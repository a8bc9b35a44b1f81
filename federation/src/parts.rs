//! Files as other servers want them: two parts, of which the first tells what may be known about a file
//! some day, and the second is the file.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid>

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, header};
use ruma::http_headers::{ContentDisposition, ContentDispositionType};
use starling_engine::{
    Engine,
    media::{ByteStream, MediaError, Shown},
    rng,
};

use crate::error::Error;

/// What is said of a file.
pub(crate) struct About {
    /// The content type.
    pub(crate) content_type: Option<String>,
    /// The file name.
    pub(crate) file_name: Option<String>,
}

impl About {
    fn content_type(&self) -> &str {
        self.content_type.as_deref().unwrap_or("application/octet-stream")
    }

    fn disposition(&self) -> String {
        let kind = ContentDispositionType::Attachment;
        ContentDisposition::new(kind).with_filename(self.file_name.clone()).to_string()
    }
}

/// Where other servers get a file, if they are to get it from the store themselves.
pub(crate) async fn address(
    engine: &Engine,
    hash: &str,
    about: &About,
) -> Result<Option<String>, MediaError> {
    let shown = Shown {
        content_type: about.content_type(),
        disposition: &about.disposition(),
        cache_control: "private",
    };
    Ok(engine.blobs.address(hash, shown).await?)
}

/// The answer with a file.
pub(crate) fn answer(about: &About, bytes: ByteStream) -> Result<Response, Error> {
    let (content_type, disposition) = (about.content_type(), about.disposition());
    let head = format!("Content-Type: {content_type}\r\nContent-Disposition: {disposition}");
    parts(&head, bytes)
}

/// The answer with the address of a file.
pub(crate) fn elsewhere(address: &str) -> Result<Response, Error> {
    parts(&format!("Location: {address}"), stream::empty().boxed())
}

/// Two parts, of which the second has these headers and bytes.
fn parts(headers: &str, bytes: ByteStream) -> Result<Response, Error> {
    let boundary = rng::token::<18>();
    let head = format!(
        "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n\
         {headers}\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let body = stream::iter([Ok(Bytes::from(head))])
        .chain(bytes)
        .chain(stream::iter([Ok(Bytes::from(tail))]));
    let mut response = Response::new(Body::from_stream(body));
    let content_type = format!("multipart/mixed; boundary={boundary}");
    let content_type = HeaderValue::try_from(content_type).map_err(Error::internal)?;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}
