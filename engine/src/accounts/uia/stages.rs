//! Trying one stage.

use ruma::UserId;
use serde_json::Value;
use starling_storage::accounts::{flags, registration_tokens};

use super::{Failure, Object, Stage, UiaError, Wanted, session::Session};
use crate::{
    Engine, Internal,
    accounts::{
        emails::{self, Credentials, Purpose},
        names, passwords, threepids,
    },
};

/// How long the answer of somebody who solved a captcha may be, in bytes.
const LONGEST_CAPTCHA: usize = 8 * 1024;

/// Tries the stage of that name; what was wrong with it, if anything was.
pub(super) async fn try_stage(
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
        Stage::Captcha => captcha(engine, auth).await?,
        Stage::Email(purpose) => email(engine, wanted, session, *purpose, auth).await?,
        Stage::Password => password(engine, wanted, session, auth).await?,
    };
    if failure.is_none() && !session.is_done(*stage) {
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

async fn captcha(engine: &Engine, auth: &Object) -> Result<Option<Failure>, UiaError> {
    let response = auth.get("response").and_then(Value::as_str);
    let Some(response) = response.filter(|it| !it.is_empty() && it.len() <= LONGEST_CAPTCHA) else {
        return Ok(Some(Failure::Malformed));
    };
    match engine.outside.is_captcha_solved(response.to_owned()).await {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some(Failure::CaptchaNotSolved)),
        Err(error) => {
            tracing::warn!(%error, "nobody could tell whether a captcha is solved");
            Ok(Some(Failure::CaptchaNotSolved))
        }
    }
}

async fn email(
    engine: &Engine,
    wanted: &Wanted<'_>,
    session: &mut Session,
    purpose: Purpose,
    auth: &Object,
) -> Result<Option<Failure>, UiaError> {
    // The name without the underscore is that of old clients.
    let given = auth.get("threepid_creds").or_else(|| auth.get("threepidCreds"));
    let text = |key: &str| given.and_then(|given| given.get(key)).and_then(Value::as_str);
    let (Some(session_id), Some(client_secret)) = (text("sid"), text("client_secret")) else {
        return Ok(Some(Failure::Malformed));
    };
    let (session_id, client_secret) = (session_id.to_owned(), client_secret.to_owned());
    let credentials = Credentials { session_id, client_secret };
    let Some(validated) = emails::validated(engine, &credentials, purpose).await? else {
        return Ok(Some(Failure::NotValidated));
    };
    if purpose == Purpose::Password {
        let Some(owner) = threepids::owner(engine, &validated.address).await? else {
            return Ok(Some(Failure::NotValidated));
        };
        if wanted.user.is_some_and(|user| user != owner) {
            return Err(UiaError::OtherUser);
        }
        let account = names::account(engine, &owner).await?;
        if account.is_some_and(|account| account.flags & flags::LOCKED != 0) {
            return Err(UiaError::Locked);
        }
    }
    session.email_session = Some(validated.session_id().to_owned());
    Ok(None)
}

async fn password(
    engine: &Engine,
    wanted: &Wanted<'_>,
    session: &mut Session,
    auth: &Object,
) -> Result<Option<Failure>, UiaError> {
    let (Some(named), Some(password)) = (named(engine, auth).await?, text(auth, "password")) else {
        return Ok(Some(Failure::Malformed));
    };
    let account = names::find(engine, &named.user).await?;
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
    if !passwords::verify(engine, password.to_owned(), hash.clone()).await? {
        return Ok(Some(Failure::Wrong));
    }
    if is_locked {
        return Err(UiaError::Locked);
    }
    session.proved = user.transpose().map_err(Internal::from)?;
    session.password_hash = hash;
    Ok(None)
}

/// Whom a password stage or a log-in names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// A name or a user id; empty when it is nobody.
    pub user: String,
    /// The e-mail address by which, in its canonical form.
    pub email: Option<String>,
}

impl From<&str> for Named {
    fn from(user: &str) -> Self {
        Self { user: user.to_owned(), email: None }
    }
}

/// Whom a password stage or a log-in names: by `identifier`, or by `user` or an address as old clients
/// do. `None` when it is of no form that the specification knows.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#identifier-types>
///
/// # Errors
///
/// When the database fails.
pub async fn named(engine: &Engine, auth: &Object) -> Result<Option<Named>, Internal> {
    let user = |of: &Object| text(of, "user").map(Named::from);
    let Some(Value::Object(identifier)) = auth.get("identifier") else {
        return Ok(by_address(engine, auth).await?.or_else(|| user(auth)));
    };
    match text(identifier, "type") {
        Some("m.id.user") => Ok(user(identifier)),
        Some("m.id.thirdparty") => by_address(engine, identifier).await,
        // No account has a telephone number.
        Some("m.id.phone") => Ok(text(identifier, "phone").map(|_| Named::default())),
        _ => Ok(None),
    }
}

async fn by_address(engine: &Engine, of: &Object) -> Result<Option<Named>, Internal> {
    match (text(of, "medium"), text(of, "address")) {
        (Some(medium), Some(address)) => Ok(Some(threepids::meant(engine, medium, address).await?)),
        _ => Ok(None),
    }
}

fn text<'a>(of: &'a Object, key: &str) -> Option<&'a str> {
    of.get(key).and_then(Value::as_str)
}
