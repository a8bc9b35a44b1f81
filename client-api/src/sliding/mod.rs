//! The two forms of sliding sync: that of the accepted proposal (`v4`), and the one before it that
//! clients use (`simplified`). Both ask the same of the engine.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4186>

pub(crate) mod simplified;
pub(crate) mod v4;

mod answer;
mod extensions;

use std::collections::BTreeMap;

use starling_engine::{
    accounts::Session,
    presence::{self, Status},
    reading::{access::Asking, pos::Pos},
    sync::sliding::{
        self, Request,
        request::{Filters, LARGEST_TIMELINE},
        required::{RequiredState, RoomConfig},
    },
};

use self::answer::Form;
use crate::{
    answer::{Answer, json},
    call::Call,
    error::Error,
};

/// How many lists a request may have, and how many subscriptions.
const MOST_RULES: usize = 100;

/// How many of anything one rule may name: ranges, patterns, types, tags, spaces.
const MOST_NAMES: usize = 200;

/// How long a name may be, in bytes.
const LONGEST_NAME: usize = 255;

/// Answers a request in the form in which it was made.
async fn respond(
    call: &Call,
    session: &Session,
    request: &Request,
    set_presence: Option<&str>,
    form: Form,
) -> Answer {
    let status = match set_presence {
        None => Status::Online,
        Some(name) => Status::of_name(name)
            .ok_or_else(|| Error::invalid_param("`set_presence` has an unknown value"))?,
    };
    let (user, device) = (&session.user_id, &session.device_id);
    let _connected = presence::connect(&call.engine, user, device, status).await?;
    let asking = Asking { user_id: &session.user_id, device_id: Some(&session.device_id) };
    let answer = sliding::sync(&call.engine, asking, request).await?;
    json(&answer::AnswerJson::new(answer, form))
}

fn pos(text: Option<&str>) -> Result<Option<Pos>, Error> {
    text.map(Pos::parse).transpose().map_err(|_| Error::unknown_pos())
}

/// Refuses names that are longer than any that Matrix has.
fn check_name(name: &str) -> Result<(), Error> {
    match name.len() <= LONGEST_NAME {
        true => Ok(()),
        false => Err(Error::invalid_param(format!("A name is longer than {LONGEST_NAME} bytes"))),
    }
}

fn check_names<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), Error> {
    let mut count = 0;
    for name in names {
        count += 1;
        check_name(name)?;
    }
    check_count(count)
}

fn check_count(count: usize) -> Result<(), Error> {
    match count <= MOST_NAMES {
        true => Ok(()),
        false => Err(Error::invalid_param(format!("More than {MOST_NAMES} names in one place"))),
    }
}

/// Refuses more rules than there may be.
fn check_rules<L, S>(
    lists: &BTreeMap<String, L>,
    subscriptions: &BTreeMap<String, S>,
) -> Result<(), Error> {
    if lists.len() > MOST_RULES || subscriptions.len() > MOST_RULES {
        let message = format!("More than {MOST_RULES} lists, or as many subscriptions");
        return Err(Error::invalid_param(message));
    }
    lists.keys().chain(subscriptions.keys()).try_for_each(|name| check_name(name))
}

fn check_filters(filters: &Filters) -> Result<(), Error> {
    check_names(filters.room_types.iter().flatten().flatten())?;
    check_names(filters.not_room_types.iter().flatten())?;
    check_names(filters.spaces.iter().flatten())?;
    check_names(filters.tags.iter().flatten())?;
    check_names(&filters.not_tags)
}

/// What a rule wants of a room.
fn config(timeline_limit: u64, required: RequiredState) -> Result<RoomConfig, Error> {
    let patterns = required.include.iter().chain(&required.exclude);
    check_count(required.include.len().max(required.exclude.len()))?;
    for pattern in patterns {
        pattern.kind.iter().chain(&pattern.state_key).try_for_each(|name| check_name(name))?;
    }
    let timeline_limit = usize::try_from(timeline_limit).unwrap_or(usize::MAX);
    Ok(RoomConfig {
        timeline_limit: timeline_limit.min(LARGEST_TIMELINE),
        required_state: [required].into(),
    })
}
