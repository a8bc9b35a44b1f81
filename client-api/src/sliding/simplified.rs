//! Sliding sync as clients use it today (`org.matrix.simplified_msc3575`).

use std::{collections::BTreeMap, time::Duration};

use ruma::UserId;
use serde::Deserialize;
use starling_engine::{
    accounts::Session,
    sync::sliding::{
        Request,
        request::{Filters, List},
        required::{Pattern, RequiredState, RoomConfig},
    },
};

use super::{
    answer::Form, check_count, check_filters, check_name, check_rules, config,
    extensions::ExtensionsJson, pos, respond,
};
use crate::{answer::Answer, call::Call, error::Error};

/// Stands for every type or state key.
const ANY: &str = "*";

/// Stands for the members that other events need.
const LAZY: &str = "$LAZY";

/// Stands for the user who asks.
const ME: &str = "$ME";

const MEMBER: &str = "m.room.member";

#[derive(Deserialize)]
struct Query {
    pos: Option<String>,
    #[serde(default)]
    timeout: u64,
    set_presence: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    conn_id: Option<String>,
    /// It belongs into the query, and clients that put it here are understood too.
    pos: Option<String>,
    #[serde(default)]
    lists: Option<BTreeMap<String, ListJson>>,
    #[serde(default)]
    room_subscriptions: Option<BTreeMap<String, RoomJson>>,
    #[serde(default)]
    extensions: Option<ExtensionsJson>,
}

#[derive(Deserialize)]
struct RoomJson {
    #[serde(default)]
    timeline_limit: u64,
    #[serde(default)]
    required_state: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct ListJson {
    ranges: Option<Vec<(u64, u64)>>,
    #[serde(flatten)]
    room: RoomJson,
    filters: Option<FiltersJson>,
}

#[derive(Default, Deserialize)]
struct FiltersJson {
    is_dm: Option<bool>,
    is_encrypted: Option<bool>,
    is_invite: Option<bool>,
    room_types: Option<Vec<Option<String>>>,
    not_room_types: Option<Vec<Option<String>>>,
    spaces: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    not_tags: Option<Vec<String>>,
}

pub(crate) async fn post(call: &mut Call, session: &Session) -> Answer {
    let query: Query = call.query_as()?;
    let body: Body = call.body_as().await?;
    let (lists, rooms) =
        (body.lists.unwrap_or_default(), body.room_subscriptions.unwrap_or_default());
    check_rules(&lists, &rooms)?;
    let conn_id = body.conn_id.unwrap_or_default();
    check_name(&conn_id)?;
    let user_id = &session.user_id;
    let list = |(name, list): (String, ListJson)| Ok((name, list.read(user_id)?));
    let room = |(room_id, room): (String, RoomJson)| Ok((room_id, room.read(user_id)?));
    let request = Request {
        pos: pos(query.pos.or(body.pos).as_deref())?,
        conn_id,
        timeout: Duration::from_millis(query.timeout),
        lists: lists.into_iter().map(list).collect::<Result<_, Error>>()?,
        subscriptions: rooms.into_iter().map(room).collect::<Result<_, Error>>()?,
        counts: true,
        extensions: body.extensions.unwrap_or_default().read()?,
    };
    respond(call, session, &request, query.set_presence.as_deref(), Form::Simplified).await
}

impl ListJson {
    fn read(self, user_id: &UserId) -> Result<List, Error> {
        let ranges = self.ranges.unwrap_or_default();
        check_count(ranges.len())?;
        if ranges.iter().any(|(first, last)| first > last) {
            return Err(Error::invalid_param("A range ends before it begins"));
        }
        let filters = self.filters.unwrap_or_default();
        let filters = Filters {
            is_dm: filters.is_dm,
            is_encrypted: filters.is_encrypted,
            is_invited: filters.is_invite,
            room_types: filters.room_types,
            not_room_types: filters.not_room_types.unwrap_or_default(),
            spaces: filters.spaces,
            tags: filters.tags,
            not_tags: filters.not_tags.unwrap_or_default(),
        };
        check_filters(&filters)?;
        Ok(List { ranges, config: self.room.read(user_id)?, filters })
    }
}

impl RoomJson {
    fn read(self, user_id: &UserId) -> Result<RoomConfig, Error> {
        config(self.timeline_limit, required_state(self.required_state, user_id))
    }
}

fn required_state(wanted: Vec<(String, String)>, user_id: &UserId) -> RequiredState {
    let part = |text: &str| (text != ANY).then(|| text.to_owned());
    let mut required = RequiredState::default();
    for (kind, state_key) in wanted {
        let state_key = match state_key.as_str() {
            LAZY if kind == MEMBER => {
                required.lazy_members = true;
                continue;
            }
            ME => Some(user_id.to_string()),
            state_key => part(state_key),
        };
        required.include.insert(Pattern { kind: part(&kind), state_key });
    }
    // Who wants all members anyway does not need them lazily.
    let all = Pattern { kind: Some(MEMBER.to_owned()), state_key: None };
    required.lazy_members &= !required.include.contains(&all);
    required
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    fn required(wanted: &[(&str, &str)]) -> RequiredState {
        let wanted = wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        required_state(wanted.collect(), user_id!("@a:x"))
    }

    #[test]
    fn stars_and_dollars_have_a_meaning() {
        let lazy = required(&[("*", "*"), (MEMBER, "$LAZY"), (MEMBER, "$ME")]);
        assert!(lazy.wants("x", "y") && lazy.wants(MEMBER, "@a:x") && !lazy.wants(MEMBER, "@b:x"));
        assert!(lazy.lazy_members);
        let all = required(&[(MEMBER, "$LAZY"), (MEMBER, "*")]);
        assert!(!all.lazy_members && all.wants(MEMBER, "@b:x") && !all.wants("x", "y"));
        let odd = required(&[("x", "$LAZY"), ("y", "$ME"), ("*", "k")]);
        assert!(!odd.lazy_members && odd.wants("x", "$LAZY") && odd.wants("y", "@a:x"));
        assert!(odd.wants("any", "k") && !odd.wants("any", "l"));
    }
}
