//! The authorisation rules: who may send what. Pure: it decides over the events it is given.
//!
//! The rules themselves are those of `ruma`; here stands what it leaves to its caller.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#authorization-rules>

use std::{collections::BTreeMap, sync::Arc};

use ruma::{
    EventId, OwnedEventId, RoomId, RoomVersionId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::{AuthorizationRules, RoomVersionRules},
    state_res,
};
use serde_json::value::RawValue;

use super::{owned_state, versions};
use crate::{
    events::{Pdu, format},
    state::StateKey,
};

/// Why an event is not allowed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Denied {
    /// An event that it names in `auth_events`, or that its room ID names, is not known: fetch it
    /// before deciding.
    #[error("auth event {0} is not known")]
    Missing(OwnedEventId),
    /// The rules about the event itself and its `auth_events` forbid it, in any state of the room.
    #[error("not authorised: {0}")]
    Event(String),
    /// The rules forbid it in the state that was given.
    #[error("not authorised by the state of the room: {0}")]
    State(String),
}

/// The keys of the room's state from which the `auth_events` of a new event are taken.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection>
///
/// # Errors
///
/// [`Denied::Event`] when the content lacks what the selection looks at.
pub fn auth_types(
    kind: &TimelineEventType,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawValue,
    rules: &RoomVersionRules,
) -> Result<Vec<StateKey>, Denied> {
    state_res::auth_types_for_event(kind, sender, state_key, content, &rules.authorization)
        .map_err(Denied::Event)
}

/// The keys of the room's state that [`check_state`] reads for an event: those of its auth events
/// and the create event, in every room version.
///
/// # Errors
///
/// [`Denied::Event`] when the content lacks what the selection looks at.
pub fn state_keys(pdu: &Pdu, rules: &RoomVersionRules) -> Result<Vec<StateKey>, Denied> {
    let state_key = pdu.state_key.as_deref();
    let mut keys = auth_types(&pdu.kind, &pdu.sender, state_key, &pdu.content, rules)?;
    let create = (StateEventType::RoomCreate, String::new());
    if !keys.contains(&create) {
        keys.push(create);
    }
    Ok(keys)
}

/// The create event that the ID of a room names, since room version 12.
#[must_use]
pub fn create_event_id(room_id: &RoomId, rules: &AuthorizationRules) -> Option<OwnedEventId> {
    if !rules.room_create_event_id_as_room_id {
        return None;
    }
    OwnedEventId::try_from(format!("${}", room_id.strip_sigil())).ok()
}

/// Checks the rules about the event itself and its `auth_events`. Once per event, on receipt.
///
/// # Errors
///
/// [`Denied::Missing`] or [`Denied::Event`].
pub fn check_event(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    fetch: impl Fn(&EventId) -> Option<Arc<Pdu>>,
) -> Result<(), Denied> {
    let create = create_event_id(&pdu.room_id, &rules.authorization);
    let create = create.filter(|_| pdu.kind != TimelineEventType::RoomCreate);
    for id in pdu.auth_events.iter().chain(&create) {
        if fetch(id).is_none() {
            return Err(Denied::Missing(id.clone()));
        }
    }
    check_create_named_by_room(create.as_deref(), &fetch)?;
    check_content(pdu)?;
    // Rule 2 (3 since version 12) and, in all versions, that the auth events are of this room.
    state_res::check_state_independent_auth_rules(&rules.authorization, pdu, fetch)
        .map_err(Denied::Event)
}

/// Checks the rules that depend on the state of the room.
///
/// `state` must know the keys of [`state_keys`]. Signatures must have been verified before: a join
/// that names a user who lets it happen is only as good as that user's server's signature.
///
/// # Errors
///
/// [`Denied::State`], or [`Denied::Event`] when the event could pass in no state.
pub fn check_state(
    pdu: &Pdu,
    rules: &RoomVersionRules,
    state: impl Fn(&StateEventType, &str) -> Option<Arc<Pdu>>,
) -> Result<(), Denied> {
    check_content(pdu)?;
    let pdu = owned_state::check(pdu, rules, &state)?;
    state_res::check_state_dependent_auth_rules(&rules.authorization, &*pdu, state)
        .map_err(Denied::State)
}

/// A room has one create event, and whatever else claims to be that is not of the room: before version
/// 12, where the ID of the room does not name it, the rules let the creator's server make another that
/// follows nothing, and whose creator would count would depend on the order in which both are met.
///
/// # Errors
///
/// [`Denied::Event`].
pub fn check_only_create(
    pdu: &Pdu,
    create: impl FnOnce() -> Option<Arc<Pdu>>,
) -> Result<(), Denied> {
    if pdu.kind != TimelineEventType::RoomCreate {
        return Ok(());
    }
    match create().filter(|create| create.event_id != pdu.event_id) {
        Some(create) => Err(Denied::Event(format!("the room was created by {}", create.event_id))),
        None => Ok(()),
    }
}

/// Since version 12: "If the event's `room_id` is not an event ID for an accepted (not rejected)
/// `m.room.create` event, reject". That it is accepted is checked with the auth events.
fn check_create_named_by_room(
    create: Option<&EventId>,
    fetch: &impl Fn(&EventId) -> Option<Arc<Pdu>>,
) -> Result<(), Denied> {
    match create.and_then(fetch) {
        Some(event) if event.kind != TimelineEventType::RoomCreate => {
            Err(Denied::Event(format!("the room is named by a {} event", event.kind)))
        }
        _ => Ok(()),
    }
}

/// What the rules and limits say about an event by itself and `ruma` reads more kindly.
fn check_content(pdu: &Pdu) -> Result<(), Denied> {
    if format::has_long_ids(pdu) {
        return Err(Denied::Event("its type or state key is too long".to_owned()));
    }
    match pdu.kind {
        TimelineEventType::RoomCreate => check_room_version(pdu),
        TimelineEventType::RoomMember => check_third_party_invite(pdu),
        _ => Ok(()),
    }
}

/// "If `content.room_version` is present and is not a recognised version, reject."
fn check_room_version(pdu: &Pdu) -> Result<(), Denied> {
    let Some(version) = content_field(pdu, "room_version") else { return Ok(()) };
    let known = serde_json::from_str::<RoomVersionId>(version.get())
        .is_ok_and(|version| versions::rules(&version).is_some());
    if known { Ok(()) } else { Err(Denied::Event(format!("unknown room version {version}"))) }
}

/// "If `content` has a `third_party_invite` property" includes one that is null.
fn check_third_party_invite(pdu: &Pdu) -> Result<(), Denied> {
    match content_field(pdu, "third_party_invite") {
        Some(invite) if invite.get() == "null" && is_invite(pdu) => {
            Err(Denied::Event("`third_party_invite` has no `signed`".to_owned()))
        }
        _ => Ok(()),
    }
}

fn is_invite(pdu: &Pdu) -> bool {
    pdu.content_str("membership").as_deref() == Some("invite")
}

fn content_field<'a>(pdu: &'a Pdu, field: &str) -> Option<&'a RawValue> {
    let mut content: BTreeMap<String, &RawValue> = serde_json::from_str(pdu.content.get()).ok()?;
    content.remove(field)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::testing::{Room, build, draft, membership},
        *,
    };

    const ALICE: &str = "@alice:a.org";
    const BOB: &str = "@bob:b.org";
    const CAROL: &str = "@carol:c.org";

    fn event_denied(result: Result<(), Denied>) -> bool {
        matches!(result, Err(Denied::Event(_)))
    }

    fn state_denied(result: Result<(), Denied>) -> bool {
        matches!(result, Err(Denied::State(_)))
    }

    #[test]
    fn in_every_version_power_decides() {
        for version in versions::SUPPORTED {
            let mut room = Room::new(&version);
            room.send(membership(BOB, BOB, "join"));
            let kick = room.make(membership(BOB, ALICE, "leave"));
            assert!(state_denied(room.check(&kick)), "{version}");
            let name = room.make(draft("m.room.name", BOB, "", json!({ "name": "x" })));
            assert!(state_denied(room.check(&name)), "{version}");
            room.send(membership(ALICE, BOB, "ban"));
            let back = room.make(membership(BOB, BOB, "join"));
            assert!(state_denied(room.check(&back)), "{version}");
        }
    }

    #[test]
    fn in_every_version_auth_events_are_of_the_same_room() {
        for version in versions::SUPPORTED {
            let mut room = Room::new(&version);
            let join = room.make(membership(BOB, BOB, "join"));
            let mut other = Room::new(&version);
            let levels = draft("m.room.power_levels", ALICE, "", json!({ "users_default": 100 }));
            let foreign =
                Pdu { room_id: "!else:a.org".try_into().unwrap(), ..(*other.make(levels)).clone() };
            let foreign = Arc::new(foreign);
            room.events.insert(foreign.event_id.clone(), foreign.clone());
            let mut auth_events = join.auth_events.clone();
            auth_events.retain(|id| room.events[id].kind != TimelineEventType::RoomPowerLevels);
            auth_events.push(foreign.event_id.clone());
            let join = Pdu { auth_events, ..(*join).clone() };
            assert!(event_denied(room.check(&join)), "{version}");
        }
    }

    #[test]
    fn auth_events_must_be_known_expected_single_and_not_rejected() {
        let mut room = Room::new(&RoomVersionId::V11);
        let join = room.make(membership(BOB, BOB, "join"));
        assert_eq!(room.check(&join), Ok(()));
        let with = |id: &OwnedEventId| {
            let mut join = (*join).clone();
            join.auth_events.push(id.clone());
            join
        };
        let unknown = OwnedEventId::try_from("$unknown").unwrap();
        assert_eq!(room.check(&with(&unknown)), Err(Denied::Missing(unknown)));
        assert!(event_denied(room.check(&with(&join.auth_events[0]))));
        let topic = room.send(draft("m.room.topic", ALICE, "", json!({})));
        assert!(event_denied(room.check(&with(&topic.event_id))));
        let levels = room.state[&(StateEventType::RoomPowerLevels, String::new())].clone();
        let rejected = Arc::new(Pdu { rejected: true, ..(*levels).clone() });
        room.events.insert(rejected.event_id.clone(), rejected);
        assert!(event_denied(room.check(&join)));
    }

    #[test]
    fn a_room_of_version_12_is_named_by_its_create_event() {
        let mut room = Room::new(&RoomVersionId::V12);
        let message = room.send(draft("m.room.topic", ALICE, "", json!({})));
        let join = room.make(membership(BOB, BOB, "join"));
        assert_eq!(room.check(&join), Ok(()));
        let hash = message.event_id.as_str().trim_start_matches('$');
        let room_id = RoomId::parse(format!("!{hash}")).unwrap();
        let elsewhere = Pdu { room_id, auth_events: vec![], ..(*join).clone() };
        assert!(event_denied(room.check(&elsewhere)));
        let nowhere = Pdu { room_id: "!nowhere".try_into().unwrap(), ..(*join).clone() };
        assert!(matches!(room.check(&nowhere), Err(Denied::Missing(_))));
        let create = join.room_id.strip_sigil();
        let create = OwnedEventId::try_from(format!("${create}")).unwrap();
        let citing = Pdu { auth_events: vec![create], ..(*join).clone() };
        assert!(event_denied(room.check(&citing)));
    }

    #[test]
    fn creators_of_version_12_cannot_be_listed_or_demoted() {
        let mut room = Room::new(&RoomVersionId::V12);
        let listed = json!({ "users": { ALICE: 100 } });
        let listed = room.make(draft("m.room.power_levels", ALICE, "", listed));
        assert!(state_denied(room.check(&listed)));
        room.send(membership(BOB, BOB, "join"));
        let admin = json!({ "users": { BOB: 9_000 } });
        room.send(draft("m.room.power_levels", ALICE, "", admin));
        let kick = room.make(membership(BOB, ALICE, "leave"));
        assert!(state_denied(room.check(&kick)));
    }

    #[test]
    fn a_create_event_has_a_known_version() {
        for (version, allowed) in [(json!("11"), true), (json!("x"), false), (json!(11), false)] {
            let rules = RoomVersionRules::V11;
            let room_id = "!r:a.org".try_into().unwrap();
            let create = draft("m.room.create", ALICE, "", json!({ "room_version": version }));
            let create = build(&create, Some(&room_id), &[], &[], &rules);
            assert_eq!(check_event(&create, &rules, |_| None).is_ok(), allowed, "{version}");
        }
    }

    #[test]
    fn string_power_levels_end_with_version_10() {
        for (version, allowed) in [(RoomVersionId::V9, true), (RoomVersionId::V10, false)] {
            let mut room = Room::new(&version);
            let strings = json!({ "users": { ALICE: "100", BOB: " 50 " }, "ban": "60" });
            let levels = room.make(draft("m.room.power_levels", ALICE, "", strings));
            assert_eq!(room.check(&levels).is_ok(), allowed, "{version}");
        }
    }

    #[test]
    fn float_power_levels_are_cut_off_before_version_6() {
        let rules = RoomVersionRules::V5;
        let mut room = Room::new(&RoomVersionId::V5);
        room.send(membership(BOB, BOB, "join"));
        let levels = json!({ "users": { ALICE: 100, BOB: "LEVEL" }, "events": { "x.y": 51 } });
        let levels = room.make(draft("m.room.power_levels", ALICE, "", levels));
        for level in ["50.57", "5.099E1", "50.0"] {
            let json = levels.json.get().replace("\"LEVEL\"", level);
            let levels = Arc::new(Pdu::from_json(&json, &rules).unwrap());
            assert!(levels.content.get().contains(level));
            assert_eq!(room.check(&levels), Ok(()), "{level}");
            room.add(levels);
            let allowed = room.make(draft("m.room.topic", BOB, "", json!({})));
            assert_eq!(room.check(&allowed), Ok(()), "{level}");
            let denied = room.make(draft("x.y", BOB, "", json!({})));
            assert!(state_denied(room.check(&denied)), "{level}");
        }
    }

    #[test]
    fn a_restricted_join_needs_a_joined_user_who_may_invite() {
        let mut room = Room::new(&RoomVersionId::V10);
        room.send(membership(BOB, BOB, "join"));
        let levels = json!({ "users": { ALICE: 100 }, "invite": 50 });
        room.send(draft("m.room.power_levels", ALICE, "", levels));
        let restricted = json!({ "join_rule": "restricted", "allow": [] });
        room.send(draft("m.room.join_rules", ALICE, "", restricted));
        let mut join = |via: Option<&str>| {
            let mut content = json!({ "membership": "join" });
            if let Some(via) = via {
                content["join_authorised_via_users_server"] = json!(via);
            }
            let join = room.make(draft("m.room.member", CAROL, CAROL, content));
            room.check(&join)
        };
        assert!(state_denied(join(None)));
        assert!(state_denied(join(Some(BOB))));
        assert!(state_denied(join(Some("@nobody:a.org"))));
        assert_eq!(join(Some(ALICE)), Ok(()));
    }

    #[test]
    fn aliases_belong_to_a_server_before_version_6() {
        let aliases = |room: &mut Room, server| {
            let aliases = room.make(draft("m.room.aliases", "@x:b.org", server, json!({})));
            room.check(&aliases)
        };
        let mut old = Room::new(&RoomVersionId::V5);
        assert_eq!(aliases(&mut old, "b.org"), Ok(()));
        assert!(state_denied(aliases(&mut old, "a.org")));
        let mut new = Room::new(&RoomVersionId::V6);
        assert!(state_denied(aliases(&mut new, "b.org")), "the sender is not in the room");
    }

    #[test]
    fn a_third_party_invite_must_be_one() {
        let mut room = Room::new(&RoomVersionId::V11);
        for invite in [json!(null), json!({}), json!({ "signed": {} })] {
            let content = json!({ "membership": "invite", "third_party_invite": invite });
            let mut event = draft("m.room.member", ALICE, CAROL, json!({ "membership": "invite" }));
            let plain = room.make(event.clone());
            event.content = content;
            let content = serde_json::value::to_raw_value(&event.content).unwrap();
            let event = Pdu { content, ..(*plain).clone() };
            assert_eq!(room.check(&plain), Ok(()));
            assert!(event_denied(room.check(&event)), "{invite}");
        }
    }
}
