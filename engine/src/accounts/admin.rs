//! What administrators do to accounts: by the command line, or by scripts that hold a secret.

use hmac::{Hmac, KeyInit as _, Mac as _};
use ruma::OwnedUserId;
use sha1::Sha1;
use starling_storage::{
    Change, Claim,
    accounts::{
        self, Once,
        registration_tokens::{self, RegistrationTokenRow},
        uia::{self as sessions, SessionRow},
    },
};

use super::{
    devices::NewDevice,
    register::{self, NewAccount, RegisterError, Registered},
};
use crate::{Engine, Internal, config::RegistrationMode, rng};

/// How long a nonce serves, in milliseconds.
const NONCE_LIFETIME_MS: i64 = 60_000;

/// What a nonce's row in the table of sessions is for.
const NONCE: &str = "nonce";

/// Makes an account.
///
/// # Errors
///
/// [`RegisterError`].
pub async fn create_user(
    engine: &Engine,
    name: &str,
    password: Option<String>,
    admin: bool,
) -> Result<OwnedUserId, RegisterError> {
    let name = Some(name.to_owned());
    let new = NewAccount { name, password, admin, ..NewAccount::default() };
    Ok(register::make(engine, new, Change::new()).await?.user_id)
}

/// The registration token of the very first start: made when registration wants tokens and there
/// has neither been one nor an account. It serves once.
///
/// # Errors
///
/// When the server fails.
pub async fn first_registration_token(engine: &Engine) -> Result<Option<String>, Internal> {
    if engine.config.registration.mode != RegistrationMode::Token {
        return Ok(None);
    }
    let mut conn = engine.storage.read().await?;
    if registration_tokens::any(&mut conn).await? || !accounts::nobody(&mut conn).await? {
        return Ok(None);
    }
    drop(conn);
    let token = rng::token::<12>();
    let mut change = Change::new();
    change.claim(Claim::NewRegistrationToken(RegistrationTokenRow {
        token: token.clone(),
        uses_allowed: Some(1),
        expires_ts: None,
        created_ts: engine.clock.now_ms(),
    }));
    engine.storage.commit(change).await?;
    Ok(Some(token))
}

/// A request that proves to know the registration secret.
#[derive(Clone)]
pub struct BySecret {
    /// From [`nonce`].
    pub nonce: String,
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
    /// Whether the account administers this server.
    pub admin: bool,
    /// A kind of user, which is covered by the proof when it is given.
    pub user_type: Option<String>,
    /// What to call the user; not covered by the proof.
    pub display_name: Option<String>,
    /// Hexadecimal HMAC-SHA1, by the secret, of nonce, name, password, `admin` or `notadmin`, and
    /// the kind of user if given, with a zero byte between each.
    pub mac: String,
    /// Whether to log in at once.
    pub device: Option<NewDevice>,
}

/// Why a request by secret is refused.
#[derive(Debug, thiserror::Error)]
pub enum BySecretError {
    /// No secret is set.
    #[error("no registration secret is set")]
    Disabled,
    /// The nonce was not made here, or is too old, or was used.
    #[error("the nonce is not valid")]
    UnknownNonce,
    /// The proof is wrong.
    #[error("the proof is wrong")]
    WrongMac,
    /// The account cannot be made.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Whether requests by secret are answered at all.
#[must_use]
pub fn has_secret(engine: &Engine) -> bool {
    secret(engine).is_ok()
}

fn secret(engine: &Engine) -> Result<&str, BySecretError> {
    let secret = engine.config.registration.shared_secret.as_deref();
    secret.filter(|secret| !secret.is_empty()).ok_or(BySecretError::Disabled)
}

/// A nonce for one request by secret.
///
/// # Errors
///
/// [`BySecretError::Disabled`], or when the server fails.
pub async fn nonce(engine: &Engine) -> Result<String, BySecretError> {
    secret(engine)?;
    let nonce = rng::token::<24>();
    let mut change = Change::new();
    change.write(accounts::Write::Uia(sessions::Write::Add(SessionRow {
        session_id: nonce.clone(),
        action: NONCE.to_owned(),
        user_id: None,
        body: "{}".to_owned(),
        completed: "[]".to_owned(),
        registration_token: None,
        email_session: None,
        created_ts: engine.clock.now_ms(),
    })));
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(nonce)
}

/// Makes an account for who knows the registration secret.
///
/// # Errors
///
/// [`BySecretError`].
pub async fn register_by_secret(
    engine: &Engine,
    request: BySecret,
) -> Result<Registered, BySecretError> {
    let secret = secret(engine)?;
    if !is_fresh(engine, &request.nonce).await? {
        return Err(BySecretError::UnknownNonce);
    }
    if !proves(secret, &request) {
        return Err(BySecretError::WrongMac);
    }
    let mut change = Change::new();
    change.claim(Claim::Once(Once::UiaSession(request.nonce)));
    let new = NewAccount {
        name: Some(request.username),
        password: Some(request.password),
        display_name: request.display_name,
        admin: request.admin,
        device: request.device,
        ..NewAccount::default()
    };
    match register::make(engine, new, change).await {
        Err(RegisterError::UsedUp) => Err(BySecretError::UnknownNonce),
        other => Ok(other?),
    }
}

async fn is_fresh(engine: &Engine, nonce: &str) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    let row = sessions::get(&mut conn, nonce).await?;
    let now = engine.clock.now_ms();
    Ok(row.is_some_and(|row| row.action == NONCE && now < row.created_ts + NONCE_LIFETIME_MS))
}

/// Compares in constant time.
fn proves(secret: &str, request: &BySecret) -> bool {
    let admin = if request.admin { "admin" } else { "notadmin" };
    let fields = [&request.nonce, &request.username, &request.password];
    let mut message = fields.map(String::as_str).join("\0");
    for field in [Some(admin), request.user_type.as_deref()].into_iter().flatten() {
        message.push('\0');
        message.push_str(field);
    }
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(message.as_bytes());
    from_hex(&request.mac).is_some_and(|given| mac.verify_slice(&given).is_ok())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message and its MAC, as `openssl dgst -sha1 -hmac` computes it.
    fn request() -> BySecret {
        BySecret {
            nonce: "thisisanonce".to_owned(),
            username: "pepper_roni".to_owned(),
            password: "pizza".to_owned(),
            admin: true,
            user_type: None,
            display_name: None,
            mac: MAC.to_owned(),
            device: None,
        }
    }

    const MAC: &str = "48715842ad67d5dc9a9ee938a3bda4fcfae8d7c7";

    #[test]
    fn the_proof_is_the_one_that_tools_make() {
        assert!(proves("shared_secret", &request()));
        assert!(!proves("another", &request()));
        assert!(!proves("shared_secret", &BySecret { admin: false, ..request() }));
        let typed = BySecret { user_type: Some("bot".to_owned()), ..request() };
        assert!(!proves("shared_secret", &typed));
        for mac in ["", "0", "zz", "00"] {
            assert!(!proves("shared_secret", &BySecret { mac: mac.to_owned(), ..request() }));
        }
    }
}
