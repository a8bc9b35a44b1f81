//! What the engine asks of the world beside other Matrix servers: a port, which the program fills.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use url::Url;

use crate::remote::Limits;

/// A letter to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The address.
    pub to: String,
    /// The subject, in one line.
    pub subject: String,
    /// What it says, as plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// Where somebody goes who wants no more of them; `POST` there is enough (RFC 8058).
    pub unsubscribe: Option<String>,
}

/// Why the world did not answer as it should.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OutsideError(pub String);

/// What fetching from the web may cost.
#[derive(Clone, Debug)]
pub struct FetchLimits {
    /// From the look-up of the name to the last byte of the body.
    pub timeout: Duration,
    /// Bytes of the body.
    pub max_body: u64,
    /// In which language a page is wanted (`Accept-Language`).
    pub language: Option<String>,
}

/// What the web answered.
pub struct Fetched {
    /// Where it was found in the end.
    pub url: Url,
    /// The status.
    pub status: http::StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body, as it comes in, within the limits.
    pub body: BoxStream<'static, Result<Bytes, OutsideError>>,
}

/// Why an application service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It took too long.
    #[error("it took too long")]
    TimedOut,
    /// It could not be reached, or said too much. The reason shows no address.
    #[error("{0}")]
    Failed(String),
}

/// The way to a mail server, to whoever makes captchas, to application services and push gateways, and to
/// the web.
#[async_trait]
pub trait Outside: fmt::Debug + Send + Sync {
    /// Hands a letter to the mail server, which has accepted it when this returns.
    ///
    /// # Errors
    ///
    /// When there is no mail server, or it refuses.
    async fn send_letter(&self, letter: Letter) -> Result<(), OutsideError>;

    /// Whether somebody who answers that has solved a captcha.
    ///
    /// # Errors
    ///
    /// When there are no captchas, or nobody can tell.
    async fn is_captcha_solved(&self, response: String) -> Result<bool, OutsideError>;

    /// Gets what is at an address that a stranger named. Redirects are followed, a few; addresses in
    /// private networks are not asked, unless the administrator allows it.
    ///
    /// # Errors
    ///
    /// When nothing answers, or nothing that may be asked.
    async fn fetch(&self, url: &Url, limits: FetchLimits) -> Result<Fetched, OutsideError>;

    /// Hands JSON to a push gateway at an address that a user named, and gives back its answer of whatever
    /// status. Redirects are not followed; addresses in private networks are not asked, unless the
    /// administrator allows it.
    ///
    /// # Errors
    ///
    /// When there is no answer within the limits, or the address may not be asked.
    async fn notify_gateway(
        &self,
        url: &Url,
        body: Bytes,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, OutsideError>;

    /// Hands a request to an application service, and gives back its answer of whatever status.
    ///
    /// # Errors
    ///
    /// When there is none within the limits.
    async fn ask_service(
        &self,
        request: http::Request<Bytes>,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, ServiceError>;
}

/// Nothing is set up.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

#[async_trait]
impl Outside for Nothing {
    async fn send_letter(&self, _: Letter) -> Result<(), OutsideError> {
        Err(OutsideError("no mail server is set up".to_owned()))
    }

    async fn is_captcha_solved(&self, _: String) -> Result<bool, OutsideError> {
        Err(OutsideError("captchas are not set up".to_owned()))
    }

    async fn fetch(&self, _: &Url, _: FetchLimits) -> Result<Fetched, OutsideError> {
        Err(OutsideError("nothing is fetched from the web".to_owned()))
    }

    async fn notify_gateway(
        &self,
        _: &Url,
        _: Bytes,
        _: Limits,
    ) -> Result<http::Response<Bytes>, OutsideError> {
        Err(OutsideError("there are no push gateways".to_owned()))
    }

    async fn ask_service(
        &self,
        _: http::Request<Bytes>,
        _: Limits,
    ) -> Result<http::Response<Bytes>, ServiceError> {
        Err(ServiceError::Failed("there are no application services".to_owned()))
    }
}
