//! Profiles: what users say about themselves, here and on other servers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use moka::future::Cache;
use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value};
use starling_storage::{Change, account_data, memberships};

use super::{directory, follow};
use crate::{
    Engine, Internal,
    config::Audience,
    remote::{Limits, TransportError},
    rooms::serve,
};

/// How large a profile may be, in bytes of JSON.
const LARGEST: usize = 64 * 1024;

/// How long the name of a field may be, in bytes.
const LONGEST_FIELD: usize = 255;

/// How long a display name may be, in characters; it is part of events.
const LONGEST_DISPLAY_NAME: usize = 256;

/// How long the address of an avatar may be, in bytes; it is part of events.
const LONGEST_AVATAR_URL: usize = 1_000;

/// How long the answer of another server is kept, in milliseconds.
const REMEMBER_MS: i64 = 60_000;

/// How much of other servers' profiles is kept, in bytes.
const REMEMBERED: u64 = 8 << 20;

/// What another server may take and send for a profile.
const REMOTE: Limits = Limits { timeout: Duration::from_secs(10), max_body: 2 * LARGEST };

/// The fields of a profile.
pub type Profile = BTreeMap<String, Value>;

/// Why there is no profile to show.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no such user, or not for us.
    #[error("there is no such user")]
    NotFound,
    /// Profiles are for users of this server, and nobody has logged in.
    #[error("profiles are shown to users only")]
    LogInFirst,
    /// Profiles are for those who share a room, and whoever asks does not, whether there is such a user or not.
    #[error("the profile is not shown")]
    NotShown,
    /// The user's server did not answer, or not with a profile.
    #[error("the server of the user does not answer")]
    RemoteFailed,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// The profile of any user, for a user of ours, or for nobody in particular.
///
/// # Errors
///
/// [`ProfileError`].
pub async fn get(
    engine: &Engine,
    asker: Option<&UserId>,
    user: &UserId,
) -> Result<Arc<Profile>, ProfileError> {
    check_audience(engine, asker, user).await?;
    if user.server_name() != engine.config.server_name {
        return remote(engine, user).await?.ok_or(ProfileError::NotFound);
    }
    let fields = serve::profile::profile(engine, user, None).await?;
    let fields = fields.ok_or(ProfileError::NotFound)?;
    let parsed = fields.into_iter().map(|(name, value)| {
        Ok((name, serde_json::from_str(value.get()).map_err(Internal::from)?))
    });
    parsed.collect::<Result<_, ProfileError>>().map(Arc::new)
}

async fn check_audience(
    engine: &Engine,
    asker: Option<&UserId>,
    user: &UserId,
) -> Result<(), ProfileError> {
    let audience = engine.config.profiles.visible_to;
    if audience == Audience::Everyone {
        return Ok(());
    }
    let asker = asker.ok_or(ProfileError::LogInFirst)?;
    if audience == Audience::Users || asker == user {
        return Ok(());
    }
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let shared = memberships::count_shared_rooms(&mut conn, asker.as_str(), user.as_str()).await;
    match shared.map_err(Internal::from)? {
        0 => Err(ProfileError::NotShown),
        _ => Ok(()),
    }
}

/// Why a field is not set.
#[derive(Debug, thiserror::Error)]
pub enum SetFieldError {
    /// The field's name is none.
    #[error("a field is not called so")]
    BadName,
    /// The field's name is too long.
    #[error("the field's name is too long")]
    NameTooLong,
    /// The field cannot have this value.
    #[error("{0}")]
    BadValue(&'static str),
    /// The profile would be too large.
    #[error("the profile would be too large")]
    TooLarge,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Sets a field of the profile of a user of ours. Rooms are told of names and avatars by and by.
///
/// # Errors
///
/// [`SetFieldError`].
pub async fn set_field(
    engine: &Engine,
    user: &UserId,
    field: &str,
    value: Value,
) -> Result<(), SetFieldError> {
    check_name(field)?;
    let Some(value) = checked_value(field, value)? else {
        return remove_field(engine, user, field).await;
    };
    let text = value.to_string();
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    let fields = account_data::profile(&mut conn, user.as_str()).await.map_err(Internal::from)?;
    drop(conn);
    let size = |(name, value): (&str, &str)| name.len() + value.len() + r#""":,"#.len();
    let others = fields.iter().filter(|(name, _)| name != field);
    let others: usize = others.map(|(name, value)| size((name, value))).sum();
    if others + size((field, &text)) > LARGEST {
        return Err(SetFieldError::TooLarge);
    }
    Ok(write_field(engine, user, field, Some(text)).await?)
}

/// Removes a field of the profile of a user of ours, if it is there.
///
/// # Errors
///
/// [`SetFieldError::BadName`], [`SetFieldError::NameTooLong`], or when the server fails.
pub async fn remove_field(
    engine: &Engine,
    user: &UserId,
    field: &str,
) -> Result<(), SetFieldError> {
    check_name(field)?;
    Ok(write_field(engine, user, field, None).await?)
}

async fn write_field(
    engine: &Engine,
    user: &UserId,
    field: &str,
    value: Option<String>,
) -> Result<(), Internal> {
    let mut change = Change::new();
    let (user_id, field) = (user.to_string(), field.to_owned());
    let is_shown = is_shown_in_rooms(&field);
    if field == "displayname" {
        let name = value.as_deref().and_then(directory::follow::text);
        directory::follow::name(&mut change, user, name.as_deref());
    }
    change.write(account_data::Write::Profile { user_id, field, value });
    if is_shown {
        follow::show_profile(&mut change, user);
    }
    engine.storage.commit(change).await?;
    if is_shown {
        follow::wake(engine);
    }
    Ok(())
}

fn is_shown_in_rooms(field: &str) -> bool {
    matches!(field, "displayname" | "avatar_url")
}

/// <https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar>
fn check_name(field: &str) -> Result<(), SetFieldError> {
    if field.len() > LONGEST_FIELD {
        return Err(SetFieldError::NameTooLong);
    }
    let is_legal = |c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    let begins = field.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
    if begins && field.bytes().all(is_legal) { Ok(()) } else { Err(SetFieldError::BadName) }
}

/// The value to store; `None` removes the field, as an empty name or avatar does.
fn checked_value(field: &str, value: Value) -> Result<Option<Value>, SetFieldError> {
    let bad = |reason| Err(SetFieldError::BadValue(reason));
    match (field, &value) {
        ("displayname" | "avatar_url", Value::Null) => Ok(None),
        ("displayname" | "avatar_url", Value::String(text)) if text.is_empty() => Ok(None),
        ("displayname", Value::String(text)) if text.chars().count() > LONGEST_DISPLAY_NAME => {
            bad("the display name is longer than 256 characters")
        }
        ("avatar_url", Value::String(text)) if text.len() > LONGEST_AVATAR_URL => {
            bad("the address is longer than 1000 bytes")
        }
        ("displayname" | "avatar_url" | "m.tz", Value::String(_)) => Ok(Some(value)),
        ("displayname" | "avatar_url" | "m.tz", _) => bad("the value is not a string"),
        _ => Ok(Some(value)),
    }
}

/// Profiles of users of other servers, and that a server has none.
#[derive(Clone, Debug)]
pub(crate) struct RemoteProfiles(Cache<OwnedUserId, Remembered>);

#[derive(Clone, Debug)]
struct Remembered {
    profile: Option<Arc<Profile>>,
    size: u32,
    until_ms: i64,
}

impl Default for RemoteProfiles {
    fn default() -> Self {
        let weigh = |user: &OwnedUserId, entry: &Remembered| {
            entry.size.saturating_add(u32::try_from(user.as_str().len()).unwrap_or(u32::MAX))
        };
        Self(Cache::builder().max_capacity(REMEMBERED).weigher(weigh).build())
    }
}

async fn remote(engine: &Engine, user: &UserId) -> Result<Option<Arc<Profile>>, ProfileError> {
    let cache = &engine.accounts.remote_profiles.0;
    let now = engine.clock.now_ms();
    if let Some(entry) = cache.get(user).await.filter(|entry| now < entry.until_ms) {
        return Ok(entry.profile);
    }
    let response = ask(engine, user).await?;
    let profile = match response.status().as_u16() {
        200 => Some(Arc::new(parse(response.body())?)),
        403 | 404 => None,
        _ => return Err(ProfileError::RemoteFailed),
    };
    let size = u32::try_from(response.body().len()).unwrap_or(u32::MAX);
    let until_ms = now + REMEMBER_MS;
    cache.insert(user.to_owned(), Remembered { profile: profile.clone(), size, until_ms }).await;
    Ok(profile)
}

/// `GET /_matrix/federation/v1/query/profile`
async fn ask(engine: &Engine, user: &UserId) -> Result<http::Response<bytes::Bytes>, ProfileError> {
    let user_id: String = url::form_urlencoded::byte_serialize(user.as_str().as_bytes()).collect();
    let path = format!("/_matrix/federation/v1/query/profile?user_id={user_id}");
    let request = http::Request::get(path).body(bytes::Bytes::new());
    let request = request.map_err(|error| Internal::Damaged(error.to_string()))?;
    let answer = engine.transport.send(user.server_name(), request, REMOTE).await;
    answer.map_err(|error: TransportError| {
        tracing::debug!(user.id = %user, %error, "a profile could not be fetched");
        ProfileError::RemoteFailed
    })
}

/// A profile from another server, without what clients could not read.
fn parse(body: &[u8]) -> Result<Profile, ProfileError> {
    let fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| ProfileError::RemoteFailed)?;
    if body.len() > LARGEST {
        return Err(ProfileError::RemoteFailed);
    }
    let is_readable = |(name, value): &(String, Value)| {
        value.is_string() || !matches!(name.as_str(), "displayname" | "avatar_url" | "m.tz")
    };
    Ok(fields.into_iter().filter(is_readable).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::on_each_database;

    #[tokio::test]
    async fn profiles_are_bounded() {
        on_each_database(async |test| {
            let (user, _) = test.user("alice").await.unwrap();
            let set = async |field: &str, value| set_field(&test.engine, &user, field, value).await;
            set("displayname", json!("Alice")).await.unwrap();
            set("org.example.big", json!("x".repeat(60_000))).await.unwrap();
            let answer = set("org.example.more", json!("x".repeat(6_000))).await;
            assert!(matches!(answer, Err(SetFieldError::TooLarge)));
            set("org.example.big", json!({ "a": [1.5, null] })).await.unwrap();
            set("org.example.more", json!("x".repeat(6_000))).await.unwrap();
            let profile = get(&test.engine, None, &user).await.unwrap();
            assert_eq!(profile.len(), 3);
            assert_eq!(profile["org.example.big"], json!({ "a": [1.5, null] }));
            test
        })
        .await
        .unwrap();
    }

    #[test]
    fn names_of_fields_keep_to_the_grammar() {
        for name in ["displayname", "m.tz", "org.example.a-b_c", "a"] {
            check_name(name).unwrap();
        }
        for name in ["", "A", "1a", ".a", "a b", "é", "a/b"] {
            assert!(matches!(check_name(name), Err(SetFieldError::BadName)), "{name}");
        }
        assert!(matches!(check_name(&"a".repeat(256)), Err(SetFieldError::NameTooLong)));
    }

    #[test]
    fn known_fields_are_strings() {
        let value = |field, value| checked_value(field, value).map(|v| v.map(|v| v.to_string()));
        assert_eq!(value("displayname", json!("A")).unwrap().as_deref(), Some("\"A\""));
        assert_eq!(value("displayname", json!("")).unwrap(), None);
        assert_eq!(value("org.example", json!(null)).unwrap().as_deref(), Some("null"));
        for (field, bad) in [
            ("displayname", json!(5)),
            ("displayname", json!("x".repeat(257))),
            ("avatar_url", json!({})),
            ("avatar_url", json!("x".repeat(1_001))),
            ("m.tz", json!([])),
        ] {
            assert!(matches!(value(field, bad), Err(SetFieldError::BadValue(_))), "{field}");
        }
    }

    #[test]
    fn what_clients_could_not_read_is_left_out_of_foreign_profiles() {
        let body = br#"{"displayname":5,"avatar_url":{},"org.example":[1],"m.tz":"Europe/Rome"}"#;
        let profile = parse(body).unwrap();
        assert_eq!(profile.keys().collect::<Vec<_>>(), ["m.tz", "org.example"]);
        assert!(parse(b"[]").is_err());
        assert!(parse(b"{").is_err());
    }
}
