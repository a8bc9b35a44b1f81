//! Which rooms the lists of a request show. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use starling_storage::memberships::MembershipRow;

use super::{
    request::{Filters, Request},
    required::RoomConfig,
};

/// A room that may be shown, the most active first.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// What the user is in it.
    pub(super) row: MembershipRow,
    /// Where something happened in it last.
    pub(super) activity: i64,
    /// Whether lists show it; subscriptions show it anyway.
    pub(super) listed: bool,
}

/// What filters ask about rooms, as far as the request's do.
#[derive(Clone, Debug, Default)]
pub(super) struct Traits {
    /// Rooms that are called direct chats.
    pub(super) direct: HashSet<String>,
    /// Rooms that are encrypted or not, as far as that is known.
    pub(super) encrypted: HashMap<String, bool>,
    /// The types of rooms, as far as they are known.
    pub(super) types: HashMap<String, Option<String>>,
    /// The tags of rooms.
    pub(super) tags: HashMap<String, HashSet<String>>,
    /// The rooms that spaces list.
    pub(super) children: HashMap<String, HashSet<String>>,
}

/// A room that is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// The lists that show it.
    pub(super) lists: Vec<String>,
    /// Whether it is subscribed to.
    pub(super) subscribed: bool,
    /// What is wanted of it by all of them.
    pub(super) config: RoomConfig,
}

/// What the lists and subscriptions show, and how many rooms each list has.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows {
    /// The rooms.
    pub(super) rooms: BTreeMap<String, Shown>,
    /// The size of each list.
    pub(super) counts: BTreeMap<String, u64>,
}

impl Windows {
    /// What a request shows of rooms in the order of their activity.
    pub(super) fn new(request: &Request, rooms: &[Candidate], traits: &Traits) -> Self {
        let mut windows = Self::default();
        for (name, list) in &request.lists {
            let meets = |room: &&Candidate| room.listed && traits.meet(&list.filters, &room.row);
            let mut count: u64 = 0;
            for room in rooms.iter().filter(meets) {
                if is_within(&list.ranges, count) {
                    windows.show(&room.row.room_id, &list.config).lists.push(name.clone());
                }
                count += 1;
            }
            windows.counts.insert(name.clone(), count);
        }
        let known: HashSet<&str> = rooms.iter().map(|room| room.row.room_id.as_str()).collect();
        for (room_id, config) in &request.subscriptions {
            if known.contains(room_id.as_str()) {
                windows.show(room_id, config).subscribed = true;
            }
        }
        windows
    }

    fn show(&mut self, room_id: &str, config: &RoomConfig) -> &mut Shown {
        let shown = self.rooms.entry(room_id.to_owned()).or_default();
        shown.config = std::mem::take(&mut shown.config).with(config);
        shown
    }
}

fn is_within(ranges: &[(u64, u64)], place: u64) -> bool {
    ranges.is_empty() || ranges.iter().any(|(first, last)| (*first..=*last).contains(&place))
}

impl Traits {
    fn meet(&self, filters: &Filters, row: &MembershipRow) -> bool {
        let room_id = &row.room_id;
        let is = |wanted: Option<bool>, it: bool| wanted.is_none_or(|wanted| wanted == it);
        is(filters.is_dm, self.direct.contains(room_id))
            && is(filters.is_invited, row.membership == "invite")
            && self.meets_encryption(filters, room_id)
            && self.meets_type(filters, room_id)
            && self.meets_tags(filters, room_id)
            && self.meets_spaces(filters, room_id)
    }

    /// A room of which it is not known is neither.
    fn meets_encryption(&self, filters: &Filters, room_id: &str) -> bool {
        let Some(wanted) = filters.is_encrypted else { return true };
        self.encrypted.get(room_id) == Some(&wanted)
    }

    /// A room of unknown type is of none of those that are wanted, and of none of those that are not.
    fn meets_type(&self, filters: &Filters, room_id: &str) -> bool {
        let kind = self.types.get(room_id);
        let is_in = |kinds: &[Option<String>]| kind.is_some_and(|kind| kinds.contains(kind));
        filters.room_types.as_ref().is_none_or(|wanted| is_in(wanted))
            && !is_in(&filters.not_room_types)
    }

    fn meets_tags(&self, filters: &Filters, room_id: &str) -> bool {
        let tags = self.tags.get(room_id);
        let has = |tag: &String| tags.is_some_and(|tags| tags.contains(tag));
        filters.tags.as_ref().is_none_or(|wanted| wanted.iter().any(has))
            && !filters.not_tags.iter().any(has)
    }

    fn meets_spaces(&self, filters: &Filters, room_id: &str) -> bool {
        let Some(spaces) = &filters.spaces else { return true };
        let lists = |space: &String| {
            self.children.get(space).is_some_and(|children| children.contains(room_id))
        };
        spaces.iter().any(lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::sliding::request::List;

    fn room(room_id: &str, membership: &str) -> Candidate {
        let row = MembershipRow {
            room_id: room_id.to_owned(),
            membership: membership.to_owned(),
            ..MembershipRow::default()
        };
        Candidate { row, activity: 0, listed: true }
    }

    fn rooms() -> Vec<Candidate> {
        vec![room("a", "join"), room("b", "invite"), room("c", "join"), room("d", "join")]
    }

    fn listed(list: List, traits: &Traits) -> (String, u64) {
        let request =
            Request { lists: BTreeMap::from([("l".to_owned(), list)]), ..Request::default() };
        let windows = Windows::new(&request, &rooms(), traits);
        let shown: Vec<&str> = windows.rooms.keys().map(String::as_str).collect();
        (shown.join(""), windows.counts["l"])
    }

    fn filtered(filters: Filters, traits: &Traits) -> String {
        let (shown, count) = listed(List { filters, ..List::default() }, traits);
        assert_eq!(count, shown.len() as u64);
        shown
    }

    #[test]
    fn ranges_are_inclusive_and_do_not_change_the_count() {
        for (ranges, wanted) in [
            (vec![], "abcd"),
            (vec![(0, 0)], "a"),
            (vec![(1, 2)], "bc"),
            (vec![(0, 1), (1, 1), (3, 99)], "abd"),
            (vec![(4, 9)], ""),
            (vec![(2, 1)], ""),
        ] {
            let list = List { ranges: ranges.clone(), ..List::default() };
            assert_eq!(listed(list, &Traits::default()), (wanted.to_owned(), 4), "{ranges:?}");
        }
    }

    #[test]
    fn filters_choose_rooms() {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<HashSet<_>>();
        let s = ToOwned::to_owned;
        let traits = Traits {
            direct: set(&["a", "b"]),
            encrypted: HashMap::from([(s("a"), true), (s("c"), false)]),
            types: HashMap::from([(s("a"), None), (s("c"), Some(s("m.space")))]),
            tags: HashMap::from([(s("a"), set(&["m.favourite", "u.x"])), (s("d"), set(&["u.x"]))]),
            children: HashMap::from([(s("s"), set(&["a", "zz"])), (s("t"), set(&["d"]))]),
        };
        let default = Filters::default;
        let space = || Some(s("m.space"));
        for (filters, wanted) in [
            (default(), "abcd"),
            (Filters { is_dm: Some(true), ..default() }, "ab"),
            (Filters { is_dm: Some(false), ..default() }, "cd"),
            (Filters { is_invited: Some(true), ..default() }, "b"),
            (Filters { is_invited: Some(false), ..default() }, "acd"),
            (Filters { is_encrypted: Some(true), ..default() }, "a"),
            (Filters { is_encrypted: Some(false), ..default() }, "c"),
            (Filters { room_types: Some(vec![None]), ..default() }, "a"),
            (Filters { room_types: Some(vec![space(), None]), ..default() }, "ac"),
            (Filters { room_types: Some(vec![]), ..default() }, ""),
            (Filters { not_room_types: vec![space()], ..default() }, "abd"),
            (
                Filters {
                    room_types: Some(vec![space()]),
                    not_room_types: vec![space()],
                    ..default()
                },
                "",
            ),
            (Filters { tags: Some(vec![s("u.x")]), ..default() }, "ad"),
            (
                Filters {
                    tags: Some(vec![s("u.x")]),
                    not_tags: vec![s("m.favourite")],
                    ..default()
                },
                "d",
            ),
            (Filters { not_tags: vec![s("u.x")], ..default() }, "bc"),
            (Filters { spaces: Some(vec![s("s"), s("t")]), ..default() }, "ad"),
            (Filters { spaces: Some(vec![s("unknown")]), ..default() }, ""),
        ] {
            assert_eq!(filtered(filters.clone(), &traits), wanted, "{filters:?}");
        }
    }

    #[test]
    fn what_shows_a_room_adds_to_what_is_wanted_of_it() {
        let config = |timeline_limit| RoomConfig { timeline_limit, ..RoomConfig::default() };
        let list = |limit, first, last| List {
            ranges: vec![(first, last)],
            config: config(limit),
            ..List::default()
        };
        let request = Request {
            lists: BTreeMap::from([
                ("x".to_owned(), list(3, 0, 1)),
                ("y".to_owned(), list(1, 0, 0)),
            ]),
            subscriptions: BTreeMap::from([
                ("b".to_owned(), config(9)),
                ("left".to_owned(), config(2)),
                ("unknown".to_owned(), config(2)),
            ]),
            ..Request::default()
        };
        let mut rooms = rooms();
        rooms.push(Candidate { listed: false, ..room("left", "leave") });
        let windows = Windows::new(&request, &rooms, &Traits::default());
        let shown = |room_id: &str| {
            let shown = &windows.rooms[room_id];
            (shown.lists.join(""), shown.subscribed, shown.config.timeline_limit)
        };
        assert_eq!(shown("a"), ("xy".to_owned(), false, 3));
        assert_eq!(shown("b"), ("x".to_owned(), true, 9));
        assert_eq!(shown("left"), (String::new(), true, 2));
        assert!(!windows.rooms.contains_key("unknown"));
        assert_eq!(windows.counts["x"], 4);
    }
}
