//! The push rules of a user: what they set, over what the specification predefines. They are stored
//! as account data, so that clients hear of changes.

use std::{collections::HashSet, sync::Arc};

use ruma::{
    OwnedUserId, UserId,
    push::{ConditionalPushRule, PredefinedOverrideRuleId, Ruleset},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use starling_storage::{Conn, account_data};

use super::polls;
use crate::{Engine, Internal, config::Push};

/// The account data that holds the push rules.
pub const KIND: &str = "m.push_rules";

/// The account data that holds the users whose messages somebody does not want to see.
pub const IGNORED: &str = "m.ignored_user_list";

/// The content of `m.push_rules`.
#[derive(Debug, Deserialize, Serialize)]
pub struct Content {
    /// The only set of rules that there is.
    pub global: Ruleset,
}

/// The rules of a user who has set none: those that the specification predefines, those for polls, and
/// where they are wanted those for threads that are followed.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#predefined-rules> and
/// <https://github.com/matrix-org/matrix-spec-proposals/pull/4306>
#[must_use]
pub fn default_of(push: Push, user: &UserId) -> Ruleset {
    let mut rules = Ruleset::server_default(user);
    polls::add(&mut rules);
    if !push.follow_threads {
        rules.postcontent.clear();
    }
    rules
}

/// The predefined rules without those that are about one user. No event can name this user, as rules
/// that would look for the name are left out.
pub(super) fn of_everybody(push: Push) -> Ruleset {
    let nobody = ruma::user_id!("@:localhost");
    let mut rules = default_of(push, nobody);
    for about_one in
        [PredefinedOverrideRuleId::IsUserMention, PredefinedOverrideRuleId::InviteForMe]
    {
        rules.override_.shift_remove(about_one.as_str());
    }
    rules
}

/// The rules of a user.
///
/// # Errors
///
/// When the database fails.
pub async fn get(engine: &Engine, user: &UserId) -> Result<Ruleset, Internal> {
    let mut conn = engine.storage.read().await?;
    Ok(read(engine.config.push, &mut conn, user).await?.0)
}

/// The rules of a user, and where they were set last; 0: they never were.
pub(super) async fn read(
    push: Push,
    conn: &mut Conn,
    user: &UserId,
) -> Result<(Ruleset, i64), Internal> {
    let found = account_data::get_with_pos(conn, user.as_str(), "", KIND).await?;
    Ok(match found {
        Some((content, pos)) => (parse(push, user, &content)?, pos),
        None => (default_of(push, user), 0),
    })
}

/// Rules as they are stored, brought up to what is predefined today.
///
/// # Errors
///
/// When they are not what this server stored.
pub fn parse(push: Push, user: &UserId, content: &str) -> Result<Ruleset, Internal> {
    let mut rules = serde_json::from_str::<Content>(content)?.global;
    let mut default = default_of(push, user);
    let postcontent = std::mem::take(&mut default.postcontent).into_iter().collect();
    update_postcontent(&mut rules, postcontent);
    rules.update_with_server_default(default);
    Ok(rules)
}

/// Brings the rules of the one kind up to date that `ruma` leaves as it is. Where none are predefined
/// there is no such kind.
fn update_postcontent(rules: &mut Ruleset, default: Vec<ConditionalPushRule>) {
    let old = std::mem::take(&mut rules.postcontent);
    if default.is_empty() {
        return;
    }
    rules.postcontent = old.iter().filter(|rule| !rule.default).cloned().collect();
    for mut rule in default {
        if let Some(set) = old.get(rule.rule_id.as_str()) {
            (rule.enabled, rule.actions) = (set.enabled, set.actions.clone());
        }
        rules.postcontent.insert(rule);
    }
}

/// The content of `m.push_rules` for the client of a user.
///
/// # Errors
///
/// When the stored rules are not what this server stored.
pub fn content(push: Push, user: &UserId, stored: Option<&str>) -> Result<Box<RawValue>, Internal> {
    let global = match stored {
        Some(content) => parse(push, user, content)?,
        None => default_of(push, user),
    };
    Ok(serde_json::value::to_raw_value(&Content { global })?)
}

/// The rules of a user that were set at `pos`, from memory if they are there.
///
/// # Errors
///
/// When the database fails.
pub async fn set_at(
    engine: &Engine,
    conn: &mut Conn,
    user: &UserId,
    pos: Option<i64>,
) -> Result<Arc<Ruleset>, Internal> {
    let key = (user.to_string(), pos.unwrap_or(0));
    if let Some(rules) = engine.push.rules.get(&key) {
        return Ok(rules);
    }
    let (rules, pos) = match pos {
        Some(_) => read(engine.config.push, conn, user).await?,
        None => (default_of(engine.config.push, user), 0),
    };
    let rules = Arc::new(rules);
    engine.push.rules.insert((key.0, pos), rules.clone());
    Ok(rules)
}

/// Whether a user ignores another, by the list that was set at `pos`.
///
/// # Errors
///
/// When the database fails.
pub async fn ignores(
    engine: &Engine,
    conn: &mut Conn,
    user: &UserId,
    other: &UserId,
    pos: Option<i64>,
) -> Result<bool, Internal> {
    let Some(pos) = pos else { return Ok(false) };
    let key = (user.to_string(), pos);
    if let Some(ignored) = engine.push.ignored.get(&key) {
        return Ok(ignored.contains(other));
    }
    let found = account_data::get_with_pos(conn, user.as_str(), "", IGNORED).await?;
    let (content, pos) = found.unwrap_or_default();
    let ignored = Arc::new(ignored_in(&content));
    engine.push.ignored.insert((key.0, pos), ignored.clone());
    Ok(ignored.contains(other))
}

/// The users that a list of ignored ones names. The client wrote it; what is no list ignores nobody.
#[must_use]
pub fn ignored_in(content: &str) -> HashSet<OwnedUserId> {
    #[derive(Deserialize)]
    struct List {
        ignored_users: std::collections::HashMap<String, Box<RawValue>>,
    }
    let list = serde_json::from_str::<List>(content).ok();
    let listed = list.into_iter().flat_map(|list| list.ignored_users.into_keys());
    listed.filter_map(|id| id.try_into().ok()).collect()
}
