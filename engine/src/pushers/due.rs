//! Where a pusher is to look for what there is to tell. Pure.

use std::collections::BTreeSet;

/// In how many single rooms it is looked; then in all.
const MOST_ROOMS: usize = 50;

/// Where to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Up to which position.
    pub(super) until: i64,
    /// In which rooms something notifies; `None`: in any.
    pub(super) rooms: Option<BTreeSet<String>>,
    /// Whether there may be an invite.
    pub(super) invites: bool,
    /// Whether the number of unread messages may have changed by anything else.
    pub(super) badge: bool,
}

impl Due {
    /// Nothing, up to there.
    fn nothing(until: i64) -> Self {
        Self { until, rooms: Some(BTreeSet::new()), ..Self::default() }
    }

    /// Everything, up to there.
    pub(super) fn everything(until: i64) -> Self {
        Self { until, rooms: None, invites: true, badge: true }
    }

    /// An event notifies in a room.
    pub(super) fn room(until: i64, room_id: &str) -> Self {
        Self { rooms: Some(BTreeSet::from([room_id.to_owned()])), ..Self::nothing(until) }
    }

    /// Something was read.
    pub(super) fn badge(until: i64) -> Self {
        Self { badge: true, ..Self::nothing(until) }
    }

    /// The user became something in a room.
    pub(super) fn membership(until: i64, room_id: &str) -> Self {
        Self { invites: true, badge: true, ..Self::room(until, room_id) }
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        let rooms = match (self.rooms, other.rooms) {
            (Some(mut rooms), Some(others)) => {
                rooms.extend(others);
                Some(rooms).filter(|rooms| rooms.len() <= MOST_ROOMS)
            }
            _ => None,
        };
        Self {
            until: self.until.max(other.until),
            rooms,
            invites: self.invites || other.invites,
            badge: self.badge || other.badge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_adds_up() {
        let due = Due::room(3, "!a").and(Due::badge(5)).and(Due::room(4, "!b"));
        let rooms = Some(BTreeSet::from(["!a".to_owned(), "!b".to_owned()]));
        assert_eq!(due, Due { until: 5, rooms, invites: false, badge: true });
        assert_eq!(due.and(Due::everything(1)), Due::everything(5));
        let many = (0..=MOST_ROOMS).map(|n| Due::room(1, &n.to_string()));
        assert_eq!(many.reduce(Due::and).unwrap().rooms, None);
    }
}
