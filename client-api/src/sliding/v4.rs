//! Sliding sync as the proposal was accepted: everything is in the body.

use std::{collections::BTreeMap, time::Duration};

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
    answer::Form, check_filters, check_name, check_rules, config, extensions::ExtensionsJson, pos,
    respond,
};
use crate::{answer::Answer, call::Call, error::Error};

#[derive(Deserialize)]
struct Body {
    conn_id: Option<String>,
    pos: Option<String>,
    #[serde(default)]
    timeout: u64,
    set_presence: Option<String>,
    #[serde(default)]
    lists: BTreeMap<String, ListJson>,
    #[serde(default)]
    room_subscriptions: BTreeMap<String, RoomJson>,
    #[serde(default)]
    extensions: ExtensionsJson,
}

#[derive(Deserialize)]
struct RoomJson {
    timeline_limit: u64,
    required_state: RequiredJson,
}

#[derive(Deserialize)]
struct RequiredJson {
    #[serde(default)]
    include: Vec<PatternJson>,
    #[serde(default)]
    exclude: Vec<PatternJson>,
    #[serde(default)]
    lazy_members: bool,
}

#[derive(Deserialize)]
struct PatternJson {
    #[serde(rename = "type")]
    kind: Option<String>,
    state_key: Option<String>,
}

#[derive(Deserialize)]
struct ListJson {
    range: Option<(u64, u64)>,
    timeline_limit: u64,
    required_state: RequiredJson,
    #[serde(default)]
    filters: FiltersJson,
}

#[derive(Default, Deserialize)]
struct FiltersJson {
    is_dm: Option<bool>,
    is_encrypted: Option<bool>,
    is_invited: Option<bool>,
    room_types: Option<Vec<Option<String>>>,
    #[serde(default)]
    not_room_types: Vec<Option<String>>,
    spaces: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    #[serde(default)]
    not_tags: Vec<String>,
}

pub(crate) async fn post(call: &mut Call, session: &Session) -> Answer {
    let body: Body = call.body_as().await?;
    check_rules(&body.lists, &body.room_subscriptions)?;
    body.lists.keys().try_for_each(|name| check_identifier(name))?;
    let conn_id = body.conn_id.unwrap_or_default();
    check_name(&conn_id)?;
    let list = |(name, list): (String, ListJson)| Ok((name, list.read()?));
    let room = |(room_id, room): (String, RoomJson)| {
        Ok((room_id, room_config(room.timeline_limit, room.required_state)?))
    };
    let request = Request {
        pos: pos(body.pos.as_deref())?,
        conn_id,
        timeout: Duration::from_millis(body.timeout),
        lists: body.lists.into_iter().map(list).collect::<Result<_, Error>>()?,
        subscriptions: body
            .room_subscriptions
            .into_iter()
            .map(room)
            .collect::<Result<_, Error>>()?,
        counts: false,
        extensions: body.extensions.read()?,
    };
    respond(call, session, &request, body.set_presence.as_deref(), Form::V4).await
}

/// Refuses what is no opaque identifier.
///
/// <https://spec.matrix.org/v1.19/appendices/#opaque-identifiers>
fn check_identifier(name: &str) -> Result<(), Error> {
    let opaque = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    match !name.is_empty() && name.chars().all(opaque) {
        true => Ok(()),
        false => Err(Error::invalid_param("The name of a list is no opaque identifier")),
    }
}

impl ListJson {
    fn read(self) -> Result<List, Error> {
        if self.range.is_some_and(|(first, last)| first > last) {
            return Err(Error::invalid_param("A range ends before it begins"));
        }
        let filters = Filters {
            is_dm: self.filters.is_dm,
            is_encrypted: self.filters.is_encrypted,
            is_invited: self.filters.is_invited,
            room_types: self.filters.room_types,
            not_room_types: self.filters.not_room_types,
            spaces: self.filters.spaces,
            tags: self.filters.tags,
            not_tags: self.filters.not_tags,
        };
        check_filters(&filters)?;
        let config = room_config(self.timeline_limit, self.required_state)?;
        Ok(List { ranges: self.range.into_iter().collect(), config, filters })
    }
}

fn room_config(timeline_limit: u64, required: RequiredJson) -> Result<RoomConfig, Error> {
    let pattern = |it: PatternJson| Pattern { kind: it.kind, state_key: it.state_key };
    let required = RequiredState {
        include: required.include.into_iter().map(pattern).collect(),
        exclude: required.exclude.into_iter().map(pattern).collect(),
        lazy_members: required.lazy_members,
    };
    config(timeline_limit, required)
}
