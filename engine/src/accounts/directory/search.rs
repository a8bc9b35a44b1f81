//! Finding users.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch>

use std::collections::{BTreeMap, HashMap, HashSet};

use ruma::{OwnedUserId, UserId};
use serde::Serialize;
use starling_storage::{accounts::flags, memberships, user_directory as rows};

use super::{
    follow::{self, text},
    names::{Distance, Query},
};
use crate::{Engine, Internal};

/// How many users are found when the client does not say.
pub const DEFAULT_LIMIT: u64 = 10;

/// How many users are found at most.
pub const LARGEST_LIMIT: u64 = 100;

/// How many bytes of what is searched for are read.
const LONGEST_TERM: usize = 512;

/// How many users are looked at at most, of all who may answer.
const MOST_CANDIDATES: i64 = 500;

/// How many rows of words are looked at at most.
const LOOKED_AT: i64 = 5_000;

/// How many names in rooms are looked at at most.
const MOST_NAMES: i64 = 5_000;

/// The users that were found, as it is answered.
#[derive(Debug, Default, Serialize)]
pub struct Found {
    /// The users, who answers best first.
    pub results: Vec<User>,
    /// Whether there are more.
    pub limited: bool,
}

/// A user, as far as the asker may know them.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub user_id: OwnedUserId,
    /// Their display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Their avatar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// Finds the users whom `asker` may find and whose names or ids have words that begin as those of
/// `term` do.
///
/// Ignored users are among them: whom one ignores, one must be able to find to ignore them no more.
///
/// # Errors
///
/// When the database fails.
pub async fn search(
    engine: &Engine,
    asker: &UserId,
    term: &str,
    limit: Option<u64>,
) -> Result<Found, Internal> {
    let term = term.get(..term.floor_char_boundary(LONGEST_TERM)).unwrap_or_default();
    let query = Query::parse(term);
    if query.is_empty() || !engine.config.user_directory.enabled {
        return Ok(Found::default());
    }
    follow::catch_up(engine).await?;
    let mut found = answering(engine, asker, &query).await?;
    let ids: Vec<String> = found.iter().map(|(_, user)| user.user_id.to_string()).collect();
    let mut conn = engine.storage.read().await?;
    let known = memberships::sharing(&mut conn, asker.as_str(), &ids).await?;
    drop(conn);
    let known: HashSet<String> = known.into_iter().collect();
    found.sort_by_cached_key(|(distance, user)| {
        let is_stranger = !known.contains(user.user_id.as_str());
        let is_bare = user.display_name.is_none() && user.avatar_url.is_none();
        (*distance, is_stranger, is_bare, user.user_id.clone())
    });
    let limit = limit.unwrap_or(DEFAULT_LIMIT).min(LARGEST_LIMIT);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let limited = found.len() > limit;
    let results = found.into_iter().take(limit).map(|(_, user)| user).collect();
    Ok(Found { results, limited })
}

/// Everybody who answers, with the names by which they do.
async fn answering(
    engine: &Engine,
    asker: &UserId,
    query: &Query,
) -> Result<Vec<(Distance, User)>, Internal> {
    let ranges = query.ranges();
    let wanted = rows::Wanted {
        asker: asker.as_str(),
        words: &ranges,
        all_local: engine.config.user_directory.search_all_users,
        limit: MOST_CANDIDATES,
        looked_at: LOOKED_AT,
    };
    let mut conn = engine.storage.read().await?;
    let proposed = rows::proposed(&mut conn, wanted).await?;
    drop(conn);
    let mut ids = vec![];
    for id in proposed {
        ids.push(OwnedUserId::try_from(id)?);
    }
    let is_local = |id: &OwnedUserId| id.server_name() == engine.config.server_name;
    let (local, remote) = ids.into_iter().partition(is_local);
    let mut found = local_users(engine, local).await?;
    found.extend(remote_users(engine, asker, remote).await?);
    let mut best: BTreeMap<OwnedUserId, (Distance, User)> = BTreeMap::new();
    for user in found {
        let Some(distance) = query.finds(&user.user_id, user.display_name.as_deref()) else {
            continue;
        };
        let known = best.get(&user.user_id);
        if known.is_none_or(|(nearest, _)| distance < *nearest) {
            best.insert(user.user_id.clone(), (distance, user));
        }
    }
    Ok(best.into_values().collect())
}

/// Users of this server with their profiles, but for those who cannot be reached.
async fn local_users(engine: &Engine, ids: Vec<OwnedUserId>) -> Result<Vec<User>, Internal> {
    let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut conn = engine.storage.read().await?;
    let accounts = rows::accounts(&mut conn, &texts).await?;
    let fields = rows::profiles(&mut conn, &texts).await?;
    drop(conn);
    let there = accounts.into_iter().filter(|(_, bits, is_deactivated)| {
        !is_deactivated && bits & (flags::LOCKED | flags::ERASED) == 0
    });
    let there: HashSet<String> = there.map(|(user_id, ..)| user_id).collect();
    let mut profiles: HashMap<(String, String), String> = HashMap::new();
    for row in fields {
        if let Some(value) = text(&row.value) {
            profiles.insert((row.user_id, row.field), value);
        }
    }
    let ids = ids.into_iter().filter(|id| there.contains(id.as_str()));
    let users = ids.map(|user_id| {
        let mut field = |name: &str| profiles.remove(&(user_id.to_string(), name.to_owned()));
        let (display_name, avatar_url) = (field("displayname"), field("avatar_url"));
        User { user_id, display_name, avatar_url }
    });
    Ok(users.collect())
}

/// Users of other servers, with each name that they have where the asker may see them; the newest names
/// come first.
async fn remote_users(
    engine: &Engine,
    asker: &UserId,
    ids: Vec<OwnedUserId>,
) -> Result<Vec<User>, Internal> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let mut conn = engine.storage.read().await?;
    let names = rows::names_in_sight(&mut conn, asker.as_str(), &ids, MOST_NAMES).await?;
    drop(conn);
    let users = names.into_iter().map(|row| {
        let user_id = row.user_id.try_into()?;
        Ok(User { user_id, display_name: row.display_name, avatar_url: row.avatar_url })
    });
    users.collect()
}
