//! State that belongs to a user, in the room versions that try it out: a state key may be a user ID with
//! a suffix, and who has more power than its owner may set it too. Pure.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/3757>

use std::{borrow::Cow, sync::Arc};

use ruma::{
    OwnedUserId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};

use super::{
    authorize::Denied,
    batch::State,
    power::{self, Powers},
    versions,
};
use crate::{events::Pdu, state::StateKey};

/// What stands before a state key that other rules are not to take for a user ID.
const HIDDEN: char = '\0';

/// Whether a room has owned state, by its create event.
#[must_use]
pub fn holds(create: &Pdu) -> bool {
    let version = create.content_str("room_version");
    version.is_some_and(|version| versions::UNSTABLE.contains(&version.as_str()))
}

/// Whether the rule about state keys that are user IDs is about an event: it stands behind the rules
/// that say all there is to say of these types.
fn is_about(pdu: &Pdu) -> bool {
    let said = [
        TimelineEventType::RoomCreate,
        TimelineEventType::RoomMember,
        TimelineEventType::RoomThirdPartyInvite,
    ];
    pdu.state_key.as_deref().is_some_and(|key| key.starts_with('@')) && !said.contains(&pdu.kind)
}

/// The user to whom a state key belongs; `None` when it begins with no user ID.
fn owner(state_key: &str) -> Option<OwnedUserId> {
    let (localpart, rest) = state_key.split_once(':')?;
    let server = rest.split_once('_').map_or(rest, |(server, _)| server);
    UserId::parse(format!("{localpart}:{server}")).ok()
}

/// Checks the form of an event's state key in a room of this state.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_form(
    pdu: &Pdu,
    state: impl Fn(&StateEventType, &str) -> Option<Arc<Pdu>>,
) -> Result<(), String> {
    let create = state(&StateEventType::RoomCreate, "");
    if !is_about(pdu) || !create.is_some_and(|create| holds(&create)) {
        return Ok(());
    }
    match pdu.state_key.as_deref().and_then(owner) {
        Some(_) => Ok(()),
        None => Err("the state key is neither a user ID nor one that `_` follows".to_owned()),
    }
}

/// Checks an event by the rule about owned state, where that holds. What passes is given back as an event
/// that the sender sets under their own name, for the other rules.
///
/// # Errors
///
/// [`Denied::Event`] for a state key of no user, [`Denied::State`] for that of one with as much power.
pub fn check<'a>(
    pdu: &'a Pdu,
    rules: &RoomVersionRules,
    state: impl Fn(&StateEventType, &str) -> Option<Arc<Pdu>>,
) -> Result<Cow<'a, Pdu>, Denied> {
    let create = state(&StateEventType::RoomCreate, "");
    if !is_about(pdu) || !create.is_some_and(|create| holds(&create)) {
        return Ok(Cow::Borrowed(pdu));
    }
    check_form(pdu, &state).map_err(Denied::Event)?;
    let of_power = power::state_keys().map(|key| Some((key.clone(), state(&key.0, &key.1)?)));
    if !may_set(pdu, &of_power.into_iter().flatten().collect(), rules) {
        return Err(Denied::State("the state is another user's, of as much power".to_owned()));
    }
    let state_key = Some(pdu.sender.to_string());
    Ok(Cow::Owned(Pdu { state_key, ..pdu.clone() }))
}

/// Whether the sender of an event is the owner of its state key or has more power, in a state that knows
/// the keys of [`power::state_keys`].
#[must_use]
pub fn may_set(pdu: &Pdu, state: &State, rules: &RoomVersionRules) -> bool {
    if !is_about(pdu) {
        return true;
    }
    let Some(owner) = pdu.state_key.as_deref().and_then(owner) else { return false };
    let powers = Powers::new(state, &rules.authorization);
    owner == pdu.sender || powers.of(&pdu.sender) > powers.of(&owner)
}

/// The key under which resolution knows what stands at a key: one that it does not take for a user ID.
#[must_use]
pub fn hidden(key: StateKey) -> StateKey {
    match key {
        (kind, state_key) if kind != StateEventType::RoomMember && state_key.starts_with('@') => {
            (kind, format!("{HIDDEN}{state_key}"))
        }
        key => key,
    }
}

/// The event under such a key.
#[must_use]
pub fn hidden_event(pdu: &Arc<Pdu>) -> Arc<Pdu> {
    match is_about(pdu) {
        true => {
            let state_key = pdu.state_key.as_deref().map(|key| format!("{HIDDEN}{key}"));
            Arc::new(Pdu { state_key, ..Pdu::clone(pdu) })
        }
        false => pdu.clone(),
    }
}

/// The key that was [`hidden`].
#[must_use]
pub fn shown((kind, state_key): StateKey) -> StateKey {
    match state_key.strip_prefix(HIDDEN) {
        Some(shown) if shown.starts_with('@') => (kind, shown.to_owned()),
        _ => (kind, state_key),
    }
}

#[cfg(test)]
mod tests {
    use ruma::RoomVersionId;
    use serde_json::json;

    use super::{
        super::testing::{Room, draft, membership},
        *,
    };

    const ALICE: &str = "@alice:a.org";
    const BOB: &str = "@bob:b.org";
    const CAROL: &str = "@carol:c.org";

    fn room(version: &str) -> Room {
        let mut room = Room::new(&RoomVersionId::try_from(version).unwrap());
        let levels = json!({ "users": { ALICE: 100 }, "state_default": 0 });
        room.send(draft("m.room.power_levels", ALICE, "", levels));
        room.send(membership(BOB, BOB, "join"));
        room.send(membership(CAROL, CAROL, "join"));
        room
    }

    #[test]
    fn a_state_key_belongs_to_the_user_it_begins_with() {
        for (state_key, user) in [
            (BOB, Some(BOB)),
            ("@bob:b.org_x:y@z_!#", Some(BOB)),
            ("@b_b:b.org:80_x", Some("@b_b:b.org:80")),
            ("@bob", None),
            ("@bob:b.org@x", None),
            // Old servers have such users.
            ("@x_@bob:b.org_x:y", Some("@x_@bob:b.org")),
        ] {
            assert_eq!(owner(state_key).as_deref().map(UserId::as_str), user, "{state_key}");
        }
    }

    #[test]
    fn who_owns_state_sets_it_and_who_has_more_power() {
        let mut owned = room("org.matrix.msc3757.11");
        let mut plain = room("11");
        for (sender, state_key, by_owned, by_plain) in [
            (BOB, "@bob:b.org", true, true),
            (BOB, "@bob:b.org_x", true, false),
            (BOB, "@carol:c.org", false, false),
            (BOB, "@carol:c.org_x", false, false),
            (BOB, "@bob:b.org!x", false, false),
            (ALICE, "@bob:b.org", true, false),
            (ALICE, "@bob:b.org_x", true, false),
            (ALICE, "@nobody:z.org", true, false),
            (ALICE, "@oops", false, false),
            (BOB, "oops", true, true),
        ] {
            for (room, allowed) in [(&mut owned, by_owned), (&mut plain, by_plain)] {
                let event = room.make(draft("org.example", sender, state_key, json!({})));
                assert_eq!(room.check(&event).is_ok(), allowed, "{sender} sets {state_key}");
            }
        }
        let levels = json!({ "users": { BOB: 100 } });
        let levels = owned.make(draft("m.room.power_levels", BOB, "@bob:b.org_x", levels));
        assert!(owned.check(&levels).is_err(), "the other rules hold too");
    }
}
