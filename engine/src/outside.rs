//! What the engine asks of the world beside other Matrix servers: a port, which the program fills.

use std::fmt;

use async_trait::async_trait;

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
}

/// Why the world did not answer as it should.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OutsideError(pub String);

/// The way to a mail server and to whoever makes captchas.
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
}
