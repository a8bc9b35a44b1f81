//! What push rules say about an event. Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#push-rules>

use futures_util::FutureExt as _;
use ruma::{
    OwnedRoomId, OwnedUserId, UInt,
    push::{Action, FlattenedJson, PushConditionPowerLevelsCtx, PushConditionRoomCtx, Ruleset},
    serde::Raw,
};
use serde_json::Value;

use crate::events::{Pdu, client};

/// An event that is laid before rules.
#[derive(Debug)]
pub struct Subject {
    event: FlattenedJson,
    room_id: OwnedRoomId,
    joined_members: UInt,
    power_levels: Option<PushConditionPowerLevelsCtx>,
}

/// What an event does to somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// It notifies.
    pub notify: bool,
    /// It is of special interest; only what notifies is.
    pub highlight: bool,
}

/// Whose rules are asked.
#[derive(Clone, Debug)]
pub struct Listener<'a> {
    /// The user.
    pub user_id: OwnedUserId,
    /// Their name in the room.
    pub display_name: String,
    /// Their rules.
    pub rules: &'a Ruleset,
    /// Whether they follow the thread that the event says it belongs to.
    pub follows: bool,
}

impl Subject {
    /// An event in a room of so many members. Without power levels nobody has the power to notify
    /// the room. `None`: rules cannot read the event, which notifies nobody.
    #[must_use]
    pub fn new(
        pdu: &Pdu,
        joined_members: i64,
        power_levels: Option<PushConditionPowerLevelsCtx>,
    ) -> Option<Self> {
        // Rooms of old versions may hold numbers that no type here can; reading them as below would
        // panic.
        serde_json::from_str::<Value>(pdu.content.get()).ok()?;
        Some(Self {
            event: FlattenedJson::from_raw(&Raw::<()>::from_json(client::to_rules(pdu).ok()?)),
            room_id: pdu.room_id.clone(),
            joined_members: UInt::try_from(joined_members).unwrap_or_default(),
            power_levels,
        })
    }

    /// The actions of the first of somebody's rules that matches; none for what they sent.
    #[must_use]
    pub fn actions<'a>(&self, listener: &Listener<'a>) -> &'a [Action] {
        let context = PushConditionRoomCtx::new(
            self.room_id.clone(),
            self.joined_members,
            listener.user_id.clone(),
            listener.display_name.clone(),
        );
        let context = match &self.power_levels {
            Some(levels) => context.with_power_levels(levels.clone()),
            None => context,
        };
        let follows = listener.follows;
        let context =
            context.with_has_thread_subscription_fn(move |_| Box::pin(std::future::ready(follows)));
        // The conditions that are in use here wait for nothing.
        let applies = |rule: &ruma::push::AnyPushRuleRef<'_>| {
            rule.applies(&self.event, &context).now_or_never().unwrap_or(false)
        };
        listener.rules.iter().find(applies).map_or(&[], |rule| rule.actions())
    }

    /// What the event does to somebody.
    #[must_use]
    pub fn outcome(&self, listener: &Listener<'_>) -> Outcome {
        Outcome::of(self.actions(listener))
    }
}

impl Outcome {
    /// What actions come to.
    #[must_use]
    pub fn of(actions: &[Action]) -> Self {
        let notify = actions.iter().any(Action::should_notify);
        Self { notify, highlight: notify && actions.iter().any(Action::is_highlight) }
    }

    /// Whether it does anything.
    #[must_use]
    pub fn is_something(self) -> bool {
        self.notify
    }
}

#[cfg(test)]
mod tests {
    use ruma::{RoomVersionId, push::RuleKind, user_id};
    use serde_json::json;

    use super::*;
    use crate::{
        config::Push,
        push::rules,
        rooms::testing::{Draft, Room, draft},
    };

    fn said(kind: &str, content: Value) -> std::sync::Arc<Pdu> {
        let mut room = Room::new(&RoomVersionId::V11);
        room.make(Draft { state_key: None, ..draft(kind, "@alice:a.org", "", content) })
    }

    fn outcome(pdu: &Pdu, user: &str, rules: &Ruleset) -> (bool, bool) {
        heard(pdu, user, rules, false)
    }

    fn heard(pdu: &Pdu, user: &str, rules: &Ruleset, follows: bool) -> (bool, bool) {
        let (user_id, display_name) = (user.try_into().unwrap(), "Bobby".to_owned());
        let listener = Listener { user_id, display_name, rules, follows };
        let outcome = Subject::new(pdu, 3, None).unwrap().outcome(&listener);
        (outcome.notify, outcome.highlight)
    }

    #[test]
    fn the_predefined_rules() {
        let bob = user_id!("@bob:a.org");
        let push = Push::default();
        let (rules, everybody) = (rules::default_of(push, bob), rules::of_everybody(push));
        let text = |content: Value| said("m.room.message", content);
        let mention = json!({ "user_ids": [bob] });
        let edit = json!({ "rel_type": "m.replace", "event_id": "$e" });
        for (pdu, to_bob, to_all) in [
            (text(json!({ "msgtype": "m.text", "body": "x" })), (true, false), (true, false)),
            (text(json!({ "msgtype": "m.notice", "body": "x" })), (false, false), (false, false)),
            (text(json!({ "m.mentions": mention })), (true, true), (true, false)),
            (text(json!({ "m.relates_to": edit })), (false, false), (false, false)),
            (said("m.reaction", json!({})), (false, false), (false, false)),
            (said("org.example", json!({ "m.mentions": mention })), (true, true), (false, false)),
            (said("m.room.encrypted", json!({})), (true, false), (true, false)),
            (said("m.call.invite", json!({})), (true, false), (true, false)),
            (said("org.example", json!({})), (false, false), (false, false)),
            (said("org.matrix.msc3381.poll.start", json!({})), (true, false), (true, false)),
            (said("org.matrix.msc3381.poll.end", json!({})), (true, false), (true, false)),
            (said("org.matrix.msc3381.poll.response", json!({})), (false, false), (false, false)),
        ] {
            assert_eq!(outcome(&pdu, "@bob:a.org", &rules), to_bob, "{}", pdu.json);
            assert_eq!(outcome(&pdu, "@:localhost", &everybody), to_all, "{}", pdu.json);
            assert_eq!(outcome(&pdu, "@alice:a.org", &rules), (false, false), "{}", pdu.json);
        }
    }

    #[test]
    fn a_thread_is_heard_by_those_who_follow_it() {
        let bob = user_id!("@bob:a.org");
        let text = |content: Value| said("m.room.message", content);
        let thread = json!({ "rel_type": "m.thread", "event_id": "$root" });
        let (quiet, aloud) = (json!({ "m.relates_to": thread }), json!({ "user_ids": [bob] }));
        let aloud = json!({ "m.relates_to": thread, "m.mentions": aloud });
        for (follow_threads, pdu, to_others, to_followers) in [
            (false, text(quiet.clone()), (true, false), (true, false)),
            (true, text(quiet), (false, false), (true, false)),
            (true, text(aloud), (true, true), (true, true)),
            (true, text(json!({})), (true, false), (true, false)),
        ] {
            let rules = rules::default_of(Push { follow_threads, ..Push::default() }, bob);
            for (follows, outcome) in [(false, to_others), (true, to_followers)] {
                assert_eq!(heard(&pdu, "@bob:a.org", &rules, follows), outcome, "{}", pdu.json);
            }
        }
    }

    /// The bound is far above what it takes, and far below what a search through all ways takes.
    #[test]
    fn patterns_are_matched_in_bounded_time() {
        let bob = user_id!("@bob:a.org");
        for (pattern, body) in [
            ("*a".repeat(50) + "b", "a".repeat(60_000)),
            ("*?".repeat(100) + "b", "a".repeat(60_000)),
            ("a*".repeat(250), "ab".repeat(30_000) + "c"),
            ("*".repeat(500), "x".repeat(60_000)),
            ("(a+)+$".to_owned(), "a".repeat(60_000)),
        ] {
            let rule = json!({ "rule_id": "x", "default": false, "enabled": true,
                               "actions": ["notify"], "pattern": pattern });
            let stored = json!({ "global": { "content": [rule] } }).to_string();
            let rules = rules::parse(Push::default(), bob, &stored).unwrap();
            let pdu = said("m.room.message", json!({ "msgtype": "m.text", "body": body }));
            let begun = std::time::Instant::now();
            outcome(&pdu, "@bob:a.org", &rules);
            assert!(begun.elapsed().as_secs() < 5, "{pattern}: {:?}", begun.elapsed());
        }
    }

    #[test]
    fn rules_about_threads_are_kept_as_the_user_set_them() {
        let bob = user_id!("@bob:a.org");
        let on = Push { follow_threads: true, ..Push::default() };
        let mut rules = rules::default_of(on, bob);
        let id = ".io.element.msc4306.rule.subscribed_thread";
        rules.set_enabled(RuleKind::PostContent, id, false).unwrap();
        let stored = serde_json::to_string(&rules::Content { global: rules }).unwrap();
        let again = rules::parse(on, bob, &stored).unwrap();
        let enabled: Vec<_> = again.postcontent.iter().map(|rule| rule.enabled).collect();
        assert_eq!(enabled, [true, false]);
        assert!(rules::parse(Push::default(), bob, &stored).unwrap().postcontent.is_empty());
    }
}
