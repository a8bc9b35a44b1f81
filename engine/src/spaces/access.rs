//! Who may know of a room that they are not in. Pure: what is known in, a decision out.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>

use ruma::RoomVersionId;

use super::summary::Summary;
use crate::rooms::versions;

/// What somebody has to do with a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They are in it or invited to it.
    Inside,
    /// They were banned from it.
    Banned,
    /// Neither.
    Outside,
}

impl Standing {
    /// That of a user with this membership.
    #[must_use]
    pub fn of(membership: Option<&str>) -> Self {
        match membership {
            Some("join" | "invite") => Self::Inside,
            Some("ban") => Self::Banned,
            _ => Self::Outside,
        }
    }
}

/// Whether somebody may know of a room; `None`: if they are in one of the rooms whose members may
/// join.
#[must_use]
pub fn may_know(room: &Summary, standing: Standing) -> Option<bool> {
    match standing {
        Standing::Inside => return Some(true),
        _ if room.listed.world_readable => return Some(true),
        Standing::Banned => return Some(false),
        Standing::Outside => {}
    }
    let has = |rule: Rule| room.has(rule);
    match room.listed.join_rule.as_deref() {
        // "When not present, the room is assumed to be `public`."
        None | Some("public") => Some(true),
        Some("knock") => Some(has(Rule::Knock)),
        Some("knock_restricted") => Some(has(Rule::KnockRestricted)),
        Some("restricted") if has(Rule::Restricted) => None,
        _ => Some(false),
    }
}

/// Join rules that not every room version has.
#[derive(Clone, Copy)]
enum Rule {
    Knock,
    Restricted,
    KnockRestricted,
}

impl Summary {
    /// Whether the room's version has a join rule. Of versions that this server does not know, and
    /// of rooms whose version nobody names, the best is believed.
    fn has(&self, rule: Rule) -> bool {
        let version = self.room_version.as_deref().map(RoomVersionId::try_from);
        let rules = version.and_then(Result::ok).and_then(|version| versions::rules(&version));
        let Some(rules) = rules else {
            return true;
        };
        match rule {
            Rule::Knock => rules.authorization.knocking,
            Rule::Restricted => rules.authorization.restricted_join_rule,
            Rule::KnockRestricted => rules.authorization.knock_restricted_join_rule,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        Standing::{Banned, Inside, Outside},
        *,
    };

    fn room(join_rule: &str, world_readable: bool, version: &str) -> Summary {
        serde_json::from_value(json!({
            "room_id": "!a:b.org", "num_joined_members": 1, "guest_can_join": false,
            "world_readable": world_readable, "join_rule": join_rule, "room_version": version,
        }))
        .unwrap()
    }

    #[test]
    fn the_rules_in_a_table() {
        for (rule, version, outside) in [
            ("public", "1", Some(true)),
            ("invite", "12", Some(false)),
            ("private", "12", Some(false)),
            ("org.example.own", "12", Some(false)),
            ("knock", "6", Some(false)),
            ("knock", "7", Some(true)),
            ("knock", "org.example.own", Some(true)),
            ("restricted", "7", Some(false)),
            ("restricted", "8", None),
            ("knock_restricted", "9", Some(false)),
            ("knock_restricted", "10", Some(true)),
        ] {
            let closed = room(rule, false, version);
            assert_eq!(may_know(&closed, Outside), outside, "{rule} in {version}");
            assert_eq!(may_know(&closed, Inside), Some(true), "{rule}");
            assert_eq!(may_know(&closed, Banned), Some(false), "{rule}");
            let open = room(rule, true, version);
            for standing in [Inside, Outside, Banned] {
                assert_eq!(may_know(&open, standing), Some(true), "{rule}, {standing:?}");
            }
        }
    }

    #[test]
    fn a_room_that_names_no_rule_is_public() {
        let mut room = room("invite", false, "12");
        room.listed.join_rule = None;
        assert_eq!(may_know(&room, Outside), Some(true));
    }
}
