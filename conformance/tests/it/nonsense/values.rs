//! Random values: what fits, what nearly fits, and what nobody would send.

use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Map, Value, json};

/// What stands for itself in random requests because it means something on the server.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) rooms: Vec<String>,
    pub(super) events: Vec<String>,
    pub(super) users: Vec<String>,
    pub(super) servers: Vec<String>,
    pub(super) others: Vec<String>,
}

/// Names that stand as keys somewhere in the APIs.
const KEYS: &str = "\
    access_token algorithm aliases allow allow_ip_literals alt_aliases auth auth_chain \
    auth_events avatar_url ban body content creation_content creator deny depth device_id \
    devices displayname earliest_events edus event event_fields event_format event_id events \
    events_default filter generic_search_term guest_access hashes history_visibility identifier \
    include_redundant_members initial_device_display_name initial_state invite invite_room_state \
    is_direct join_authorised_via_users_server join_rule kick latest_events lazy_load_members \
    limit logout_devices m.fully_read m.mentions m.read m.read.private m.relates_to membership \
    min_depth name new_password not_rooms not_senders not_types notifications order origin \
    origin_server_ts password pdus power_level_content_override preset prev_events reason redact \
    redacts refresh_token rel_type room room_alias_name room_id room_version rooms sender \
    session sha256 signatures signed since state state_default state_key thread_id \
    third_party_signed timeline timeout token topic type typing unsigned user user_id username \
    users users_default";

/// Names of parameters in queries.
const PARAMETERS: &str = "\
    at before dir event_id field filter format from full_state include_all_networks limit \
    membership min_depth not_membership only order_by room_alias room_id server server_name \
    set_presence since third_party_instance_id to token use_state_after user_id username v ver";

/// What is an identifier, a number or a name of something, or looks like one.
const WORDS: &str = "\
    null true 0 -1 1.5 1e400 9007199254740992 9223372036854775808 99999999999999999999999 [] {} \
    {\"a\": @ ! # $ : @a @:b @a: @a:b:c:d !a $a #a:b !room:elsewhere.invalid \
    @user:elsewhere.invalid #alias:elsewhere.invalid elsewhere.invalid 1.2.3.4:99999 [::1 a/../b \
    %00 %ff join leave invite ban knock public private_chat trusted_public_chat b f m.room.member \
    m.room.create m.room.power_levels m.room.redaction m.thread m.annotation m.login.dummy \
    m.login.password ed25519:a 12 org.example.unknown";

/// What is hard to see.
const ODD: [&str; 8] = ["", " ", "\0", "\u{202e}", "\u{7f}", "\r\n", "😀", "@A B:localhost"];

fn any<'a, T>(rng: &mut StdRng, of: &'a [T]) -> &'a T {
    of.choose(rng).unwrap()
}

/// One of the words of a text.
fn word(rng: &mut StdRng, of: &'static str) -> &'static str {
    of.split(' ').collect::<Vec<_>>().choose(rng).unwrap()
}

impl Known {
    /// A value for a parameter of a path: most often one that is what its name says.
    pub(super) fn parameter(&self, rng: &mut StdRng, name: &str) -> String {
        if rng.random_ratio(1, 4) {
            return self.string(rng);
        }
        let fitting = match name {
            "roomId" => &self.rooms,
            "eventId" => &self.events,
            "userId" => &self.users,
            "roomIdOrAlias" => &self.rooms,
            _ => &self.others,
        };
        match fitting.is_empty() {
            true => self.string(rng),
            false => any(rng, fitting).clone(),
        }
    }

    /// A query of some parameters, beginning with `?`, or nothing.
    pub(super) fn query(&self, rng: &mut StdRng) -> String {
        let mut query = String::new();
        for _ in 0..rng.random_range(0..5) {
            let name = word(rng, PARAMETERS);
            let value = match name {
                "filter" => self.nearly(rng, &filter()).to_string(),
                _ => self.string(rng),
            };
            let value = starling_conformance::client::encode(&value);
            query.push_str(&format!("{}{name}={value}", if query.is_empty() { "?" } else { "&" }));
        }
        query
    }

    /// A string: an identifier that exists, a word, or something long.
    pub(super) fn string(&self, rng: &mut StdRng) -> String {
        match rng.random_range(0..12) {
            0 | 1 if !self.rooms.is_empty() => any(rng, &self.rooms).clone(),
            2 | 3 if !self.events.is_empty() => any(rng, &self.events).clone(),
            4 if !self.users.is_empty() => any(rng, &self.users).clone(),
            5 if !self.servers.is_empty() => any(rng, &self.servers).clone(),
            6 => {
                let piece = *any(rng, &["a", "@", "é", "😀", "!a:b"]);
                piece.repeat(*any(rng, &[64, 128, 256, 1_000]))
            }
            7 => word(rng, KEYS).to_owned(),
            8 => (*any(rng, &ODD)).to_owned(),
            _ => word(rng, WORDS).to_owned(),
        }
    }

    /// Any JSON value.
    pub(super) fn value(&self, rng: &mut StdRng, depth: usize) -> Value {
        let kinds = if depth == 0 { 7 } else { 10 };
        match rng.random_range(0..kinds) {
            0 => Value::Null,
            1 => rng.random_bool(0.5).into(),
            2 => json!(*any(rng, &[0, 1, -1, 100, 9_007_199_254_740_991, i64::MAX, i64::MIN])),
            3 => json!(*any(rng, &[9_007_199_254_740_992, u64::MAX])),
            4 => json!(*any(rng, &[0.5, -0.0, 1e300])),
            5 | 6 => self.string(rng).into(),
            7 => (0..rng.random_range(0..4)).map(|_| self.value(rng, depth - 1)).collect(),
            _ => self.object(rng, depth),
        }
    }

    /// An object of keys that mean something somewhere.
    pub(super) fn object(&self, rng: &mut StdRng, depth: usize) -> Value {
        let mut object = Map::new();
        for _ in 0..rng.random_range(0..5) {
            let key = match rng.random_ratio(1, 6) {
                true => self.string(rng),
                false => word(rng, KEYS).to_owned(),
            };
            object.insert(key, self.value(rng, depth.saturating_sub(1)));
        }
        object.into()
    }

    /// The value with a few of its parts replaced, removed or added.
    pub(super) fn nearly(&self, rng: &mut StdRng, value: &Value) -> Value {
        let mut value = value.clone();
        for _ in 0..rng.random_range(0..3) {
            self.change(rng, &mut value);
        }
        value
    }

    fn change(&self, rng: &mut StdRng, value: &mut Value) {
        let deeper = rng.random_ratio(2, 3);
        match value {
            Value::Object(members) if deeper && !members.is_empty() => {
                let at = rng.random_range(0..members.len());
                let key = members.keys().nth(at).cloned().unwrap();
                match rng.random_range(0..8) {
                    0 => drop(members.remove(&key)),
                    1 => drop(members.insert(self.string(rng), self.value(rng, 2))),
                    _ => self.change(rng, members.get_mut(&key).unwrap()),
                }
            }
            Value::Array(items) if deeper && !items.is_empty() => {
                let at = rng.random_range(0..items.len());
                match rng.random_range(0..8) {
                    0 => drop(items.remove(at)),
                    1 => items.push(self.value(rng, 2)),
                    _ => self.change(rng, &mut items[at]),
                }
            }
            other => *other = self.value(rng, 2),
        }
    }
}

/// A filter that says all that one can say.
pub(super) fn filter() -> Value {
    let events = json!({
        "limit": 5, "types": ["m.room.*"], "not_types": ["m.x"], "senders": [], "not_senders": [],
    });
    let mut room = events.clone();
    room["lazy_load_members"] = true.into();
    room["include_redundant_members"] = false.into();
    room["unread_thread_notifications"] = true.into();
    room["contains_url"] = true.into();
    json!({
        "event_fields": ["type", "content.body"],
        "event_format": "client",
        "presence": events,
        "account_data": events,
        "room": {
            "rooms": [], "not_rooms": [], "include_leave": true,
            "timeline": room, "state": room, "ephemeral": events, "account_data": events,
        },
    })
}

/// A body that is no canonical JSON object.
pub(super) fn no_object(rng: &mut StdRng) -> Vec<u8> {
    match rng.random_range(0..9) {
        0 => Vec::new(),
        1 => b"{".to_vec(),
        2 => b"\xff\xfe{}".to_vec(),
        3 => format!("{{\"content\":{}1{}}}", "[".repeat(150), "]".repeat(150)).into_bytes(),
        4 => "[".repeat(100_000).into_bytes(),
        5 => b"{\"body\":\"\\ud800\",\"type\":\"\\udc00\"}".to_vec(),
        6 => b"{\"body\":1,\"body\":2,\"user_id\":1e400,\"limit\":-0}".to_vec(),
        7 => format!("{{\"body\":\"{}\"}}", "a".repeat(1_200_000)).into_bytes(),
        _ => b"[null]".to_vec(),
    }
}
