//! Whether two servers make the same of a graph.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    known::Known,
    stage::{View, Way},
};

/// What was compared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Compared {
    /// Events that both were sent.
    pub(super) events: usize,
    /// Those that were accepted.
    pub(super) accepted: usize,
    /// Those of these that were not shown.
    pub(super) hidden: usize,
    /// States before events, and states at the end.
    pub(super) states: usize,
    /// Pieces of state in all of them.
    pub(super) pieces: usize,
    /// States before events that differ as two readings of the rules do.
    pub(super) disputed: usize,
}

/// What two servers make of a graph differently, in words. `names` says what an id stands for.
pub(super) fn differences(
    names: &BTreeMap<String, String>,
    known: &Known,
    (one, other): (&View, &View),
    way: Way,
) -> (Compared, Vec<String>) {
    let mut found = Vec::new();
    let name = |id: &String| names.get(id).unwrap_or(id).clone();
    let mut differ = |what: &str, one: &BTreeSet<String>, other: &BTreeSet<String>| {
        let only = |here: &BTreeSet<String>, there: &BTreeSet<String>| -> Vec<String> {
            here.difference(there).map(name).collect()
        };
        let (left, right) = (only(one, other), only(other, one));
        if !left.is_empty() || !right.is_empty() {
            found
                .push(format!("{what}: only Starling has {left:?}, only the oracle has {right:?}"));
        }
    };
    let told = |ids: &BTreeSet<String>| -> BTreeSet<String> {
        let told = ids.iter().filter(|id| !known.untold.contains(*id));
        told.filter(|id| !known.disputed.contains(*id)).cloned().collect()
    };
    differ("accepted", &told(&one.accepted), &told(&other.accepted));
    // What is taken in softly depends on what was there first, and on the state of the room then.
    if way == Way::InOrder && known.is_undisputed() {
        let shown = |ids| &told(ids) - &known.hidden;
        differ("shown", &shown(&one.shown), &shown(&other.shown));
    }
    let both: Vec<&String> = one.accepted.intersection(&other.accepted).collect();
    let empty = BTreeSet::new();
    let mut compared = Compared { accepted: both.len(), ..Compared::default() };
    for id in both {
        let at = |states: &BTreeMap<_, _>| states.get(id).unwrap_or(&empty).clone();
        let (left, right) = (at(&one.states), at(&other.states));
        if left != right && known.states.get(id) == Some(&(left.clone(), right.clone())) {
            compared.disputed += 1;
            continue;
        }
        differ(&format!("state before {}", name(id)), &left, &right);
        if left == right {
            let what = format!("what the state before {} rests on", name(id));
            differ(&what, &at(&one.chains), &at(&other.chains));
        }
        compared.states += 1;
        compared.pieces += left.len();
        compared.hidden += usize::from(!one.shown.contains(id));
    }
    // What comes before a rejected event stays an end of the graph for the oracle, and a part of what its state is
    // made of, if nothing ties it to the others.
    if known.disputed.is_empty() && !known.is_untied {
        found.extend(at_the_end(&name, known, &one.current, &other.current));
        compared.states += 1;
        compared.pieces += one.current.len();
    }
    (compared, found)
}

type Current = BTreeMap<(String, String), (String, Value)>;

fn at_the_end(
    name: &impl Fn(&String) -> String,
    known: &Known,
    one: &Current,
    other: &Current,
) -> Vec<String> {
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let ids = |key| (one.get(key).map(|it| it.0.clone()), other.get(key).map(|it| it.0.clone()));
    let differing = keys
        .into_iter()
        .filter(|key| one.get(*key) != other.get(*key))
        .filter(|key| known.end.get(*key) != Some(&ids(*key)))
        .filter(|key| !is_redacted_there(known, one.get(*key), other.get(*key)));
    let shown = |entry: Option<&(String, Value)>| match entry {
        Some((id, content)) => format!("{} {content}", name(id)),
        None => "nothing".to_owned(),
    };
    differing
        .map(|key| {
            let (left, right) = (shown(one.get(key)), shown(other.get(key)));
            format!("at the end {key:?} is for Starling {left}, for the oracle {right}")
        })
        .collect()
}

/// Whether the oracle has the same event, redacted, and is known to.
fn is_redacted_there(
    known: &Known,
    one: Option<&(String, Value)>,
    other: Option<&(String, Value)>,
) -> bool {
    let (Some((id, whole)), Some((other_id, rest))) = (one, other) else { return false };
    let (Some(whole), Some(rest)) = (whole.as_object(), rest.as_object()) else { return false };
    id == other_id
        && known.redacted.contains(id)
        && rest.iter().all(|(key, value)| whole.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn view() -> View {
        let states = BTreeMap::from([("$b".to_owned(), set(&["$a"]))]);
        let key = ("m.room.topic".to_owned(), String::new());
        View {
            accepted: set(&["$a", "$b"]),
            shown: set(&["$a", "$b"]),
            chains: states.clone(),
            states,
            current: BTreeMap::from([(key, ("$b".to_owned(), json!({ "topic": "x" })))]),
        }
    }

    fn found(change: impl Fn(&mut View), way: Way) -> Vec<String> {
        let names = BTreeMap::from([("$a".to_owned(), "the first".to_owned())]);
        let mut other = view();
        change(&mut other);
        let (compared, found) = differences(&names, &Known::default(), (&view(), &other), way);
        assert!(compared.states > 0);
        let (_, back) = differences(&names, &Known::default(), (&other, &view()), way);
        assert_eq!(found.len(), back.len());
        found
    }

    #[test]
    fn the_same_is_the_same() {
        assert_eq!(found(|_| (), Way::InOrder), Vec::<String>::new());
    }

    #[test]
    fn an_event_that_one_rejects_or_hides_is_found() {
        let rejected = found(|view| assert!(view.accepted.remove("$a")), Way::Shuffled);
        assert_eq!(
            rejected,
            ["accepted: only Starling has [\"the first\"], only the oracle has []"]
        );
        assert_eq!(found(|view| assert!(view.shown.remove("$a")), Way::InOrder).len(), 1);
        assert_eq!(found(|view| assert!(view.shown.remove("$a")), Way::Shuffled).len(), 0);
    }

    #[test]
    fn of_what_the_oracle_withholds_nothing_is_said() {
        let mut other = view();
        other.accepted.remove("$b");
        other.states.clear();
        let known = Known { untold: set(&["$b"]), ..Known::default() };
        let (_, found) = differences(&BTreeMap::new(), &known, (&view(), &other), Way::Shuffled);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_dispute_is_no_difference_when_both_are_as_expected() {
        let mut other = view();
        other.states.insert("$b".to_owned(), set(&["$c"]));
        let mut known = Known::default();
        known.states.insert("$b".to_owned(), (set(&["$a"]), set(&["$c"])));
        let names = BTreeMap::new();
        let (compared, found) = differences(&names, &known, (&view(), &other), Way::InOrder);
        assert_eq!((compared.disputed, found), (1, vec![]));
        let (_, found) = differences(&names, &known, (&other, &view()), Way::InOrder);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn what_the_oracle_redacts_by_what_came_softly_is_expected() {
        let (mut other, names) = (view(), BTreeMap::new());
        other.current.values_mut().for_each(|(_, content)| *content = json!({}));
        let known = Known { redacted: set(&["$b"]), ..Known::default() };
        let (_, found) = differences(&names, &known, (&view(), &other), Way::InOrder);
        assert_eq!(found, Vec::<String>::new());
        let (_, found) = differences(&names, &known, (&other, &view()), Way::InOrder);
        assert_eq!(found.len(), 1, "Starling must not");
    }

    #[test]
    fn the_end_is_compared_where_both_readings_accept_the_same() {
        let (mut other, names) = (view(), BTreeMap::new());
        other.current.clear();
        let known = Known { disputed: set(&["$x"]), ..Known::default() };
        let (compared, found) = differences(&names, &known, (&view(), &other), Way::Shuffled);
        assert_eq!((compared.states, found), (2, vec![]));
    }

    #[test]
    fn another_state_and_one_that_is_not_told_are_found() {
        let other = found(
            |view| view.states.insert("$b".into(), set(&["$c"])).map_or((), drop),
            Way::InOrder,
        );
        assert_eq!(
            other,
            ["state before $b: only Starling has [\"the first\"], only the oracle has [\"$c\"]"]
        );
        assert_eq!(found(|view| view.states.clear(), Way::InOrder).len(), 1);
        assert_eq!(found(|view| view.chains.clear(), Way::InOrder).len(), 1);
    }

    #[test]
    fn another_event_and_other_content_at_the_end_are_found() {
        let content = |view: &mut View| {
            view.current.values_mut().for_each(|(_, content)| *content = json!({}));
        };
        let id = |view: &mut View| {
            view.current.values_mut().for_each(|(id, _)| *id = "$a".to_owned());
        };
        assert_eq!(found(content, Way::InOrder).len(), 1);
        assert_eq!(found(id, Way::InOrder).len(), 1);
        assert_eq!(found(|view| view.current.clear(), Way::InOrder).len(), 1);
    }
}
