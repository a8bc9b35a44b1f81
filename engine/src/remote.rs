//! The port through which the engine reaches other homeservers.
//!
//! The engine says *what* to ask of *whom*; how a server name becomes an address, TLS, request
//! signatures and limits are the business of the implementation in `starling-federation`. A test
//! passes a transport that calls another server's router in the same process.

mod measured;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use ruma::ServerName;

use self::measured::Measured;
use crate::measures::Measures;

/// The body of a response, as it comes in.
pub type ByteStream = BoxStream<'static, Result<Bytes, TransportError>>;

/// Sends one request to one homeserver.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` to `destination` and returns the response with its whole body.
    ///
    /// The request's URI is a path with query (`/_matrix/...`), its body is JSON or empty. The
    /// implementation discovers the server, signs the request as this server (`X-Matrix`), applies
    /// `limits`, and returns any HTTP status as `Ok`: what a status means is the caller's decision.
    ///
    /// # Errors
    ///
    /// [`TransportError`] when no whole response was received within the limits.
    async fn send(
        &self,
        destination: &ServerName,
        request: http::Request<Bytes>,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, TransportError>;

    /// As [`Transport::send`], but returns when the head of the response is there. Its body keeps to
    /// the limits too.
    ///
    /// # Errors
    ///
    /// As [`Transport::send`].
    async fn open(
        &self,
        destination: &ServerName,
        request: http::Request<Bytes>,
        limits: Limits,
    ) -> Result<http::Response<ByteStream>, TransportError> {
        let response = self.send(destination, request, limits).await?;
        Ok(response.map(|body| stream::iter([Ok(body)]).boxed()))
    }

    /// Sends `request` to a server of the web that is no homeserver, and returns the response with its
    /// whole body.
    ///
    /// The request's URI is whole and begins with `https`. The implementation contacts no address that
    /// a homeserver could not have, signs nothing, and follows no redirect.
    ///
    /// # Errors
    ///
    /// [`TransportError`] as for [`Transport::send`]; also when there is no way to the web.
    async fn fetch(
        &self,
        request: http::Request<Bytes>,
        _: Limits,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let server = request.uri().host().unwrap_or_default().to_owned();
        let reason = "there is no way to the web".to_owned();
        Err(TransportError::Discovery { server, reason })
    }
}

/// The same way to other servers, on which is counted.
pub(crate) fn measured(
    transport: Arc<dyn Transport>,
    measures: &Arc<Measures>,
) -> Arc<dyn Transport> {
    Arc::new(Measured { transport, measures: measures.clone() })
}

/// What one request to another server may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the start of discovery to the last byte of the body.
    pub timeout: Duration,
    /// Bytes of the body after decompression.
    pub max_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), max_body: 8 * 1024 * 1024 }
    }
}

/// Why no response came back.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The server name could not be resolved to an address that may be contacted.
    #[error("cannot resolve {server}: {reason}")]
    Discovery {
        /// The server name that was looked up.
        server: String,
        /// What went wrong, for the log.
        reason: String,
    },
    /// Connection, TLS or HTTP failed.
    #[error("request to {server} failed: {reason}")]
    Network {
        /// The server name that was contacted.
        server: String,
        /// What went wrong, for the log.
        reason: String,
    },
    /// The time limit passed.
    #[error("request to {server} timed out")]
    Timeout {
        /// The server name that was contacted.
        server: String,
    },
    /// The response was larger than the limit.
    #[error("response of {server} is larger than {limit} bytes")]
    TooLarge {
        /// The server name that was contacted.
        server: String,
        /// The limit that was exceeded, in bytes.
        limit: usize,
    },
}
