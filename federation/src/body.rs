//! Reading the body of a response that its sender may have made as large as it likes.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The body, decompressed, is larger than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection broke, or the body is not in its content encoding.
    #[error("{0}")]
    Broken(String),
}

/// Collects the body of `response`, undoing gzip, as long as it has at most `limit` bytes.
pub(crate) async fn collect(
    response: Response<Incoming>,
    limit: usize,
) -> Result<Response<Bytes>, BodyError> {
    let (mut parts, mut incoming) = response.into_parts();
    let mut sink = Sink::new(&parts.headers, limit)?;
    // What is announced too large need not be fetched to know it.
    let announced = incoming.size_hint().lower();
    if announced > limit.try_into().unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge(limit));
    }
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            sink.write(data, limit)?;
        }
    }
    // They described the body as it travelled.
    parts.headers.remove(header::CONTENT_ENCODING);
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, sink.finish(limit)?))
}

/// Where the bytes go, by content encoding.
enum Sink {
    Identity(Capped),
    Gzip(Box<MultiGzDecoder<Capped>>),
}

impl Sink {
    fn new(headers: &HeaderMap, limit: usize) -> Result<Self, BodyError> {
        let capped = Capped { bytes: Vec::new(), limit };
        match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
            None | Some(b"" | b"identity") => Ok(Self::Identity(capped)),
            Some(b"gzip" | b"x-gzip") => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(capped)))),
            Some(_) => Err(BodyError::Broken("unknown content encoding".to_owned())),
        }
    }

    fn write(&mut self, data: &[u8], limit: usize) -> Result<(), BodyError> {
        match self {
            Self::Identity(capped) => capped.write_all(data),
            Self::Gzip(decoder) => decoder.write_all(data),
        }
        .map_err(|error| body_error(&error, limit))
    }

    fn finish(self, limit: usize) -> Result<Bytes, BodyError> {
        match self {
            Self::Identity(capped) => Ok(capped.bytes.into()),
            Self::Gzip(decoder) => decoder
                .finish()
                .map(|capped| capped.bytes.into())
                .map_err(|error| body_error(&error, limit)),
        }
    }
}

/// A buffer that refuses to grow beyond its limit.
#[derive(Debug)]
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Capped {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.limit.saturating_sub(self.bytes.len()) {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn body_error(error: &io::Error, limit: usize) -> BodyError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => BodyError::TooLarge(limit),
        _ => BodyError::Broken(error.to_string()),
    }
}
