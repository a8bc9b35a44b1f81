//! What the filters of a request ask about rooms, read as far as they ask.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ruma::UserId;
use serde::Deserialize;
use serde_json::value::RawValue;
use starling_storage::{
    Conn, account_data,
    memberships::{self, MembershipRow},
    state,
};

use super::{
    lists::{Candidate, Traits},
    request::{Filters, Request},
};
use crate::Internal;

const CREATE: &str = "m.room.create";
const ENCRYPTION: &str = "m.room.encryption";
const SPACE_CHILD: &str = "m.space.child";
const TAGS: &str = "m.tag";

/// The account data that names direct chats.
pub(super) const DIRECT: &str = "m.direct";

/// What some requests ask of rooms.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    content: Box<RawValue>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(rename = "type")]
    room_type: Option<String>,
    via: Option<Vec<String>>,
    is_direct: Option<bool>,
}

impl Event {
    fn content(&self) -> Option<Content> {
        serde_json::from_str(self.content.get()).ok()
    }
}

/// The rooms that a user with these memberships calls direct chats, and those to which somebody invites
/// them as to one.
pub(super) async fn direct(
    conn: &mut Conn,
    user_id: &UserId,
    rows: &[MembershipRow],
) -> Result<HashSet<String>, Internal> {
    let content = account_data::get(conn, user_id.as_str(), "", DIRECT).await?;
    let mut direct = content.map(|content| direct_in(&content)).unwrap_or_default();
    if rows.iter().all(|row| row.membership != "invite") {
        return Ok(direct);
    }
    let invites = memberships::invites_to_chats(conn, user_id.as_str()).await?;
    let invites = invites.into_iter().filter(|(_, json)| is_direct(json));
    direct.extend(invites.map(|(room_id, _)| room_id));
    Ok(direct)
}

/// Whether an invite is one to a direct chat.
fn is_direct(json: &str) -> bool {
    let content = serde_json::from_str::<Event>(json).ok().and_then(|event| event.content());
    content.is_some_and(|content| content.is_direct == Some(true))
}

/// The rooms that a piece of `m.direct` names. Clients write it: what does not belong there is left out.
fn direct_in(content: &str) -> HashSet<String> {
    let by_user: BTreeMap<String, &RawValue> = serde_json::from_str(content).unwrap_or_default();
    let rooms = |rooms: &RawValue| serde_json::from_str::<Vec<String>>(rooms.get());
    by_user.into_values().filter_map(|it| rooms(it).ok()).flatten().collect()
}

/// Reads what the filters of a request ask.
pub(super) async fn read(
    conn: &mut Conn,
    user_id: &UserId,
    request: &Request,
    rooms: &[Candidate],
    direct: HashSet<String>,
) -> Result<Traits, Internal> {
    let mut traits = Traits { direct, ..Traits::default() };
    let asks = |about: fn(&Filters) -> bool| request.lists.values().any(|it| about(&it.filters));
    let ids: Vec<String> = rooms.iter().map(|room| room.row.room_id.clone()).collect();
    if asks(|it| it.room_types.is_some() || !it.not_room_types.is_empty()) {
        traits.types = types(conn, &ids).await?;
    }
    if asks(|it| it.is_encrypted.is_some()) {
        traits.encrypted = encrypted(conn, &ids).await?;
    }
    for room in rooms {
        stripped(&room.row, &mut traits);
    }
    if asks(|it| it.tags.is_some() || !it.not_tags.is_empty()) {
        for (room_id, content) in account_data::of_kind(conn, user_id.as_str(), TAGS).await? {
            traits.tags.insert(room_id, tags_in(&content));
        }
    }
    let lists = request.lists.values();
    let spaces: BTreeSet<&String> =
        lists.filter_map(|it| it.filters.spaces.as_ref()).flatten().collect();
    let is_joined =
        |room: &&Candidate| room.row.membership == "join" && spaces.contains(&room.row.room_id);
    let spaces: Vec<String> =
        rooms.iter().filter(is_joined).map(|room| room.row.room_id.clone()).collect();
    if !spaces.is_empty() {
        traits.children = children(conn, &spaces).await?;
    }
    Ok(traits)
}

async fn types(
    conn: &mut Conn,
    rooms: &[String],
) -> Result<HashMap<String, Option<String>>, Internal> {
    let events = state::current_events(conn, rooms, CREATE).await?;
    let events = events.into_iter().filter(|(_, state_key, _)| state_key.is_empty());
    let kind = |json: &str| serde_json::from_str::<Event>(json).ok()?.content()?.room_type;
    Ok(events.map(|(room_id, _, json)| (room_id, kind(&json))).collect())
}

async fn encrypted(conn: &mut Conn, rooms: &[String]) -> Result<HashMap<String, bool>, Internal> {
    let kinds = [CREATE.to_owned(), ENCRYPTION.to_owned()];
    let mut encrypted = HashMap::new();
    for (room_id, kind, state_key, _) in state::current_of_types(conn, rooms, &kinds).await? {
        if state_key.is_empty() {
            *encrypted.entry(room_id).or_default() |= kind == ENCRYPTION;
        }
    }
    Ok(encrypted)
}

/// What came with an invite or a knock says the same of a room that is not known here.
fn stripped(row: &MembershipRow, traits: &mut Traits) {
    let json = row.stripped_state.as_deref().filter(|_| row.membership != "join");
    let Some(events) = json.and_then(|json| serde_json::from_str::<Vec<Event>>(json).ok()) else {
        return;
    };
    let Some(create) = events.iter().find(|event| event.kind == CREATE) else { return };
    let room_type = create.content().and_then(|content| content.room_type);
    traits.types.entry(row.room_id.clone()).or_insert(room_type);
    let encrypted = events.iter().any(|event| event.kind == ENCRYPTION);
    traits.encrypted.entry(row.room_id.clone()).or_insert(encrypted);
}

fn tags_in(content: &str) -> HashSet<String> {
    #[derive(Deserialize)]
    struct Content {
        tags: HashMap<String, serde::de::IgnoredAny>,
    }
    let content: Option<Content> = serde_json::from_str(content).ok();
    content.map(|content| content.tags.into_keys().collect()).unwrap_or_default()
}

/// The rooms that spaces list: as long as the event names servers.
async fn children(
    conn: &mut Conn,
    spaces: &[String],
) -> Result<HashMap<String, HashSet<String>>, Internal> {
    let mut children: HashMap<String, HashSet<String>> = HashMap::new();
    for (space, room_id, json) in state::current_events(conn, spaces, SPACE_CHILD).await? {
        let content = serde_json::from_str::<Event>(&json).ok().and_then(|event| event.content());
        let via = content.and_then(|content| content.via);
        if via.is_some_and(|via| !via.is_empty()) {
            children.entry(space).or_default().insert(room_id);
        }
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_data_of_clients_may_be_anything() {
        let direct = r#"{ "@a:x": ["!1", "!2"], "@b:x": "no", "@c:x": ["!3"], "d": [1] }"#;
        let mut rooms: Vec<_> = direct_in(direct).into_iter().collect();
        rooms.sort();
        assert_eq!(rooms, ["!1", "!2", "!3"]);
        assert!(direct_in("[]").is_empty() && direct_in("{}").is_empty());
        assert_eq!(tags_in(r#"{ "tags": { "u.x": {} } }"#), HashSet::from(["u.x".to_owned()]));
        assert!(tags_in(r#"{ "tags": [] }"#).is_empty() && tags_in("{}").is_empty());
    }

    #[test]
    fn an_invite_says_whether_it_is_to_a_direct_chat() {
        let invite = |value: &str| {
            let content = format!(r#"{{ "membership": "invite", "is_direct": {value} }}"#);
            is_direct(&format!(r#"{{ "type": "m.room.member", "content": {content} }}"#))
        };
        assert!(invite("true"));
        assert!(!invite("false") && !invite("null") && !invite("[]") && !is_direct("{}"));
    }

    #[test]
    fn what_came_with_an_invite_tells_of_the_room() {
        let row = |stripped: &str| MembershipRow {
            room_id: "!r".to_owned(),
            membership: "invite".to_owned(),
            stripped_state: Some(stripped.to_owned()),
            ..MembershipRow::default()
        };
        let told = |json: &str| {
            let mut traits = Traits::default();
            stripped(&row(json), &mut traits);
            (traits.types.remove("!r"), traits.encrypted.remove("!r"))
        };
        let space = r#"[{ "type": "m.room.create", "content": { "type": "m.space" } }]"#;
        assert_eq!(told(space), (Some(Some("m.space".to_owned())), Some(false)));
        let chat = r#"[{ "type": "m.room.encryption", "content": {} },
            { "type": "m.room.create", "content": {} }]"#;
        assert_eq!(told(chat), (Some(None), Some(true)));
        assert_eq!(told("[]"), (None, None));
        assert_eq!(told("{"), (None, None));
    }
}
