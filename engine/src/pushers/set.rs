//! The pushers of a user: which there are, and how they come and go.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset>

use ruma::{OwnedUserId, UserId};
use serde::Deserialize;
use starling_storage::{
    Change, Fact,
    pushers::{self as rows, Progress, PusherKey, Write},
};
use url::Url;

pub use starling_storage::pushers::PusherRow;

use super::{badge, gateway};
use crate::{
    Engine, Internal,
    accounts::{Session, threepids},
    rng,
};

/// How many pushers a user may have.
const MOST: usize = 100;

/// How long the name of an application may be, in characters.
const LONGEST_APP_ID: usize = 64;

/// How long a pushkey may be, in bytes.
const LONGEST_PUSHKEY: usize = 512;

/// How long any other text may be, in bytes.
const LONGEST: usize = 512;

/// How long what is kept for the gateway may be, in bytes.
const LONGEST_DATA: usize = 8 * 1024;

/// The kind of a pusher that tells a gateway.
pub const HTTP: &str = "http";

/// The kind of a pusher that writes letters.
pub const EMAIL: &str = "email";

/// The application of those that do.
const EMAIL_APP: &str = "m.email";

/// Why a pusher is not set.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// Something is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Something is not as it should be.
    #[error("{0}")]
    Invalid(String),
    /// The address is not one of the user's.
    #[error("this is no address of your account")]
    NotOwned,
    /// The user has too many.
    #[error("there are too many pushers")]
    TooMany,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

fn invalid(reason: &str) -> SetError {
    SetError::Invalid(reason.to_owned())
}

/// A pusher as a client wants it.
#[derive(Clone, Debug, Default)]
pub struct NewPusher {
    /// The application.
    pub app_id: String,
    /// Where the application is to be found, or the address that letters go to.
    pub pushkey: String,
    /// `http` or `email`.
    pub kind: String,
    /// What to call the application.
    pub app_display_name: String,
    /// What to call the device.
    pub device_display_name: String,
    /// Which set of rules it is for.
    pub profile_tag: Option<String>,
    /// The language of the user.
    pub lang: String,
    /// JSON: what is for the gateway.
    pub data: String,
    /// Whether anything is told at all.
    pub enabled: bool,
    /// Whether the pushers of others with that application and pushkey stay.
    pub append: bool,
}

/// The pushers of a user.
///
/// # Errors
///
/// When the database fails.
pub async fn list(engine: &Engine, user_id: &UserId) -> Result<Vec<PusherRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(rows::of_user(&mut conn, user_id.as_str()).await?)
}

/// Sets a pusher: from here on it is told what notifies its user. One that is there already goes on.
///
/// # Errors
///
/// See [`SetError`].
pub async fn set(engine: &Engine, session: &Session, new: NewPusher) -> Result<(), SetError> {
    check(engine, &new)?;
    let user_id = &session.user_id;
    let key = key(user_id, new.app_id, new.pushkey);
    let writes = new.kind == EMAIL;
    if writes && threepids::owner(engine, &key.pushkey).await?.as_ref() != Some(user_id) {
        return Err(SetError::NotOwned);
    }
    let others = list(engine, user_id).await?;
    if others.len() >= MOST && others.iter().all(|row| row.key != key) {
        return Err(SetError::TooMany);
    }
    let progress = Progress {
        cursor_pos: engine.storage.feed().head(),
        badge: badge::unread(engine, user_id).await?,
        ..Progress::default()
    };
    let mut change = Change::new();
    if !new.append {
        change.write(Write::RemoveOfOthers(key.clone()));
    }
    let row = PusherRow {
        key,
        kind: new.kind,
        app_display_name: new.app_display_name,
        device_display_name: new.device_display_name,
        profile_tag: new.profile_tag,
        lang: new.lang,
        data: new.data,
        enabled: new.enabled,
        // Letters go to the user, whichever devices there are.
        device_id: if writes { String::new() } else { session.device_id.to_string() },
        set_ts: engine.clock.now_ms(),
        unsubscribe: writes.then(rng::token::<32>),
        progress,
    };
    change.write(Write::Put(Box::new(row)));
    commit(engine, user_id, change).await?;
    Ok(())
}

/// Removes a pusher of a user, if there is one.
///
/// # Errors
///
/// [`SetError::Internal`], and [`SetError::Invalid`] when there can be none of that name.
pub async fn remove(
    engine: &Engine,
    user_id: &UserId,
    app_id: String,
    pushkey: String,
) -> Result<(), SetError> {
    check_name(&app_id, &pushkey)?;
    let mut change = Change::new();
    change.write(Write::Remove(key(user_id, app_id, pushkey)));
    commit(engine, user_id, change).await?;
    Ok(())
}

/// The pusher whose letters have this in their link; `None` when there is none, or no more.
///
/// # Errors
///
/// When the database fails.
pub async fn of_link(engine: &Engine, token: &str) -> Result<Option<PusherRow>, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(rows::of_link(&mut conn, token).await?)
}

/// Writes no more letters to whom this was said in one; `false` when the link is of no use any more.
///
/// # Errors
///
/// When the database fails.
pub async fn unsubscribe(engine: &Engine, token: &str) -> Result<bool, Internal> {
    let Some(row) = of_link(engine, token).await? else { return Ok(false) };
    let user_id = OwnedUserId::try_from(row.key.user_id.as_str())?;
    let mut change = Change::new();
    change.write(Write::Remove(row.key));
    commit(engine, &user_id, change).await?;
    Ok(true)
}

/// Addresses have one form.
fn key(user_id: &UserId, app_id: String, pushkey: String) -> PusherKey {
    let address = threepids::canonical_email(&pushkey).filter(|_| app_id == EMAIL_APP);
    let pushkey = address.unwrap_or(pushkey);
    PusherKey { user_id: user_id.to_string(), app_id, pushkey }
}

async fn commit(engine: &Engine, user_id: &UserId, mut change: Change) -> Result<(), Internal> {
    change.fact(Fact::Pushers { user_id: user_id.to_string() });
    engine.storage.commit(change).await?;
    Ok(())
}

fn check_name(app_id: &str, pushkey: &str) -> Result<(), SetError> {
    if app_id.is_empty() || app_id.chars().count() > LONGEST_APP_ID {
        return Err(invalid("`app_id` has between 1 and 64 characters"));
    }
    if pushkey.is_empty() || pushkey.len() > LONGEST_PUSHKEY {
        return Err(invalid("`pushkey` has between 1 and 512 bytes"));
    }
    Ok(())
}

fn check(engine: &Engine, new: &NewPusher) -> Result<(), SetError> {
    check_name(&new.app_id, &new.pushkey)?;
    let texts = [Some(&new.app_display_name), Some(&new.device_display_name), Some(&new.lang)];
    let mut texts = texts.into_iter().chain([new.profile_tag.as_ref()]).flatten();
    if texts.any(|text| text.len() > LONGEST) {
        return Err(invalid("a name, `lang` or `profile_tag` is longer than 512 bytes"));
    }
    if new.data.len() > LONGEST_DATA {
        return Err(invalid("`data` is too large"));
    }
    match (new.kind.as_str(), new.app_id == EMAIL_APP) {
        (HTTP, false) => check_url(engine, &new.data),
        (EMAIL, true) if engine.config.email.is_none() => {
            Err(invalid("this server writes no letters"))
        }
        (EMAIL, true) => Ok(()),
        (HTTP | EMAIL, _) => Err(invalid("`m.email` is the `app_id` of pushers of `email` alone")),
        _ => Err(invalid("there are no pushers of this `kind`")),
    }
}

/// Where gateways may be. Whoever may be at a private address may do without TLS too.
fn check_url(engine: &Engine, data: &str) -> Result<(), SetError> {
    #[derive(Deserialize)]
    struct Data {
        url: Option<String>,
    }
    let data: Data = serde_json::from_str(data).map_err(|_| invalid("`data.url` is no text"))?;
    let url = data.url.ok_or(SetError::Missing("data.url"))?;
    let url = Url::parse(&url).map_err(|_| invalid("`data.url` is no address"))?;
    let is_allowed = match url.scheme() {
        "https" => true,
        "http" => engine.config.push.allow_private_addresses,
        _ => false,
    };
    if !is_allowed {
        return Err(invalid("`data.url` is not an address of HTTPS"));
    }
    if !url.has_host() || !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("`data.url` names a host, and nobody there"));
    }
    match url.path().ends_with(gateway::PATH) {
        true => Ok(()),
        false => Err(SetError::Invalid(format!("`data.url` does not end in {}", gateway::PATH))),
    }
}
