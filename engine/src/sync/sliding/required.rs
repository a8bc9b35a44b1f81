//! What is wanted of a room: how much of its timeline, and which of its state. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The type of the events that lazy loading is about.
const MEMBER: &str = "m.room.member";

/// What is wanted of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct RoomConfig {
    /// How many events of the timeline.
    pub timeline_limit: usize,
    /// State that meets one of these.
    pub required_state: BTreeSet<RequiredState>,
}

/// Which state is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct RequiredState {
    /// What is wanted.
    pub include: BTreeSet<Pattern>,
    /// What of that is not.
    pub exclude: BTreeSet<Pattern>,
    /// Whether of members only those are wanted that other events need, and those who are named.
    pub lazy_members: bool,
}

/// Some places in a room's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Pattern {
    /// The type; `None`: any.
    pub kind: Option<String>,
    /// The state key; `None`: any.
    pub state_key: Option<String>,
}

impl Pattern {
    /// Whether it is a pattern for that place.
    #[must_use]
    pub fn matches(&self, kind: &str, state_key: &str) -> bool {
        self.kind.as_ref().is_none_or(|wanted| wanted == kind)
            && self.state_key.as_ref().is_none_or(|wanted| wanted == state_key)
    }

    fn is_of_all_members(&self) -> bool {
        self.state_key.is_none() && self.kind.as_ref().is_none_or(|kind| kind == MEMBER)
    }
}

impl RequiredState {
    /// Whether what stands at a place is wanted, whatever other events need.
    #[must_use]
    pub fn wants(&self, kind: &str, state_key: &str) -> bool {
        let lazily = self.lazy_members && kind == MEMBER;
        let is_wanted = |pattern: &&Pattern| {
            pattern.matches(kind, state_key) && !(lazily && pattern.state_key.is_none())
        };
        self.include.iter().any(|pattern| is_wanted(&pattern))
            && !self.exclude.iter().any(|pattern| pattern.matches(kind, state_key))
    }

    fn wants_all_members(&self) -> bool {
        let excludes_some =
            |pattern: &Pattern| pattern.kind.as_ref().is_none_or(|kind| kind == MEMBER);
        !self.lazy_members
            && self.include.iter().any(Pattern::is_of_all_members)
            && !self.exclude.iter().any(excludes_some)
    }
}

/// How the wanted state is found without reading all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// All state has to be looked at.
    pub all: bool,
    /// Places that are named.
    pub keys: BTreeSet<(String, String)>,
    /// Types of which all state keys are wanted.
    pub kinds: BTreeSet<String>,
}

impl RoomConfig {
    /// What is wanted by this or by another.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        self.timeline_limit = self.timeline_limit.max(other.timeline_limit);
        self.required_state.extend(other.required_state.iter().cloned());
        self
    }

    /// Whether what stands at a place is wanted, whatever other events need.
    #[must_use]
    pub fn wants(&self, kind: &str, state_key: &str) -> bool {
        self.required_state.iter().any(|required| required.wants(kind, state_key))
    }

    /// Whether of members only those are wanted that other events need, and those who are named.
    #[must_use]
    pub fn is_lazy(&self) -> bool {
        self.required_state.iter().any(|required| required.lazy_members)
            && !self.wants_all_members()
    }

    /// Whether all members are wanted.
    #[must_use]
    pub fn wants_all_members(&self) -> bool {
        self.required_state.iter().any(RequiredState::wants_all_members)
    }

    /// Where the wanted state stands.
    #[must_use]
    pub fn places(&self) -> Places {
        let mut places = Places::default();
        for required in &self.required_state {
            for Pattern { kind, state_key } in &required.include {
                match (kind.clone(), state_key.clone()) {
                    (Some(kind), Some(key)) => {
                        places.keys.insert((kind, key));
                    }
                    (Some(kind), None) if kind == MEMBER && required.lazy_members => {}
                    (Some(kind), None) => {
                        places.kinds.insert(kind);
                    }
                    (None, _) => places.all = true,
                }
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(kind: &str, state_key: &str) -> Pattern {
        let part = |text: &str| (text != "*").then(|| text.to_owned());
        Pattern { kind: part(kind), state_key: part(state_key) }
    }

    fn required(
        include: &[(&str, &str)],
        exclude: &[(&str, &str)],
        lazy_members: bool,
    ) -> RequiredState {
        let patterns = |all: &[(&str, &str)]| all.iter().map(|(a, b)| pattern(a, b)).collect();
        RequiredState { include: patterns(include), exclude: patterns(exclude), lazy_members }
    }

    fn config(timeline_limit: usize, all: &[RequiredState]) -> RoomConfig {
        RoomConfig { timeline_limit, required_state: all.iter().cloned().collect() }
    }

    #[test]
    fn places_are_included_and_excluded() {
        let all = required(&[("*", "*")], &[("m.room.create", "")], false);
        assert!(all.wants("m.room.topic", "") && all.wants(MEMBER, "@a:x"));
        assert!(!all.wants("m.room.create", "") && all.wants("m.room.create", "x"));
        let own = required(&[("*", "@a:x"), ("m.room.name", "")], &[], false);
        assert!(
            own.wants(MEMBER, "@a:x") && own.wants("x.y", "@a:x") && own.wants("m.room.name", "")
        );
        assert!(!own.wants(MEMBER, "@b:x") && !own.wants("m.room.name", "x"));
    }

    #[test]
    fn lazily_only_those_members_are_wanted_who_are_named() {
        let lazy = required(&[("*", "*"), (MEMBER, "@a:x")], &[], true);
        assert!(lazy.wants("m.room.topic", "") && lazy.wants(MEMBER, "@a:x"));
        assert!(!lazy.wants(MEMBER, "@b:x"));
        assert!(config(1, std::slice::from_ref(&lazy)).is_lazy());
        let all = required(&[(MEMBER, "*")], &[], false);
        assert!(!config(1, &[lazy.clone(), all]).is_lazy(), "all members are wanted anyway");
        let but_one = required(&[("*", "*")], &[(MEMBER, "@b:x")], false);
        assert!(config(1, &[lazy, but_one]).is_lazy());
    }

    #[test]
    fn together_they_want_what_either_wants() {
        let a = config(5, &[required(&[("*", "*")], &[("m.room.name", "")], false)]);
        let b = config(9, &[required(&[("m.room.name", "")], &[("m.room.topic", "")], false)]);
        let both = a.clone().with(&b);
        assert_eq!(both.timeline_limit, 9);
        for place in [("m.room.name", ""), ("m.room.topic", ""), ("x", "y")] {
            assert!(both.wants(place.0, place.1), "{place:?}");
        }
        assert_eq!(both, b.with(&a));
        assert_eq!(both.clone().with(&both), both);
    }

    #[test]
    fn named_places_need_no_look_at_all_state() {
        let some = config(1, &[required(&[("a", "1"), ("b", "*"), (MEMBER, "*")], &[], true)]);
        let places = some.places();
        assert!(!places.all);
        assert_eq!(places.keys, BTreeSet::from([("a".to_owned(), "1".to_owned())]));
        assert_eq!(places.kinds, BTreeSet::from(["b".to_owned()]));
        assert!(config(1, &[required(&[("*", "1")], &[], false)]).places().all);
    }
}
