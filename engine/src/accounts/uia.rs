//! User-interactive authentication: proving oneself before an operation, in stages.
//!
//! A session belongs to one operation, one user and one request body. It lives for a quarter of an
//! hour and ends with the operation, which takes it in its own change ([`Proof::claim`]), so it
//! serves once. Bodies are kept without their passwords: what is stored helps nobody guess one.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api>

mod session;
mod stages;

use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value};
use starling_storage::{Change, Claim, accounts::Once};

pub use self::stages::{Named, is_usable, named};

use self::session::Session;
use super::{
    emails::{Purpose, Validated},
    passwords::PasswordError,
};
use crate::{Engine, Internal};

/// How long a session lives, in milliseconds.
pub(crate) const LIFETIME_MS: i64 = 15 * 60 * 1_000;

/// A JSON object.
pub type Object = Map<String, Value>;

/// A way to prove oneself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is asked.
    Dummy,
    /// Agreeing to the server's policies.
    Terms,
    /// Showing a registration token.
    RegistrationToken,
    /// Solving a captcha.
    Captcha,
    /// Showing that an e-mail address is one's own, for that purpose.
    Email(Purpose),
    /// Giving the account's password.
    Password,
}

impl Stage {
    /// Its name in the protocol.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dummy => "m.login.dummy",
            Self::Terms => "m.login.terms",
            Self::RegistrationToken => "m.login.registration_token",
            Self::Captcha => "m.login.recaptcha",
            Self::Email(_) => "m.login.email.identity",
            Self::Password => "m.login.password",
        }
    }
}

/// An operation that wants a proof.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The operation, as the session names it: method and path.
    pub action: &'a str,
    /// Who asks; `None`: whoever proves to be somebody.
    pub user: Option<&'a UserId>,
    /// The stages of each way to get through.
    pub flows: &'a [&'a [Stage]],
}

/// What the operation goes on with.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The request's body without `auth`: that of the first request, with what later ones add.
    pub body: Object,
    /// Who has proved themselves, when a stage says so.
    pub user: Option<OwnedUserId>,
    /// The registration token that was shown.
    pub registration_token: Option<String>,
    /// The e-mail address that was shown to be one's own.
    pub email: Option<Validated>,
    session: Option<String>,
    /// The hash of the password by which `user` has proved themselves.
    password_hash: Option<String>,
}

impl Proof {
    /// Nothing was to be proved.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::not_asked(Object::new())
    }

    /// Nothing is asked of who makes this request, such as an application service.
    #[must_use]
    pub fn not_asked(mut body: Object) -> Self {
        body.remove("auth");
        Self {
            body,
            user: None,
            registration_token: None,
            email: None,
            session: None,
            password_hash: None,
        }
    }

    /// Takes what can be used once: the session, that of the e-mail address, and one use of the
    /// registration token; and what was proved by a password holds as long as it is the password. The
    /// change fails with [`starling_storage::CommitError::UsedUp`] when another was faster.
    pub(crate) fn claim(&self, engine: &Engine, change: &mut Change) {
        if let Some(session) = &self.session {
            change.claim(Claim::Once(Once::UiaSession(session.clone())));
        }
        if let (Some(user), Some(hash)) = (&self.user, &self.password_hash) {
            let (user_id, hash) = (user.to_string(), Some(hash.clone()));
            change.claim(Claim::Password { user_id, hash });
        }
        if let Some(email) = &self.email {
            email.claim(change);
        }
        if let Some(token) = self.registration_token.clone() {
            change.claim(Claim::RegistrationToken { token, now_ts: engine.clock.now_ms() });
        }
    }
}

/// Whether the operation may go on.
#[derive(Debug)]
pub enum Outcome {
    /// It may.
    Proceed(Proof),
    /// There are stages to do.
    Continue {
        /// The session to name in the next request.
        session: String,
        /// The stages that are done.
        completed: Vec<String>,
        /// What was wrong with the stage that was tried.
        failure: Option<Failure>,
    },
}

/// Why a stage was not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The password or the registration token is wrong.
    Wrong,
    /// The account is no more.
    Deactivated,
    /// The stage is none that was offered.
    NotOffered,
    /// The stage's data are not of its form.
    Malformed,
    /// The e-mail address is not validated (yet).
    NotValidated,
    /// The captcha is not solved.
    CaptchaNotSolved,
}

/// Why a request cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum UiaError {
    /// The session is for another operation, another user or another body; or it was used meanwhile.
    #[error("the operation changed during its authentication")]
    Changed,
    /// The body is larger than what is kept for somebody who has not proved anything yet.
    #[error("the body is too large")]
    TooLarge,
    /// The password is that of another account than the one that the operation is for.
    #[error("this is another user")]
    OtherUser,
    /// The account is locked.
    #[error("the account is locked")]
    Locked,
    /// Too many passwords wait to be checked.
    #[error("too many passwords wait to be checked")]
    Busy,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<PasswordError> for UiaError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::Internal(cause) => Self::Internal(cause),
        }
    }
}

/// Looks at a request's body: has its sender proved enough?
///
/// # Errors
///
/// [`UiaError`].
pub async fn authenticate(
    engine: &Engine,
    wanted: &Wanted<'_>,
    mut body: Object,
) -> Result<Outcome, UiaError> {
    let auth = match body.remove("auth") {
        Some(Value::Object(auth)) => auth,
        _ => Object::new(),
    };
    let found = session::find(engine, auth.get("session").and_then(Value::as_str)).await?;
    let is_new = found.is_none();
    let mut session = found.unwrap_or_else(|| Session::new(engine, wanted));
    session.take_body(wanted, body)?;
    let failure = match auth.get("type").and_then(Value::as_str) {
        Some(stage) => stages::try_stage(engine, wanted, &mut session, stage, &auth).await?,
        None => None,
    };
    if failure.is_none() && session.is_enough(wanted) {
        let email = session.take_email(engine, wanted).await?;
        if session.is_enough(wanted) {
            return Ok(Outcome::Proceed(session.into_proof(is_new, email)));
        }
    }
    let session = match is_new {
        true => session.add(engine).await?,
        false => session.go_on(engine).await?.ok_or(UiaError::Changed)?,
    };
    Ok(Outcome::Continue { session: session.id, completed: session.completed, failure })
}

/// A session, as a page for people sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The operation that it is for.
    pub action: String,
    /// Whose it is, if somebody was logged in who asked.
    pub user: Option<OwnedUserId>,
    /// The stages that are done.
    pub completed: Vec<String>,
}

/// Looks at a session.
///
/// # Errors
///
/// When the server fails.
pub async fn look(engine: &Engine, id: &str) -> Result<Option<Seen>, Internal> {
    let Some(session) = session::find(engine, Some(id)).await? else { return Ok(None) };
    let user = session.user.as_deref().map(UserId::parse).transpose()?;
    Ok(Some(Seen { action: session.action, user, completed: session.completed }))
}

/// Tries a stage of a session on its own, as a page for people does; the client goes on with the session.
/// `None` when there is no such session (any more).
///
/// # Errors
///
/// [`UiaError`].
pub async fn pass(
    engine: &Engine,
    id: &str,
    flows: &[&[Stage]],
    auth: &Object,
) -> Result<Option<Result<(), Failure>>, UiaError> {
    let Some(mut session) = session::find(engine, Some(id)).await? else { return Ok(None) };
    let user = session.user.as_deref().map(UserId::parse).transpose().map_err(Internal::from)?;
    let action = session.action.clone();
    let wanted = Wanted { action: &action, user: user.as_deref(), flows };
    let stage = auth.get("type").and_then(Value::as_str).unwrap_or_default();
    let failure = stages::try_stage(engine, &wanted, &mut session, stage, auth).await?;
    if let Some(failure) = failure {
        return Ok(Some(Err(failure)));
    }
    // Somebody else may have ended it meanwhile.
    Ok(session.go_on(engine).await?.map(|_| Ok(())))
}
