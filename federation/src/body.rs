//! Reading the body of a response that its sender may have made as large as it likes.

use std::{
    io::{self, Write},
    sync::Arc,
};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::client::FetchError;

/// A body takes no place up to this size, in bytes.
const SMALL: usize = 4 * 1024 * 1024;
/// What a larger one takes places for, in bytes.
const PLACE: usize = 1024 * 1024;

/// How much all large bodies together may hold of the memory. Some answers are rightly large, and
/// servers that send many of them at once must not be able to use it up.
#[derive(Clone, Debug)]
pub(crate) struct LargeBodies(Arc<Semaphore>);

impl LargeBodies {
    /// Room for so many mebibytes.
    pub(crate) fn new(mebibytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(mebibytes)))
    }
}

/// The places of one body; they are free again when its response is dropped.
#[derive(Clone, Debug, Default)]
struct Places(Option<Arc<OwnedSemaphorePermit>>);

impl Places {
    /// Takes what a body of this size needs more. Nobody is waited for: bodies that wait for each
    /// other would hold what they have.
    fn grow(&mut self, size: usize, all: &LargeBodies) -> Result<(), BodyError> {
        let needed = size.saturating_sub(SMALL).div_ceil(PLACE);
        let held = self.0.as_ref().map_or(0, |places| places.num_permits());
        let Ok(more @ 1..) = u32::try_from(needed.saturating_sub(held)) else { return Ok(()) };
        let mut more =
            all.0.clone().try_acquire_many_owned(more).map_err(|_| BodyError::TooMany)?;
        if let Some(held) = self.0.take().and_then(Arc::into_inner) {
            more.merge(held);
        }
        self.0 = Some(Arc::new(more));
        Ok(())
    }
}

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The body, decompressed, is larger than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// There are too many large bodies already.
    #[error("too many large answers at once")]
    TooMany,
    /// The connection broke, or the body is not in its content encoding.
    #[error("{0}")]
    Broken(String),
}

/// Collects the body of `response`, undoing gzip, as long as it has at most `limit` bytes.
pub(crate) async fn collect(
    response: Response<Incoming>,
    limit: usize,
    large: &LargeBodies,
) -> Result<Response<Bytes>, BodyError> {
    let (mut parts, mut incoming) = response.into_parts();
    let mut sink = Sink::new(&parts.headers, limit)?;
    // What is announced too large need not be fetched to know it.
    let announced = incoming.size_hint().lower();
    if announced > limit.try_into().unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge(limit));
    }
    let mut places = Places::default();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            sink.write(data, limit)?;
            places.grow(sink.len(), large)?;
        }
    }
    // They described the body as it travelled.
    parts.headers.remove(header::CONTENT_ENCODING);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.extensions.insert(places);
    Ok(Response::from_parts(parts, sink.finish(limit)?))
}

/// A body as it comes in.
pub(crate) type ByteStream = BoxStream<'static, Result<Bytes, FetchError>>;

/// The body as it comes in, as long as it has at most `limit` bytes and comes until `until`. What is
/// encoded stays so.
pub(crate) fn stream(incoming: Incoming, limit: usize, until: Instant) -> ByteStream {
    let chunks = stream::try_unfold((incoming, 0_usize), move |(mut incoming, seen)| async move {
        loop {
            let frame = timeout_at(until, incoming.frame()).await;
            let Some(frame) = frame.map_err(|_| FetchError::Timeout)? else { return Ok(None) };
            let frame = frame.map_err(|error| FetchError::Network(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            let seen = seen.saturating_add(data.len());
            if seen > limit {
                return Err(FetchError::TooLarge(limit));
            }
            return Ok(Some((data, (incoming, seen))));
        }
    });
    chunks.boxed()
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

    /// How many bytes came so far, unpacked.
    fn len(&self) -> usize {
        match self {
            Self::Identity(capped) => capped.bytes.len(),
            Self::Gzip(decoder) => decoder.get_ref().bytes.len(),
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
