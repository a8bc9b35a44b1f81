//! Access and refresh tokens: the only place that makes and reads them.
//!
//! A token is 256 random bits; the database holds its SHA-256, so who reads the database cannot use
//! it. Comparing by an index over hashes tells nothing about a token by its timing.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use moka::sync::Cache as Moka;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use sha2::{Digest as _, Sha256};
use starling_storage::{
    Change, Claim, CommitError,
    accounts::{
        self, flags,
        tokens::{self as rows, AccessTokenRow, RefreshTokenRow, Rotation, SessionRow, Write},
    },
};

use super::{Session, names};
use crate::{Engine, Internal, rng};

/// How long an access token lives that can be refreshed.
const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// For how long refresh tokens that were replaced are remembered, to notice when one is used again.
const REMEMBER_DEAD: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a validated token is not looked up again: what another process revokes is valid here
/// for at most that long.
const CACHED_MS: i64 = 5_000;

/// How many validated tokens are remembered.
const CACHED_TOKENS: u64 = 20_000;

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

/// Tokens that were just made; the only time that they exist in the clear.
pub struct Issued {
    /// The access token.
    pub access_token: String,
    /// How long it is valid; `None`: until it is revoked.
    pub expires_in: Option<Duration>,
    /// The token that makes the next one, if the client can refresh.
    pub refresh_token: Option<String>,
}

/// Why an access token is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// No session has it (any more), or its account is deactivated.
    #[error("the access token is unknown")]
    Unknown,
    /// It was valid once; the client can refresh it.
    #[error("the access token has expired")]
    Expired,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Why a refresh token is refused.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// No session has it (any more). One that was replaced and is used again ends its session.
    #[error("the refresh token is unknown")]
    Unknown,
    /// The account is locked; the token stays as it is.
    #[error("the account is locked")]
    Locked,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Validated tokens.
///
/// An entry counts for [`CACHED_MS`], and no longer than until this process revokes anything.
pub(crate) struct Cache {
    sessions: Moka<Hash, Validated>,
    revocations: AtomicU64,
}

#[derive(Clone)]
struct Validated {
    session: Session,
    until_ms: i64,
    revocations: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self { sessions: Moka::new(CACHED_TOKENS), revocations: AtomicU64::new(0) }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache(…)")
    }
}

impl Cache {
    pub(super) fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::SeqCst)
    }

    pub(super) fn get(&self, hash: &Hash, now_ms: i64) -> Option<Session> {
        let entry = self.sessions.get(hash)?;
        let valid = now_ms < entry.until_ms && entry.revocations == self.revocations();
        valid.then_some(entry.session)
    }

    /// Remembers a session that was looked up after so many revocations.
    pub(super) fn put(&self, hash: Hash, session: Session, now_ms: i64, revocations: u64) {
        let until_ms = now_ms + CACHED_MS;
        self.sessions.insert(hash, Validated { session, until_ms, revocations });
    }
}

/// Adds the rows of new tokens for a device to `change`.
pub(crate) fn issue(
    engine: &Engine,
    change: &mut Change,
    user: &UserId,
    device: &DeviceId,
    refreshable: bool,
) -> Issued {
    let refresh_token = refreshable.then(|| add_refresh_token(engine, change, user, device));
    let (access_token, expires_in) =
        add_access_token(engine, change, user, device, refreshable, None);
    Issued { access_token, expires_in, refresh_token }
}

/// Adds the row of an access token that is valid until a time, or until it is revoked.
pub(crate) fn issue_until(
    engine: &Engine,
    change: &mut Change,
    user: &UserId,
    device: &DeviceId,
    expires_ts: Option<i64>,
) -> String {
    let token = rng::token::<32>();
    change.write(accounts::Write::Token(Write::Access(AccessTokenRow {
        token_hash: Hash::of(&token).to_vec(),
        user_id: user.to_string(),
        device_id: device.to_string(),
        created_ts: engine.clock.now_ms(),
        expires_ts,
        refreshed_from: None,
    })));
    token
}

/// The session of an access token.
///
/// # Errors
///
/// [`AuthenticateError`].
pub async fn authenticate(engine: &Engine, token: &str) -> Result<Session, AuthenticateError> {
    let hash = Hash::of(token);
    let cache = &engine.accounts.sessions;
    if let Some(session) = cache.get(&hash, engine.clock.now_ms()) {
        return Ok(session);
    }
    let revocations = cache.revocations();
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let row = rows::session(&mut conn, &hash.0).await.map_err(Internal::from)?;
    drop(conn);
    let row = row.filter(|row| row.deactivated_ts.is_none()).ok_or(AuthenticateError::Unknown)?;
    if row.expires_ts.is_some_and(|expiry| expiry <= engine.clock.now_ms()) {
        return Err(AuthenticateError::Expired);
    }
    note_first_use(engine, hash, &row).await?;
    let expiry = row.expires_ts.unwrap_or(i64::MAX);
    let session = session(hash, row)?;
    let until_ms = expiry.min(engine.clock.now_ms() + CACHED_MS);
    cache.sessions.insert(hash, Validated { session: session.clone(), until_ms, revocations });
    Ok(session)
}

/// The refresh token that made this access token is of no use any more.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens>
async fn note_first_use(engine: &Engine, hash: Hash, row: &SessionRow) -> Result<(), Internal> {
    let Some(refreshed_from) = row.refreshed_from.clone() else { return Ok(()) };
    let mut change = Change::new();
    change.write(accounts::Write::Token(Write::FirstUse {
        token_hash: hash.to_vec(),
        refreshed_from,
        user_id: row.user_id.clone(),
        device_id: row.device_id.clone(),
        forget_before: engine.clock.now_ms() - millis(REMEMBER_DEAD),
    }));
    engine.storage.commit(change).await?;
    revoked(engine);
    Ok(())
}

/// Makes new tokens from a refresh token, which stays valid until one of the new ones is used.
///
/// # Errors
///
/// [`RefreshError`].
pub async fn refresh(engine: &Engine, token: &str) -> Result<Issued, RefreshError> {
    let hash = Hash::of(token);
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let found = rows::refresh_token(&mut conn, &hash.0).await.map_err(Internal::from)?;
    drop(conn);
    let (row, dead) = found.ok_or(RefreshError::Unknown)?;
    if dead {
        end_session(engine, row).await?;
        return Err(RefreshError::Unknown);
    }
    let (user, device) = ids(&row.user_id, &row.device_id)?;
    let account = names::account(engine, &user).await?;
    if account.is_some_and(|account| account.flags & flags::LOCKED != 0) {
        return Err(RefreshError::Locked);
    }
    let mut change = Change::new();
    let refresh_token = add_refresh_token(engine, &mut change, &user, &device);
    let successor = Hash::of(&refresh_token).to_vec();
    change.claim(Claim::Rotate(Rotation { token_hash: hash.to_vec(), successor }));
    let (access_token, expires_in) =
        add_access_token(engine, &mut change, &user, &device, true, Some(hash));
    match engine.storage.commit(change).await {
        Ok(_) => {
            revoked(engine);
            Ok(Issued { access_token, expires_in, refresh_token: Some(refresh_token) })
        }
        Err(CommitError::UsedUp) => Err(RefreshError::Unknown),
        Err(error) => Err(Internal::from(error).into()),
    }
}

/// A refresh token that was replaced is in somebody else's hands: nobody may go on with it.
async fn end_session(engine: &Engine, row: RefreshTokenRow) -> Result<(), Internal> {
    tracing::warn!(user.id = row.user_id, "a replaced refresh token was used, ending its session");
    let mut change = Change::new();
    change.write(accounts::Write::Token(Write::RemoveOfDevice {
        user_id: row.user_id,
        device_id: row.device_id,
    }));
    engine.storage.commit(change).await?;
    revoked(engine);
    Ok(())
}

/// Forgets what was validated: to be called when a change that takes tokens or rights away has been
/// committed.
pub(crate) fn revoked(engine: &Engine) {
    engine.accounts.sessions.revocations.fetch_add(1, Ordering::SeqCst);
}

fn add_access_token(
    engine: &Engine,
    change: &mut Change,
    user: &UserId,
    device: &DeviceId,
    expires: bool,
    refreshed_from: Option<Hash>,
) -> (String, Option<Duration>) {
    let token = rng::token::<32>();
    let now = engine.clock.now_ms();
    let lifetime = expires.then_some(ACCESS_TOKEN_LIFETIME);
    change.write(accounts::Write::Token(Write::Access(AccessTokenRow {
        token_hash: Hash::of(&token).to_vec(),
        user_id: user.to_string(),
        device_id: device.to_string(),
        created_ts: now,
        expires_ts: lifetime.map(|lifetime| now + millis(lifetime)),
        refreshed_from: refreshed_from.map(Hash::to_vec),
    })));
    (token, lifetime)
}

fn add_refresh_token(
    engine: &Engine,
    change: &mut Change,
    user: &UserId,
    device: &DeviceId,
) -> String {
    let token = rng::token::<32>();
    change.write(accounts::Write::Token(Write::Refresh(RefreshTokenRow {
        token_hash: Hash::of(&token).to_vec(),
        user_id: user.to_string(),
        device_id: device.to_string(),
        created_ts: engine.clock.now_ms(),
    })));
    token
}

fn session(token: Hash, row: SessionRow) -> Result<Session, Internal> {
    let (user_id, device_id) = ids(&row.user_id, &row.device_id)?;
    let SessionRow { rate_limit, flags, .. } = row;
    Ok(Session { user_id, device_id, token, rate_limit, appservice: None, flags })
}

fn ids(user: &str, device: &str) -> Result<(OwnedUserId, OwnedDeviceId), Internal> {
    Ok((UserId::parse(user)?, device.into()))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
