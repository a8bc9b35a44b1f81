//! Showing that an e-mail address is one's own: a letter with a token goes there, and whoever has the
//! token says so.
//!
//! A session belongs to one address, one purpose and one secret of the client. It lives for a day, and
//! ends with what it was wanted for. Whether an address belongs to an account, nobody is told who does
//! not read its letters, unless the settings say otherwise.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken>

pub(crate) mod letters;

use ruma::OwnedUserId;
use sha2::{Digest as _, Sha256};
use starling_storage::{
    Change, Claim, CommitError,
    accounts::{
        self, Once,
        email_sessions::{self as rows, EmailSessionRow},
    },
};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::threepids;
use crate::{Engine, Internal, config::Email, rng};

/// How long a session lives, in milliseconds.
pub(crate) const LIFETIME_MS: i64 = 24 * 60 * 60 * 1_000;

/// How long a secret or a session's id may be, in bytes.
const LONGEST_ID: usize = 255;

/// How long a link may be, in bytes.
const LONGEST_LINK: usize = 2_048;

/// What an address is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An account is made with it.
    Register,
    /// The password of its account is set.
    Password,
    /// It is added to an account.
    Add,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Password => "password",
            Self::Add => "add",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::Register, Self::Password, Self::Add].into_iter().find(|it| it.name() == name)
    }
}

/// Somebody says that an address is theirs.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it is wanted for.
    pub purpose: Purpose,
    /// The address.
    pub address: String,
    /// The client's secret.
    pub client_secret: String,
    /// A letter is sent only for a number above the last one.
    pub send_attempt: i64,
    /// Where to go when the address is validated.
    pub next_link: Option<String>,
}

/// Why no letter is sent.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// This server sends no letters.
    #[error("this server sends no e-mail")]
    Disabled,
    /// It is no address.
    #[error("this is not an e-mail address")]
    BadAddress,
    /// Accounts may not have addresses of that domain.
    #[error("addresses of this domain are not taken")]
    NotAllowed,
    /// The secret is not of its form.
    #[error("the client's secret has characters that it may not have, or is too long")]
    BadSecret,
    /// The link is none that one can be led to.
    #[error("the next link is not an http(s) address")]
    BadLink,
    /// The address belongs to an account already.
    #[error("the address belongs to an account")]
    InUse,
    /// The address belongs to no account.
    #[error("the address belongs to no account")]
    NotFound,
    /// The mail server did not take the letter.
    #[error("the letter could not be sent")]
    NotSent,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Sends a letter with a token, and gives back the session's id.
///
/// # Errors
///
/// [`RequestError`].
pub async fn request(engine: &Engine, request: Request) -> Result<String, RequestError> {
    let settings = engine.config.email.as_ref().ok_or(RequestError::Disabled)?;
    let address = threepids::canonical_email(&request.address).ok_or(RequestError::BadAddress)?;
    if !is_opaque_id(&request.client_secret) {
        return Err(RequestError::BadSecret);
    }
    // Who has one from before is still known by it.
    if request.purpose != Purpose::Password && !settings.allows(&address) {
        return Err(RequestError::NotAllowed);
    }
    let next_link = allowed_link(settings, request.next_link)?;
    let owner = threepids::owner(engine, &address).await?;
    let may_go_on = may_go_on(request.purpose, owner.as_ref());
    if !may_go_on && settings.tell_whether_known {
        return Err(match request.purpose {
            Purpose::Password => RequestError::NotFound,
            Purpose::Register | Purpose::Add => RequestError::InUse,
        });
    }
    // A letter that only says why it cannot be has no token, so nobody can validate its session.
    let token = may_go_on.then(rng::token::<32>);
    let row = EmailSessionRow {
        session_id: rng::token::<18>(),
        address,
        purpose: request.purpose.name().to_owned(),
        secret_hash: hash(&request.client_secret),
        send_attempt: request.send_attempt,
        token_hash: token.as_deref().map(hash),
        next_link,
        created_ts: engine.clock.now_ms(),
        validated_ts: None,
    };
    let (session_id, is_new) = note(engine, row.clone()).await?;
    if is_new {
        let link = token.map(|token| link(engine, &session_id, &request.client_secret, &token));
        if let Err(error) = send(engine, settings, request.purpose, row.address, link).await {
            not_sent(engine, &session_id, row.send_attempt).await?;
            return Err(error);
        }
    }
    Ok(session_id)
}

/// Registering and adding want an address that is nobody's, a new password one that is somebody's.
fn may_go_on(purpose: Purpose, owner: Option<&OwnedUserId>) -> bool {
    match purpose {
        Purpose::Register | Purpose::Add => owner.is_none(),
        Purpose::Password => owner.is_some(),
    }
}

/// Writes the attempt; whether a letter is due, and the session it belongs to.
async fn note(engine: &Engine, row: EmailSessionRow) -> Result<(String, bool), Internal> {
    let mut change = Change::new();
    let expired = engine.clock.now_ms() - LIFETIME_MS;
    change.claim(Claim::EmailAttempt { row: row.clone(), expired });
    let is_new = match engine.storage.commit(change).await {
        Ok(_) => true,
        Err(CommitError::UsedUp) => false,
        Err(error) => return Err(error.into()),
    };
    let mut conn = engine.storage.read().await?;
    let found = rows::of_secret(&mut conn, &row.address, &row.purpose, &row.secret_hash).await?;
    let missing = || Internal::Damaged("an email session is missing".to_owned());
    Ok((found.ok_or_else(missing)?.session_id, is_new))
}

/// Takes the attempt back, so that the client's next one with the same number sends a letter.
async fn not_sent(engine: &Engine, session_id: &str, send_attempt: i64) -> Result<(), Internal> {
    let mut change = Change::new();
    let session_id = session_id.to_owned();
    change.write(accounts::Write::EmailNotSent { session_id, send_attempt });
    engine.storage.commit(change).await?;
    Ok(())
}

async fn send(
    engine: &Engine,
    settings: &Email,
    purpose: Purpose,
    address: String,
    link: Option<String>,
) -> Result<(), RequestError> {
    let server = engine.config.server_name.as_str();
    let letter = letters::letter(server, &settings.app_name, purpose, address, link);
    engine.outside.send_letter(letter).await.map_err(|error| {
        tracing::warn!(%error, "the mail server did not take a letter");
        RequestError::NotSent
    })
}

/// Opaque identifiers of the specification.
///
/// <https://spec.matrix.org/v1.19/appendices/#opaque-identifiers>
fn is_opaque_id(text: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || ".=_-".contains(c);
    !text.is_empty() && text.len() <= LONGEST_ID && text.chars().all(is_legal)
}

/// The link, if its host is one that the settings name. Others are not followed: whoever sends the
/// request chooses them, and the letter looks like ours.
fn allowed_link(settings: &Email, link: Option<String>) -> Result<Option<String>, RequestError> {
    let Some(link) = link.filter(|link| !link.is_empty()) else { return Ok(None) };
    let parsed = Url::parse(&link).map_err(|_| RequestError::BadLink)?;
    let is_web = matches!(parsed.scheme(), "http" | "https");
    if !is_web || link.len() > LONGEST_LINK || !parsed.username().is_empty() {
        return Err(RequestError::BadLink);
    }
    let host = parsed.host_str().unwrap_or_default();
    let is_allowed = settings.next_link_hosts.iter().any(|allowed| allowed == host);
    Ok(is_allowed.then(|| parsed.to_string()))
}

/// Where the page is that asks to confirm.
fn link(engine: &Engine, session: &str, secret: &str, token: &str) -> String {
    let base = engine.config.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
    // None of the three has a character that a query would have to escape but `=`, which it may have.
    format!("{base}{SUBMIT_PATH}?sid={session}&client_secret={secret}&token={token}")
}

/// The path of the page that asks to confirm, and of what it submits to.
pub const SUBMIT_PATH: &str = "/_matrix/client/unstable/email/submit_token";

/// What is submitted to validate an address.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The session.
    pub session_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// The token of the letter.
    pub token: String,
}

/// A session whose token was shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The address.
    pub address: String,
    /// What it is wanted for.
    pub purpose: Purpose,
    /// Where to go then.
    pub next_link: Option<String>,
}

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// There is no such session (any more).
    #[error("the session has expired")]
    Expired,
    /// The secret or the token is another one.
    #[error("the token is wrong")]
    Wrong,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Looks at a token without doing anything: programs follow the links in letters, and only people
/// confirm.
///
/// # Errors
///
/// [`SubmitError`].
pub async fn look(engine: &Engine, submission: &Submission) -> Result<Shown, SubmitError> {
    let row = find(engine, &submission.session_id).await?.ok_or(SubmitError::Expired)?;
    let is_secret = hash(&submission.client_secret).ct_eq(&row.secret_hash);
    let given = hash(&submission.token);
    let is_token = row.token_hash.as_ref().is_some_and(|token| given.ct_eq(token).into());
    if !bool::from(is_secret) || !is_token {
        return Err(SubmitError::Wrong);
    }
    let purpose = Purpose::of_name(&row.purpose);
    let purpose = purpose.ok_or_else(|| Internal::Damaged("an unknown purpose".to_owned()))?;
    Ok(Shown { address: row.address, purpose, next_link: row.next_link })
}

/// Validates the address of a session by the token of its letter.
///
/// # Errors
///
/// [`SubmitError`].
pub async fn submit(engine: &Engine, submission: &Submission) -> Result<Shown, SubmitError> {
    let shown = look(engine, submission).await?;
    let mut change = Change::new();
    change.write(accounts::Write::EmailValidated {
        session_id: submission.session_id.clone(),
        ts: engine.clock.now_ms(),
    });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(shown)
}

/// By what a client names a session of its own.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The session.
    pub session_id: String,
    /// The client's secret.
    pub client_secret: String,
}

/// An address that was validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The address.
    pub address: String,
    /// When.
    pub validated_ts: i64,
    session_id: String,
}

impl Validated {
    /// Adds to `change` that the session has served.
    pub(crate) fn claim(&self, change: &mut Change) {
        change.claim(Claim::Once(Once::EmailSession(self.session_id.clone())));
    }

    /// The session's id.
    pub(crate) fn session_id(&self) -> &str {
        &self.session_id
    }
}

/// The address of a session, if it was validated for that purpose.
pub(crate) async fn validated(
    engine: &Engine,
    credentials: &Credentials,
    purpose: Purpose,
) -> Result<Option<Validated>, Internal> {
    let row = find(engine, &credentials.session_id).await?;
    let secret = hash(&credentials.client_secret);
    let row = row.filter(|row| secret.ct_eq(&row.secret_hash).into());
    Ok(row.and_then(|row| of_row(row, purpose)))
}

/// The address of a session whose secret was given before.
pub(crate) async fn validated_before(
    engine: &Engine,
    session_id: &str,
    purpose: Purpose,
) -> Result<Option<Validated>, Internal> {
    Ok(find(engine, session_id).await?.and_then(|row| of_row(row, purpose)))
}

fn of_row(row: EmailSessionRow, purpose: Purpose) -> Option<Validated> {
    let validated_ts = row.validated_ts.filter(|_| row.purpose == purpose.name())?;
    Some(Validated { address: row.address, validated_ts, session_id: row.session_id })
}

async fn find(engine: &Engine, session_id: &str) -> Result<Option<EmailSessionRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    let row = rows::get(&mut conn, session_id).await?;
    Ok(row.filter(|row| engine.clock.now_ms() < row.created_ts + LIFETIME_MS))
}

fn hash(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests;
