//! What a client asks of sliding sync, whichever form of the request it uses.

use std::{collections::BTreeMap, time::Duration};

use super::required::RoomConfig;
use crate::reading::pos::Pos;

/// How many events of a room are sent at most.
pub const LARGEST_TIMELINE: usize = 100;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Where the connection is; `None`: it begins.
    pub pos: Option<Pos>,
    /// The client's name for the connection.
    pub conn_id: String,
    /// How long to wait for news.
    pub timeout: Duration,
    /// Windows into the user's rooms, by the client's names for them.
    pub lists: BTreeMap<String, List>,
    /// Rooms that are wanted whatever the lists show.
    pub subscriptions: BTreeMap<String, RoomConfig>,
    /// Whether it is wanted how much is unread.
    pub counts: bool,
    /// What is wanted beside rooms.
    pub extensions: Extensions,
}

/// A window into the user's rooms, the most active first.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The first and last place of each stretch that is wanted; none: all places.
    pub ranges: Vec<(u64, u64)>,
    /// What is wanted of the rooms there.
    pub config: RoomConfig,
    /// Which rooms have a place.
    pub filters: Filters,
}

/// Which rooms a list is of: those that meet all conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Whether the user's account data, or an invite, calls them direct chats.
    pub is_dm: Option<bool>,
    /// Whether they are encrypted.
    pub is_encrypted: Option<bool>,
    /// Whether the user is invited to them.
    pub is_invited: Option<bool>,
    /// One of these types; `None` in it stands for rooms without a type.
    pub room_types: Option<Vec<Option<String>>>,
    /// None of these types.
    pub not_room_types: Vec<Option<String>>,
    /// Listed by one of these spaces, of which the user is a member.
    pub spaces: Option<Vec<String>>,
    /// One of these tags.
    pub tags: Option<Vec<String>>,
    /// None of these tags.
    pub not_tags: Vec<String>,
}

/// What is wanted beside rooms.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    /// Messages to the device (MSC3885).
    pub to_device: Option<ToDevice>,
    /// News of keys (MSC3884).
    pub e2ee: bool,
    /// Account data (MSC3959).
    pub account_data: Option<Scope>,
    /// Receipts (MSC3960).
    pub receipts: Option<Scope>,
    /// Typing (MSC3961).
    pub typing: Option<Scope>,
    /// How many changes of followed threads are wanted (MSC4308).
    pub thread_subscriptions: Option<u64>,
}

/// Messages to the device.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToDevice {
    /// Up to where the device has them.
    pub since: Option<i64>,
    /// How many at most.
    pub limit: Option<u64>,
}

/// In which of the rooms of the request something is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Those of these lists; `None`: of all.
    pub lists: Option<Vec<String>>,
    /// These of the rooms that are subscribed to; `None`: all.
    pub rooms: Option<Vec<String>>,
}

impl Scope {
    /// Whether a room is in it, given the lists that show the room, and whether it is subscribed to.
    #[must_use]
    pub fn holds(&self, room_id: &str, lists: &[String], subscribed: bool) -> bool {
        let names = |wanted: &Option<Vec<String>>, name: &str| {
            let is_it = |wanted: &String| wanted == name || wanted == "*";
            wanted.as_ref().is_none_or(|wanted| wanted.iter().any(is_it))
        };
        lists.iter().any(|list| names(&self.lists, list))
            || (subscribed && names(&self.rooms, room_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_names_lists_and_subscriptions() {
        let some = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        let list = ["a".to_owned()];
        for (lists, rooms, in_list, subscribed, wanted) in [
            (None, None, true, false, true),
            (None, None, false, true, true),
            (None, None, false, false, false),
            (some(&["b"]), None, true, false, false),
            (some(&["a", "b"]), some(&[]), true, true, true),
            (some(&[]), some(&["!r"]), true, true, true),
            (some(&[]), some(&["!r"]), true, false, false),
            (some(&[]), some(&["!s"]), true, true, false),
            (some(&[]), some(&["*"]), false, true, true),
            (some(&["*"]), some(&[]), true, false, true),
        ] {
            let scope = Scope { lists, rooms };
            let shown: &[String] = if in_list { &list } else { &[] };
            assert_eq!(scope.holds("!r", shown, subscribed), wanted, "{scope:?}");
        }
    }
}
