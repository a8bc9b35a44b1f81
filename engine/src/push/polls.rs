//! The predefined rules for polls, which no version of the specification has yet. Clients that show
//! polls look for these names and conditions; `ruma` has the same rules with another condition.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/3930>

use ruma::{
    push::{
        Action, ConditionalPushRule, ConditionalPushRuleInit, EventMatchConditionData,
        PushCondition, RoomMemberCountConditionData, RoomMemberCountIs, Ruleset, SoundTweakValue,
        Tweak,
    },
    uint,
};

/// Adds the rules after the other predefined ones.
pub(super) fn add(rules: &mut Ruleset) {
    let quiet = rule("poll_response", vec![is("response")], vec![]);
    rules.override_.insert(quiet);
    let sound = || Action::SetTweak(Tweak::Sound(SoundTweakValue::Default));
    for what in ["start", "end"] {
        let alone = rule(
            &format!("poll_{what}_one_to_one"),
            vec![between_two(), is(what)],
            vec![Action::Notify, sound()],
        );
        rules.underride.insert(alone);
        let anywhere = rule(&format!("poll_{what}"), vec![is(what)], vec![Action::Notify]);
        rules.underride.insert(anywhere);
    }
}

fn rule(name: &str, conditions: Vec<PushCondition>, actions: Vec<Action>) -> ConditionalPushRule {
    let rule_id = format!(".org.matrix.msc3930.rule.{name}");
    ConditionalPushRuleInit { actions, default: true, enabled: true, rule_id, conditions }.into()
}

fn is(what: &str) -> PushCondition {
    let kind = format!("org.matrix.msc3381.poll.{what}");
    PushCondition::EventMatch(EventMatchConditionData::new("type".to_owned(), kind))
}

fn between_two() -> PushCondition {
    let two = RoomMemberCountIs::from(uint!(2));
    PushCondition::RoomMemberCount(RoomMemberCountConditionData::new(two))
}
