//! Where somebody's push rules make a difference to the default ones. Pure.
//!
//! Whoever has muted one room has rules of their own there and nowhere else, so that they cost nothing
//! in other rooms.

use std::collections::BTreeSet;

use ruma::{
    UserId,
    push::{AnyPushRuleRef, ConditionalPushRule, PushCondition, Ruleset},
};

use super::{evaluate::Outcome, rules};
use crate::config::Push;

/// Every room.
pub const EVERYWHERE: &str = "";

/// The rooms in which rules make a difference; [`EVERYWHERE`] stands for all.
#[must_use]
pub fn of(push: Push, rules: &Ruleset, user: &UserId) -> Vec<String> {
    let default = rules::default_of(push, user);
    let places: BTreeSet<String> =
        rules.iter().filter_map(|rule| of_rule(rule, &default)).collect();
    if places.contains(EVERYWHERE) {
        return vec![EVERYWHERE.to_owned()];
    }
    places.into_iter().collect()
}

/// Where one rule makes a difference.
fn of_rule(rule: AnyPushRuleRef<'_>, default: &Ruleset) -> Option<String> {
    if rule.is_server_default() {
        return differs(rule, default).then(|| EVERYWHERE.to_owned());
    }
    // A rule that is not enabled may stand for one that was, and may be enabled again.
    let place = match rule {
        AnyPushRuleRef::Room(rule) => literal(rule.rule_id.as_str()),
        AnyPushRuleRef::Override(rule)
        | AnyPushRuleRef::PostContent(rule)
        | AnyPushRuleRef::Underride(rule) => of_conditions(rule),
        _ => None,
    };
    Some(place.unwrap_or(EVERYWHERE).to_owned())
}

/// Whether a predefined rule does something else than by default. Sounds are no difference here.
fn differs(rule: AnyPushRuleRef<'_>, default: &Ruleset) -> bool {
    let same = default.iter().find(|other| other.rule_id() == rule.rule_id());
    let does = |rule: AnyPushRuleRef<'_>| (rule.enabled(), Outcome::of(rule.actions()));
    same.is_none_or(|same| does(same) != does(rule))
}

/// The one room to which conditions bind a rule.
pub(super) fn of_conditions(rule: &ConditionalPushRule) -> Option<&str> {
    rule.conditions.iter().find_map(|condition| match condition {
        PushCondition::EventMatch(data) if data.key == "room_id" => literal(&data.pattern),
        _ => None,
    })
}

/// A pattern that matches itself only.
fn literal(pattern: &str) -> Option<&str> {
    // Patterns are matched without regard to case, names of rooms are not.
    let is_plain = pattern.starts_with('!') && !pattern.contains(['*', '?']);
    is_plain.then_some(pattern)
}

#[cfg(test)]
mod tests {
    use ruma::{
        push::{Action, NewPushRule, NewSimplePushRule, RuleKind},
        room_id, user_id,
    };

    use super::*;

    #[test]
    fn a_muted_room_is_one_room() {
        let alice = user_id!("@alice:a.org");
        let mut rules = rules::default_of(Push::default(), alice);
        assert!(of(Push::default(), &rules, alice).is_empty());
        let muted = NewSimplePushRule::new(room_id!("!muted:a.org").to_owned(), vec![]);
        rules.insert(NewPushRule::Room(muted), None, None).unwrap();
        assert_eq!(of(Push::default(), &rules, alice), ["!muted:a.org"]);
        rules.set_actions(RuleKind::Underride, ".m.rule.call", vec![Action::Notify]).unwrap();
        assert_eq!(
            of(Push::default(), &rules, alice),
            ["!muted:a.org"],
            "only the sound is another one"
        );
        rules.set_enabled(RuleKind::Override, ".m.rule.master", true).unwrap();
        assert_eq!(of(Push::default(), &rules, alice), [EVERYWHERE]);
    }
}
