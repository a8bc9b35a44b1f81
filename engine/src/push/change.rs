//! Changing one's push rules.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#push-rules-api>

use ruma::{
    OwnedRoomId, OwnedUserId, UserId,
    push::{
        Action, ConditionalPushRule, ConditionalPushRuleInit, PatternedPushRule,
        PatternedPushRuleInit, PushCondition, RemovePushRuleError, RuleKind, Ruleset,
        SimplePushRule, SimplePushRuleInit,
    },
};
use starling_storage::{
    Change, Claim, CommitError, Fact,
    account_data::{Expected, Write},
    unread,
};

use super::{reach, rules};
use crate::{Engine, Internal, config::Push};

/// How many rules a user may set.
const MOST_RULES: usize = 1_000;

/// How many conditions and actions a rule may have.
const MOST_PARTS: usize = 50;

/// How long the name of a rule, and a pattern in it, may be, in bytes.
const LONGEST: usize = 512;

/// How large all rules together may be, in bytes.
const LARGEST: usize = 256 * 1024;

/// How often a change is made again when another one came between.
const TRIES: usize = 10;

/// Why rules are not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such rule.
    #[error("there is no such rule")]
    NotFound,
    /// No rule of this kind may be called so, or it is a predefined one.
    #[error("{0}")]
    BadName(&'static str),
    /// The rule beside which it is to stand does not exist, or is a predefined one.
    #[error("before/after rule not found: {0}")]
    BadPlace(String),
    /// The rules would be too many or too large.
    #[error("too many or too large rules")]
    TooMuch,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// A rule that a user sets.
#[derive(Clone, Debug)]
pub struct NewRule {
    /// Its kind.
    pub kind: RuleKind,
    /// Its name among those of its kind.
    pub rule_id: String,
    /// What it does.
    pub actions: Vec<Action>,
    /// When, for `override`, `postcontent` and `underride`.
    pub conditions: Vec<PushCondition>,
    /// What to look for, for `content`.
    pub pattern: String,
    /// The rule that is to be the next less important one.
    pub before: Option<String>,
    /// The rule that is to be the next more important one; counts less than `before`.
    pub after: Option<String>,
}

/// Sets a rule.
///
/// # Errors
///
/// [`ChangeError`].
pub async fn put(engine: &Engine, user: &UserId, rule: &NewRule) -> Result<(), ChangeError> {
    check(rule)?;
    change(engine, user, |rules| insert(rules, rule)).await
}

/// Removes a rule.
///
/// # Errors
///
/// [`ChangeError`].
pub async fn remove(
    engine: &Engine,
    user: &UserId,
    kind: &RuleKind,
    rule_id: &str,
) -> Result<(), ChangeError> {
    change(engine, user, |rules| {
        rules.remove(kind.clone(), rule_id).map_err(|error| match error {
            RemovePushRuleError::ServerDefault => {
                ChangeError::BadName("predefined rules are not removed, but disabled")
            }
            _ => ChangeError::NotFound,
        })
    })
    .await
}

/// Enables or disables a rule.
///
/// # Errors
///
/// [`ChangeError`].
pub async fn set_enabled(
    engine: &Engine,
    user: &UserId,
    kind: &RuleKind,
    rule_id: &str,
    enabled: bool,
) -> Result<(), ChangeError> {
    let set = |rules: &mut Ruleset| rules.set_enabled(kind.clone(), rule_id, enabled);
    change(engine, user, |rules| set(rules).map_err(|_| ChangeError::NotFound)).await
}

/// Sets what a rule does.
///
/// # Errors
///
/// [`ChangeError`].
pub async fn set_actions(
    engine: &Engine,
    user: &UserId,
    kind: &RuleKind,
    rule_id: &str,
    actions: &[Action],
) -> Result<(), ChangeError> {
    if actions.len() > MOST_PARTS {
        return Err(ChangeError::TooMuch);
    }
    let set = |rules: &mut Ruleset| rules.set_actions(kind.clone(), rule_id, actions.to_vec());
    change(engine, user, |rules| set(rules).map_err(|_| ChangeError::NotFound)).await
}

fn check(rule: &NewRule) -> Result<(), ChangeError> {
    let id = rule.rule_id.as_str();
    if id.is_empty() || id.len() > LONGEST {
        return Err(ChangeError::BadName("the name of a rule has 1 to 512 bytes"));
    }
    if id.starts_with('.') || id.contains(['/', '\\']) {
        return Err(ChangeError::BadName("a rule's name begins with no dot and has no slashes"));
    }
    let patterns = rule.conditions.iter().filter_map(|condition| match condition {
        PushCondition::EventMatch(data) => Some(data.pattern.len().max(data.key.len())),
        _ => None,
    });
    let longest = patterns.chain([rule.pattern.len()]).max().unwrap_or(0);
    if longest > LONGEST || rule.conditions.len().max(rule.actions.len()) > MOST_PARTS {
        return Err(ChangeError::TooMuch);
    }
    Ok(())
}

/// Changes the rules of a user as they are, again if another change came between.
async fn change(
    engine: &Engine,
    user: &UserId,
    how: impl Fn(&mut Ruleset) -> Result<(), ChangeError>,
) -> Result<(), ChangeError> {
    for _ in 0..TRIES {
        let mut conn = engine.storage.read().await.map_err(Internal::from)?;
        let (mut rules, pos) = rules::read(engine.config.push, &mut conn, user).await?;
        drop(conn);
        how(&mut rules)?;
        match commit(engine, user, rules, pos).await {
            Err(ChangeError::Internal(Internal::Commit(CommitError::Conflict))) => {}
            other => return other,
        }
    }
    Err(Internal::from(CommitError::Conflict).into())
}

async fn commit(
    engine: &Engine,
    user: &UserId,
    rules: Ruleset,
    pos: i64,
) -> Result<(), ChangeError> {
    let mut change = Change::new();
    write(engine.config.push, &mut change, user, rules, pos)?;
    engine.storage.commit(change).await.map_err(Internal::from)?;
    Ok(())
}

/// Adds to `change` that these are the rules of a user, which were set last at `pos`.
pub(super) fn write(
    push: Push,
    change: &mut Change,
    user: &UserId,
    rules: Ruleset,
    pos: i64,
) -> Result<(), ChangeError> {
    let rooms = reach::of(push, &rules, user);
    let set_by_user = rules.iter().filter(|rule| !rule.is_server_default()).count();
    let content = rules::Content { global: rules };
    let content = serde_json::to_string(&content).map_err(Internal::from)?;
    if content.len() > LARGEST || set_by_user > MOST_RULES {
        return Err(ChangeError::TooMuch);
    }
    let (user_id, room_id, kind) = (user.to_string(), String::new(), rules::KIND.to_owned());
    change.claim(Claim::AccountData(Expected {
        user_id: user_id.clone(),
        room_id: room_id.clone(),
        kind: kind.clone(),
        pos,
    }));
    let at = change.fact(Fact::AccountData {
        user_id: user_id.clone(),
        room_id: room_id.clone(),
        kind: kind.clone(),
    });
    let reach = unread::Write::Reach { user_id: user_id.clone(), source: "rules", rooms, at };
    change.write(reach);
    change.write(Write::Put { user_id, room_id, kind, content, at });
    Ok(())
}

/// Puts a rule in its place among those of its kind.
fn insert(rules: &mut Ruleset, new: &NewRule) -> Result<(), ChangeError> {
    let enabled = rules.get(new.kind.clone(), &new.rule_id).is_none_or(|rule| rule.enabled());
    match new.kind {
        RuleKind::Override => {
            let old = std::mem::take(&mut rules.override_);
            let placed = place(old, conditional(new, enabled), new, |rule| &rule.rule_id)?;
            rules.override_ = placed.into_iter().collect();
        }
        RuleKind::PostContent => {
            let old = std::mem::take(&mut rules.postcontent);
            let placed = place(old, conditional(new, enabled), new, |rule| &rule.rule_id)?;
            rules.postcontent = placed.into_iter().collect();
        }
        RuleKind::Underride => {
            let old = std::mem::take(&mut rules.underride);
            let placed = place(old, conditional(new, enabled), new, |rule| &rule.rule_id)?;
            rules.underride = placed.into_iter().collect();
        }
        RuleKind::Content => {
            let old = std::mem::take(&mut rules.content);
            let placed = place(old, patterned(new, enabled), new, |rule| &rule.rule_id)?;
            rules.content = placed.into_iter().collect();
        }
        RuleKind::Room => {
            let id = OwnedRoomId::try_from(new.rule_id.as_str());
            let id = id.map_err(|_| ChangeError::BadName("a room rule is called like its room"))?;
            let old = std::mem::take(&mut rules.room);
            let placed = place(old, simple(new, id, enabled), new, |rule| rule.rule_id.as_str())?;
            rules.room = placed.into_iter().collect();
        }
        RuleKind::Sender => {
            let id = OwnedUserId::try_from(new.rule_id.as_str());
            let id =
                id.map_err(|_| ChangeError::BadName("a sender rule is called like its user"))?;
            let old = std::mem::take(&mut rules.sender);
            let placed = place(old, simple(new, id, enabled), new, |rule| rule.rule_id.as_str())?;
            rules.sender = placed.into_iter().collect();
        }
        _ => return Err(ChangeError::NotFound),
    }
    Ok(())
}

/// The rules of a kind, the most important first, with a new one among them or in place of the one
/// with its name.
fn place<T>(
    rules: impl IntoIterator<Item = T>,
    rule: T,
    new: &NewRule,
    id: impl Fn(&T) -> &str,
) -> Result<Vec<T>, ChangeError> {
    let mut rules: Vec<T> = rules.into_iter().collect();
    let old = rules.iter().position(|rule| id(rule) == new.rule_id);
    if let Some(old) = old {
        rules.remove(old);
    }
    let find = |wanted: &str| {
        let found = rules.iter().position(|rule| id(rule) == wanted && !wanted.starts_with('.'));
        found.ok_or_else(|| ChangeError::BadPlace(wanted.to_owned()))
    };
    let after = new.after.as_deref().map(find).transpose()?;
    let before = new.before.as_deref().map(find).transpose()?;
    // Nothing stands before the rule that turns everything off.
    let first = rules.iter().take_while(|rule| id(rule) == ".m.rule.master").count();
    let index = before.or(after.map(|index| index + 1)).or(old).unwrap_or(first);
    rules.insert(index.min(rules.len()), rule);
    Ok(rules)
}

fn conditional(new: &NewRule, enabled: bool) -> ConditionalPushRule {
    let (actions, conditions) = (new.actions.clone(), new.conditions.clone());
    let rule_id = new.rule_id.clone();
    ConditionalPushRuleInit { actions, default: false, enabled, rule_id, conditions }.into()
}

fn patterned(new: &NewRule, enabled: bool) -> PatternedPushRule {
    let (actions, pattern) = (new.actions.clone(), new.pattern.clone());
    let rule_id = new.rule_id.clone();
    PatternedPushRuleInit { actions, default: false, enabled, rule_id, pattern }.into()
}

fn simple<T>(new: &NewRule, rule_id: T, enabled: bool) -> SimplePushRule<T> {
    SimplePushRuleInit { actions: new.actions.clone(), default: false, enabled, rule_id }.into()
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    fn order(rules: &Ruleset) -> Vec<&str> {
        rules.override_.iter().map(|rule| rule.rule_id.as_str()).take(4).collect()
    }

    fn rule(id: &str, before: Option<&str>, after: Option<&str>) -> NewRule {
        NewRule {
            kind: RuleKind::Override,
            rule_id: id.to_owned(),
            actions: vec![],
            conditions: vec![],
            pattern: String::new(),
            before: before.map(ToOwned::to_owned),
            after: after.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn rules_stand_where_they_are_put() {
        let rules_of = |rules: &Ruleset| order(rules).join(" ");
        let mut rules = rules::default_of(Push::default(), user_id!("@alice:a.org"));
        let mut put = |id, before, after| {
            insert(&mut rules, &rule(id, before, after)).unwrap();
            rules_of(&rules)
        };
        put("a", None, None);
        put("b", None, None);
        assert_eq!(put("c", None, Some("b")), ".m.rule.master b c a");
        assert_eq!(put("a", None, None), ".m.rule.master b c a", "a change leaves it in its place");
        assert_eq!(put("a", Some("b"), None), ".m.rule.master a b c");
        assert_eq!(put("a", None, Some("c")), ".m.rule.master b c a");
        assert_eq!(put("a", Some("c"), Some("b")), ".m.rule.master b a c");
        assert_eq!(put("b", Some("c"), Some("c")), ".m.rule.master a b c", "before counts");
        let place = rule("d", Some("nothing"), None);
        assert!(matches!(insert(&mut rules, &place), Err(ChangeError::BadPlace(_))));
    }
}
