//! The tokens by which people may register.

use starling_storage::{
    Change, Claim, CommitError,
    accounts::registration_tokens::RegistrationTokenRow,
    admin::{Write, tokens as rows},
};

pub use starling_storage::admin::tokens::TokenUse;

use crate::{Engine, Internal, rng};

/// How many are listed.
const MOST: i64 = 10_000;

/// How long a token may be.
const LONGEST: usize = 64;

/// How long a token is for which no length is wanted.
const USUAL: usize = 16;

/// Why a token is not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is no such token.
    #[error("there is no such registration token")]
    NotFound,
    /// There is one already.
    #[error("there is such a registration token already")]
    Taken,
    /// It cannot be as it is wanted.
    #[error("{0}")]
    Invalid(&'static str),
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for TokenError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// A token that is wanted.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// The token; `None`: a random one.
    pub token: Option<String>,
    /// How long a random one is.
    pub length: Option<usize>,
    /// How many accounts it is for.
    pub uses_allowed: Option<i64>,
    /// From when on it is not valid.
    pub expires_ts: Option<i64>,
}

/// All tokens; with `valid` only those that serve now, or only the others.
///
/// # Errors
///
/// When the database fails.
pub async fn list(engine: &Engine, valid: Option<bool>) -> Result<Vec<TokenUse>, Internal> {
    let mut conn = engine.storage.read().await?;
    let mut tokens = rows::all(&mut conn, MOST).await?;
    let now = engine.clock.now_ms();
    tokens.retain(|token| valid.is_none_or(|valid| token.is_valid(now) == valid));
    Ok(tokens)
}

/// A token.
///
/// # Errors
///
/// [`TokenError::NotFound`].
pub async fn get(engine: &Engine, token: &str) -> Result<TokenUse, TokenError> {
    let mut conn = engine.storage.read().await?;
    rows::get(&mut conn, token).await?.ok_or(TokenError::NotFound)
}

/// Makes a token.
///
/// # Errors
///
/// [`TokenError`].
pub async fn make(engine: &Engine, new: NewToken) -> Result<TokenUse, TokenError> {
    check(engine, new.uses_allowed, new.expires_ts)?;
    let token = match new.token {
        Some(token) if is_token(&token) => token,
        Some(_) => {
            return Err(TokenError::Invalid("a token has 1 to 64 of A-Z a-z 0-9 . _ ~ -"));
        }
        None => random(new.length.unwrap_or(USUAL))?,
    };
    let mut change = Change::new();
    change.claim(Claim::NewRegistrationToken(RegistrationTokenRow {
        token: token.clone(),
        uses_allowed: new.uses_allowed,
        expires_ts: new.expires_ts,
        created_ts: engine.clock.now_ms(),
    }));
    match engine.storage.commit(change).await {
        Ok(_) => get(engine, &token).await,
        Err(CommitError::NameTaken) => Err(TokenError::Taken),
        Err(error) => Err(Internal::from(error).into()),
    }
}

/// What is to be different about a token: `Some(None)` takes a bound away.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenChange {
    /// How many accounts it is for.
    pub uses_allowed: Option<Option<i64>>,
    /// From when on it is not valid.
    pub expires_ts: Option<Option<i64>>,
}

/// Changes a token.
///
/// # Errors
///
/// [`TokenError`].
pub async fn change(
    engine: &Engine,
    token: &str,
    wanted: TokenChange,
) -> Result<TokenUse, TokenError> {
    let now = get(engine, token).await?;
    check(engine, wanted.uses_allowed.flatten(), wanted.expires_ts.flatten())?;
    let mut change = Change::new();
    change.write(Write::RegistrationToken {
        token: token.to_owned(),
        uses_allowed: wanted.uses_allowed.unwrap_or(now.uses_allowed),
        expires_ts: wanted.expires_ts.unwrap_or(now.expires_ts),
    });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    get(engine, token).await
}

/// Removes a token.
///
/// # Errors
///
/// [`TokenError::NotFound`].
pub async fn remove(engine: &Engine, token: &str) -> Result<(), TokenError> {
    get(engine, token).await?;
    let mut change = Change::new();
    change.write(Write::RemoveRegistrationToken { token: token.to_owned() });
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

fn check(
    engine: &Engine,
    uses_allowed: Option<i64>,
    expires_ts: Option<i64>,
) -> Result<(), TokenError> {
    if uses_allowed.is_some_and(|uses| uses < 0) {
        return Err(TokenError::Invalid("`uses_allowed` is below zero"));
    }
    if expires_ts.is_some_and(|expiry| expiry < engine.clock.now_ms()) {
        return Err(TokenError::Invalid("`expiry_time` is in the past"));
    }
    Ok(())
}

fn is_token(token: &str) -> bool {
    let is_legal = |c: u8| c.is_ascii_alphanumeric() || b"._~-".contains(&c);
    (1..=LONGEST).contains(&token.len()) && token.bytes().all(is_legal)
}

fn random(length: usize) -> Result<String, TokenError> {
    if !(1..=LONGEST).contains(&length) {
        return Err(TokenError::Invalid("`length` is not between 1 and 64"));
    }
    let letters = rng::token::<LONGEST>();
    Ok(letters.chars().filter(char::is_ascii_alphanumeric).take(length).collect())
}
