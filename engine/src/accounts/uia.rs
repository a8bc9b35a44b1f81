//! User-interactive authentication: proving oneself before an operation, in stages.
//!
//! A session belongs to one operation, one user and one request body. It lives for a quarter of an
//! hour and ends with the operation, which takes it in its own change ([`Proof::claim`]), so it
//! serves once. Bodies are kept without their passwords: what is stored helps nobody guess one.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api>

use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value};
use starling_storage::{
    Change, Claim,
    accounts::{
        self, Once, flags, registration_tokens,
        uia::{self as rows, SessionRow, Write},
    },
};

use super::{
    names,
    passwords::{self, PasswordError},
};
use crate::{Engine, Internal, rng};

/// How long a session lives, in milliseconds.
pub(crate) const LIFETIME_MS: i64 = 15 * 60 * 1_000;

/// How large a body is that a session keeps for a user, in bytes.
const MOST_OF_USERS: usize = 64 * 1024;

/// How large one is for somebody who registers: anybody can make such sessions.
const MOST_OF_STRANGERS: usize = 8 * 1024;

/// Fields of bodies that are never stored.
const SECRETS: [&str; 3] = ["password", "new_password", "guest_access_token"];

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
    session: Option<String>,
}

impl Proof {
    /// Takes what can be used once: the session, and one use of the registration token. The change
    /// fails with [`starling_storage::CommitError::UsedUp`] when another was faster.
    pub(crate) fn claim(&self, engine: &Engine, change: &mut Change) {
        if let Some(session) = &self.session {
            change.claim(Claim::Once(Once::UiaSession(session.clone())));
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
}

/// Why a request cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum UiaError {
    /// The session is for another operation, another user or another body.
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
    let found = find(engine, auth.get("session").and_then(Value::as_str)).await?;
    let is_new = found.is_none();
    let mut session = found.unwrap_or_else(|| Session::new(engine, wanted));
    session.take_body(wanted, body)?;
    let failure = match auth.get("type").and_then(Value::as_str) {
        Some(stage) => try_stage(engine, wanted, &mut session, stage, &auth).await?,
        None => None,
    };
    if failure.is_none() && session.is_enough(wanted) {
        return Ok(Outcome::Proceed(session.into_proof(is_new)));
    }
    session.store(engine).await?;
    Ok(Outcome::Continue { session: session.id, completed: session.completed, failure })
}

/// A session as it is worked on.
struct Session {
    id: String,
    action: String,
    user: Option<String>,
    body: Object,
    bound: Object,
    completed: Vec<String>,
    registration_token: Option<String>,
    proved: Option<OwnedUserId>,
    created_ts: i64,
}

impl Session {
    fn new(engine: &Engine, wanted: &Wanted<'_>) -> Self {
        Self {
            id: rng::token::<18>(),
            action: wanted.action.to_owned(),
            user: wanted.user.map(ToString::to_string),
            body: Object::new(),
            bound: Object::new(),
            completed: Vec::new(),
            registration_token: None,
            proved: None,
            created_ts: engine.clock.now_ms(),
        }
    }

    fn from_row(row: SessionRow) -> Result<Self, Internal> {
        let bound: Object = serde_json::from_str(&row.body)?;
        Ok(Self {
            id: row.session_id,
            action: row.action,
            user: row.user_id,
            body: bound.clone(),
            bound,
            completed: serde_json::from_str(&row.completed)?,
            registration_token: row.registration_token,
            proved: None,
            created_ts: row.created_ts,
        })
    }

    /// Takes the body of this request. One that has nothing new to say may be empty; one that says
    /// something must say what the first one said. A first one that says nothing binds nothing
    /// until a stage is done: clients ask for the stages that way.
    fn take_body(&mut self, wanted: &Wanted<'_>, body: Object) -> Result<(), UiaError> {
        if self.action != wanted.action || self.user.as_deref() != wanted.user.map(UserId::as_str) {
            return Err(UiaError::Changed);
        }
        let says = without_secrets(&body);
        if self.bound.is_empty() && self.completed.is_empty() {
            self.bound = says;
        } else if !says.is_empty() && says != self.bound {
            return Err(UiaError::Changed);
        }
        self.body.extend(body);
        Ok(())
    }

    fn is_enough(&self, wanted: &Wanted<'_>) -> bool {
        let is_done = |stage: &Stage| self.completed.iter().any(|done| done == stage.name());
        wanted.flows.iter().any(|flow| flow.iter().all(is_done))
    }

    fn into_proof(self, is_new: bool) -> Proof {
        Proof {
            body: self.body,
            user: self.proved,
            registration_token: self.registration_token,
            session: (!is_new).then_some(self.id),
        }
    }

    async fn store(&self, engine: &Engine) -> Result<(), UiaError> {
        let body = serde_json::to_string(&self.bound).map_err(Internal::from)?;
        let most = if self.user.is_some() { MOST_OF_USERS } else { MOST_OF_STRANGERS };
        if body.len() > most {
            return Err(UiaError::TooLarge);
        }
        let mut change = Change::new();
        change.write(accounts::Write::Uia(Write::Put(SessionRow {
            session_id: self.id.clone(),
            action: self.action.clone(),
            user_id: self.user.clone(),
            body,
            completed: serde_json::to_string(&self.completed).map_err(Internal::from)?,
            registration_token: self.registration_token.clone(),
            created_ts: self.created_ts,
        })));
        engine.storage.commit(change).await.map_err(Internal::from)?;
        Ok(())
    }
}

/// The session of that id, if there is one that has not expired.
async fn find(engine: &Engine, id: Option<&str>) -> Result<Option<Session>, Internal> {
    let Some(id) = id else { return Ok(None) };
    let mut conn = engine.storage.read().await?;
    let row = rows::get(&mut conn, id).await?;
    let is_alive = |row: &SessionRow| engine.clock.now_ms() < row.created_ts + LIFETIME_MS;
    row.filter(is_alive).map(Session::from_row).transpose()
}

fn without_secrets(body: &Object) -> Object {
    let is_public = |(key, _): &(&String, &Value)| !SECRETS.contains(&key.as_str());
    body.iter().filter(is_public).map(|(key, value)| (key.clone(), value.clone())).collect()
}

async fn try_stage(
    engine: &Engine,
    wanted: &Wanted<'_>,
    session: &mut Session,
    name: &str,
    auth: &Object,
) -> Result<Option<Failure>, UiaError> {
    let mut offered = wanted.flows.iter().flat_map(|flow| flow.iter());
    let Some(stage) = offered.find(|stage| stage.name() == name) else {
        return Ok(Some(Failure::NotOffered));
    };
    let failure = match stage {
        Stage::Dummy | Stage::Terms => None,
        Stage::RegistrationToken => registration_token(engine, session, auth).await?,
        Stage::Password => password(engine, wanted, session, auth).await?,
    };
    if failure.is_none() && !session.completed.iter().any(|done| done == name) {
        session.completed.push(name.to_owned());
    }
    Ok(failure)
}

/// The token's use is counted by the registration itself.
async fn registration_token(
    engine: &Engine,
    session: &mut Session,
    auth: &Object,
) -> Result<Option<Failure>, UiaError> {
    let Some(token) = auth.get("token").and_then(Value::as_str) else {
        return Ok(Some(Failure::Malformed));
    };
    if !is_usable(engine, token).await? {
        return Ok(Some(Failure::Wrong));
    }
    session.registration_token = Some(token.to_owned());
    Ok(None)
}

/// Whether one may register by that token now.
///
/// # Errors
///
/// When the server fails.
pub async fn is_usable(engine: &Engine, token: &str) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(registration_tokens::usable(&mut conn, token, engine.clock.now_ms()).await?)
}

async fn password(
    engine: &Engine,
    wanted: &Wanted<'_>,
    session: &mut Session,
    auth: &Object,
) -> Result<Option<Failure>, UiaError> {
    let (Some(given), Some(password)) =
        (user_of(auth), auth.get("password").and_then(Value::as_str))
    else {
        return Ok(Some(Failure::Malformed));
    };
    let account = names::find(engine, given).await?;
    let meant = |id: &str| wanted.user.is_none_or(|user| user == id);
    if account.as_ref().is_some_and(|account| !meant(&account.user_id)) {
        return Err(UiaError::OtherUser);
    }
    let is_gone = account.as_ref().is_some_and(|account| account.deactivated_ts.is_some());
    let user = account.as_ref().map(|account| UserId::parse(account.user_id.as_str()));
    let is_locked = account.as_ref().is_some_and(|account| account.flags & flags::LOCKED != 0);
    let hash = account.and_then(|account| account.password_hash);
    if is_gone {
        return Ok(Some(Failure::Deactivated));
    }
    if !passwords::verify(engine, password.to_owned(), hash).await? {
        return Ok(Some(Failure::Wrong));
    }
    if is_locked {
        return Err(UiaError::Locked);
    }
    session.proved = user.transpose().map_err(Internal::from)?;
    Ok(None)
}

/// Whom a password stage names: by `identifier`, or by `user` as old clients do.
pub fn user_of(auth: &Object) -> Option<&str> {
    match auth.get("identifier") {
        Some(Value::Object(identifier)) => {
            let kind = identifier.get("type").and_then(Value::as_str)?;
            let user = identifier.get("user").and_then(Value::as_str);
            user.filter(|_| kind == "m.id.user")
        }
        _ => auth.get("user").and_then(Value::as_str),
    }
}
