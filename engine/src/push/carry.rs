//! Push rules about a room, for the room that replaces it.

use ruma::{
    OwnedRoomId, RoomId, UserId,
    push::{
        ConditionalPushRule, ConditionalPushRuleInit, EventMatchConditionData, PushCondition,
        Ruleset, SimplePushRule, SimplePushRuleInit,
    },
};
use starling_storage::{Change, Conn};

use super::{
    change::{self, ChangeError},
    reach, rules,
};
use crate::{Internal, config::Push};

/// Adds to `change` that the rules of a user about `old` hold for `new` too.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn room_rules(
    push: Push,
    conn: &mut Conn,
    change: &mut Change,
    user: &UserId,
    old: &RoomId,
    new: &RoomId,
) -> Result<(), Internal> {
    let (mut rules, pos) = rules::read(push, conn, user).await?;
    if !extend(&mut rules, old, new) {
        return Ok(());
    }
    match change::write(push, change, user, rules, pos) {
        Ok(()) => Ok(()),
        Err(ChangeError::Internal(error)) => Err(error),
        Err(error) => {
            tracing::info!(%error, user.id = %user, "Push rules do not follow a room");
            Ok(())
        }
    }
}

/// Adds rules; `false` when there are none to be added.
fn extend(rules: &mut Ruleset, old: &RoomId, new: &RoomId) -> bool {
    let mut extended = false;
    let named = |id: &RoomId, rules: &Ruleset| {
        rules.room.iter().find(|rule| rule.rule_id == id).map(|rule| (rule.enabled, rule.clone()))
    };
    if let (Some((enabled, rule)), None) = (named(old, rules), named(new, rules)) {
        rules.room.insert(simple(rule, new.to_owned(), enabled));
        extended = true;
    }
    for kind in [&mut rules.override_, &mut rules.postcontent, &mut rules.underride] {
        let about_old = |rule: &&ConditionalPushRule| {
            !rule.default && reach::of_conditions(rule) == Some(old.as_str())
        };
        let copies: Vec<_> =
            kind.iter().filter(about_old).map(|rule| conditional(rule, old, new)).collect();
        for copy in copies {
            if kind.iter().all(|rule| rule.rule_id != copy.rule_id) {
                // Beside the others of the user: after the rule that turns everything off.
                let place = kind.iter().take_while(|rule| rule.rule_id == ".m.rule.master").count();
                kind.shift_insert(place, copy);
                extended = true;
            }
        }
    }
    extended
}

fn simple(
    rule: SimplePushRule<OwnedRoomId>,
    rule_id: OwnedRoomId,
    enabled: bool,
) -> SimplePushRule<OwnedRoomId> {
    SimplePushRuleInit { actions: rule.actions, default: false, enabled, rule_id }.into()
}

fn conditional(rule: &ConditionalPushRule, old: &RoomId, new: &RoomId) -> ConditionalPushRule {
    let condition = |condition: &PushCondition| match condition {
        PushCondition::EventMatch(data) if data.key == "room_id" && data.pattern == *old => {
            let (key, pattern) = (data.key.clone(), new.to_string());
            PushCondition::EventMatch(EventMatchConditionData::new(key, pattern))
        }
        other => other.clone(),
    };
    let rule_id = match rule.rule_id.contains(old.as_str()) {
        true => rule.rule_id.replace(old.as_str(), new.as_str()),
        false => format!("{} {new}", rule.rule_id),
    };
    ConditionalPushRuleInit {
        actions: rule.actions.clone(),
        default: false,
        enabled: rule.enabled,
        rule_id,
        conditions: rule.conditions.iter().map(condition).collect(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    #[test]
    fn rules_about_a_room_hold_for_its_successor() {
        let (old, new) = (room_id!("!old:x.org"), room_id!("!new:x.org"));
        let mut rules = rules::default_of(Push::default(), user_id!("@alice:x.org"));
        assert!(!extend(&mut rules, old, new));
        let rule = SimplePushRuleInit {
            actions: vec![],
            default: false,
            enabled: true,
            rule_id: old.to_owned(),
        };
        rules.room.insert(rule.into());
        let data = EventMatchConditionData::new("room_id".to_owned(), old.to_string());
        let rule = ConditionalPushRuleInit {
            actions: vec![],
            default: false,
            enabled: false,
            rule_id: old.to_string(),
            conditions: vec![PushCondition::EventMatch(data)],
        };
        rules.override_.insert(rule.into());
        assert!(extend(&mut rules, old, new));
        assert!(rules.room.iter().any(|rule| rule.rule_id == new));
        let muted = rules.override_.iter().find(|rule| rule.rule_id == *new).unwrap();
        assert_eq!((reach::of_conditions(muted), muted.enabled), (Some(new.as_str()), false));
        assert!(!extend(&mut rules, old, new), "once is enough");
    }
}
