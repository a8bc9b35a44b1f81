//! Whether a stored event is what was signed. Pure.

use ruma::{ServerName, room_version_rules::RoomVersionRules};
use starling_storage::events::{EventRow, RelationRow, flags};

use crate::{
    events::{Pdu, hashes, redact::redact, verify},
    rooms::append::relations,
};

/// What is known beside the row.
pub(super) struct Beside<'a> {
    /// The rules of its room.
    pub rules: &'a RoomVersionRules,
    /// The name of this server, all of whose keys are known.
    pub own: &'a ServerName,
    /// The keys of those who signed it.
    pub keys: &'a verify::ServerKeys,
    /// Which events it is noted to follow.
    pub follows: Vec<&'a str>,
    /// What it is noted to relate to.
    pub relations: Vec<&'a RelationRow>,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// Whether no key was known by which a signature could be judged.
    pub unjudged: bool,
    /// What is wrong.
    pub wrong: Vec<String>,
}

/// Reads an event as if another server had sent it.
pub(super) fn read(row: &EventRow, rules: &RoomVersionRules) -> Result<Pdu, String> {
    Pdu::from_json(&row.json, rules).map_err(|error| format!("is no event: {error}"))
}

/// Compares an event with what is noted about it.
pub(super) fn judge(row: &EventRow, pdu: &Pdu, beside: &Beside<'_>) -> Judgement {
    let mut judgement = Judgement::default();
    let mut complain = |what: &str| judgement.wrong.push(what.to_owned());
    if pdu.json.get() != row.json {
        complain("is not written as it was signed");
    }
    if pdu.event_id != row.event_id {
        complain("has another reference hash");
    }
    if pdu.room_id != row.room_id {
        complain("says that it is of another room");
    }
    if !is_noted_as_it_is(row, pdu) {
        complain("is noted as something else");
    }
    if !is_whole(row, pdu, beside.rules) {
        complain("has another content than its hash says");
    }
    if !edges_are_noted(row, pdu, &beside.follows) {
        complain("is not noted to follow what it follows");
    }
    if !expected(row, pdu).iter().eq(beside.relations.iter().copied()) {
        complain("is not noted to relate to what it relates to");
    }
    match verify::verify(pdu, beside.keys, beside.rules) {
        Ok(()) => {}
        Err(verify::SignatureError::KeysMissing { server, .. }) if server != beside.own => {
            judgement.unjudged = true;
        }
        Err(error) => judgement.wrong.push(format!("is not signed: {error}")),
    }
    judgement
}

fn is_noted_as_it_is(row: &EventRow, pdu: &Pdu) -> bool {
    (row.kind == pdu.kind.to_string())
        && (row.state_key == pdu.state_key)
        && (row.sender == pdu.sender.as_str())
        && (row.depth == pdu.depth)
        && (row.origin_server_ts == i64::from(pdu.origin_server_ts.get()))
}

/// An event whose content was another when it came was redacted, as were those that somebody redacted.
fn is_whole(row: &EventRow, pdu: &Pdu, rules: &RoomVersionRules) -> bool {
    if row.redacted_by.is_none() && hashes::content_hash_matches(pdu, rules) {
        return true;
    }
    redact(pdu, rules).is_ok_and(|redacted| redacted.json.get() == pdu.json.get())
}

fn edges_are_noted(row: &EventRow, pdu: &Pdu, follows: &[&str]) -> bool {
    row.has(flags::OUTLIER) || pdu.prev_events.iter().all(|id| follows.contains(&id.as_str()))
}

fn expected(row: &EventRow, pdu: &Pdu) -> Option<RelationRow> {
    let is_part = !row.has(flags::OUTLIER | flags::REJECTED | flags::SOFT_FAILED);
    is_part.then(|| relations::row(pdu)).flatten()
}
