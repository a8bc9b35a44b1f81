//! Who may see an event. Pure: the state at the event in, a decision out.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility>

use ruma::events::{
    StateEventType, TimelineEventType,
    room::{history_visibility::HistoryVisibility, member::MembershipState},
};

use crate::{events::Pdu, state::StateKey};

/// What decides whether a user may see an event: the state of the room on one side of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The visibility of history there.
    pub visibility: HistoryVisibility,
    /// The user's membership there.
    pub membership: MembershipState,
}

/// The keys of the state before an event that its visibility to a user depends on.
#[must_use]
pub fn state_keys(user_id: &ruma::UserId) -> [StateKey; 2] {
    [
        (StateEventType::RoomHistoryVisibility, String::new()),
        (StateEventType::RoomMember, user_id.to_string()),
    ]
}

impl View {
    /// Reads a view off the two state events that [`state_keys`] names.
    #[must_use]
    pub fn new(visibility: Option<&Pdu>, member: Option<&Pdu>) -> Self {
        Self { visibility: visibility_of(visibility), membership: membership_of(member) }
    }

    /// The view after an event, if the event changes it: one that sets the visibility, or the
    /// user's own membership.
    #[must_use]
    pub fn after(&self, event: &Pdu, user_id: &ruma::UserId) -> Option<Self> {
        let state_key = event.state_key.as_deref()?;
        match event.kind {
            TimelineEventType::RoomHistoryVisibility if state_key.is_empty() => {
                Some(Self { visibility: visibility_of(Some(event)), ..self.clone() })
            }
            TimelineEventType::RoomMember if state_key == user_id.as_str() => {
                Some(Self { membership: membership_of(Some(event)), ..self.clone() })
            }
            _ => None,
        }
    }

    /// The rules in their order. `joined_later`: the user joined at some point after the event.
    #[must_use]
    pub fn allows(&self, joined_later: bool) -> bool {
        let shared =
            matches!(self.visibility, HistoryVisibility::Shared | HistoryVisibility::WorldReadable);
        match self.membership {
            _ if self.visibility == HistoryVisibility::WorldReadable => true,
            MembershipState::Join => true,
            _ if shared && joined_later => true,
            MembershipState::Invite => self.visibility == HistoryVisibility::Invited,
            _ => false,
        }
    }
}

/// Whether a user may see an event, given the state before it.
///
/// For events that set the visibility, and for the user's own membership events, it is enough that
/// the state before *or* after the event allows it. For those, `after` is given.
#[must_use]
pub fn may_see(before: &View, after: Option<&View>, joined_later: bool) -> bool {
    before.allows(joined_later) || after.is_some_and(|after| after.allows(joined_later))
}

/// Whether a server may see an event, by what its users were at the event.
///
/// A server that is in the room is given what any of its users could be given now or later, so
/// `shared` history is open to it.
#[must_use]
pub fn server_may_see(
    visibility: &HistoryVisibility,
    memberships: impl IntoIterator<Item = MembershipState>,
) -> bool {
    match visibility {
        HistoryVisibility::Invited => memberships
            .into_iter()
            .any(|it| matches!(it, MembershipState::Join | MembershipState::Invite)),
        HistoryVisibility::Joined => memberships.into_iter().any(|it| it == MembershipState::Join),
        _ => true,
    }
}

/// The visibility that a state event sets; `shared` when there is none or it is not understood.
#[must_use]
pub fn visibility_of(event: Option<&Pdu>) -> HistoryVisibility {
    let value = event.and_then(|event| event.content_str("history_visibility"));
    match value.as_deref() {
        Some("world_readable") => HistoryVisibility::WorldReadable,
        Some("invited") => HistoryVisibility::Invited,
        Some("joined") => HistoryVisibility::Joined,
        _ => HistoryVisibility::Shared,
    }
}

/// The membership that a member event gives; `leave` when there is none.
#[must_use]
pub fn membership_of(event: Option<&Pdu>) -> MembershipState {
    let value = event.and_then(|event| event.content_str("membership"));
    value.map_or(MembershipState::Leave, MembershipState::from)
}

#[cfg(test)]
mod tests {
    use HistoryVisibility::{Invited, Joined, Shared, WorldReadable};
    use MembershipState::{Ban, Invite, Join, Knock, Leave};

    use super::*;

    #[test]
    fn the_rules_in_a_table() {
        let members = [Join, Invite, Knock, Leave, Ban];
        for (visibility, now, later) in [
            (WorldReadable, [true; 5], [true; 5]),
            (Shared, [true, false, false, false, false], [true; 5]),
            (Invited, [true, true, false, false, false], [true, true, false, false, false]),
            (Joined, [true, false, false, false, false], [true, false, false, false, false]),
        ] {
            for (membership, (now, later)) in members.iter().zip(now.into_iter().zip(later)) {
                let view = View { visibility: visibility.clone(), membership: membership.clone() };
                assert_eq!(view.allows(false), now, "{view:?}");
                assert_eq!(view.allows(true), later, "{view:?}, joined later");
            }
        }
    }

    #[test]
    fn one_side_of_an_event_is_enough() {
        let view = |visibility, membership| View { visibility, membership };
        let outside = view(Joined, Leave);
        assert!(may_see(&outside, Some(&view(Joined, Join)), false), "the own join");
        assert!(may_see(&view(Joined, Join), Some(&outside), false), "the own leave");
        assert!(may_see(&outside, Some(&view(WorldReadable, Leave)), false));
        assert!(may_see(&view(WorldReadable, Leave), Some(&outside), false));
        assert!(!may_see(&outside, Some(&view(Joined, Ban)), false));
        assert!(!may_see(&outside, None, true));
    }

    #[test]
    fn servers_see_what_their_users_might() {
        assert!(server_may_see(&Shared, []));
        assert!(!server_may_see(&Invited, [Leave]));
        assert!(server_may_see(&Invited, [Leave, Invite]));
        assert!(!server_may_see(&Joined, [Invite]));
        assert!(server_may_see(&Joined, [Join]));
    }
}
