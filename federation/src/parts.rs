//! Files as other servers want them: two parts, of which the first tells what may be known about a file
//! some day, and the second is the file.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid>

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, header};
use ruma::http_headers::{ContentDisposition, ContentDispositionType};
use starling_engine::{media::ByteStream, rng};

use crate::error::Error;

/// A file and what is said of it.
pub(crate) struct File {
    /// The content type.
    pub(crate) content_type: Option<String>,
    /// The file name.
    pub(crate) file_name: Option<String>,
    /// The bytes.
    pub(crate) bytes: ByteStream,
}

/// The answer with a file.
pub(crate) fn answer(file: File) -> Result<Response, Error> {
    let boundary = rng::token::<18>();
    let content_type = file.content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
    let kind = ContentDispositionType::Attachment;
    let disposition = ContentDisposition::new(kind).with_filename(file.file_name);
    let head = format!(
        "--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n\
         Content-Type: {content_type}\r\nContent-Disposition: {disposition}\r\n\r\n"
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let body = stream::iter([Ok(Bytes::from(head))])
        .chain(file.bytes)
        .chain(stream::iter([Ok(Bytes::from(tail))]));
    let mut response = Response::new(Body::from_stream(body));
    let content_type = format!("multipart/mixed; boundary={boundary}");
    let content_type = HeaderValue::try_from(content_type).map_err(Error::internal)?;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}
