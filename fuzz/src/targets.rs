//! Parsers of what strangers send. Each takes any bytes; what it may not do is panic, and what was read
//! must be the same when it is written and read again.
//!
//! `fuzz/src/main.rs` gives them to libFuzzer, `tests/fuzz.rs` runs them on the seeds and on random
//! changes of those.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is what is looked for")]

use bytes::Bytes;
use futures_util::{FutureExt as _, TryStreamExt as _, stream};
use ruma::{
    RoomVersionId, ServerName, events::AnySyncStateEvent, room_version_rules::RoomVersionRules,
    serde::Raw, user_id,
};
use serde_json::value::RawValue;
use starling_engine::{
    config::Push,
    events::{self, Canonical, Pdu, canonical, client, hashes, redact},
    media::{
        MediaId,
        envelope::{self, Part},
        page,
        picture::{self, Target},
    },
    push::{
        evaluate::{Listener, Subject},
        rules,
    },
    reading::{
        fields::Fields,
        filter::{EventFilter, Filter},
        pos::Pos,
        token::{PageToken, SyncToken},
    },
    rooms::{server_acl::ServerAcl, topic, versions},
    search, words,
};
use starling_federation::{authorization::XMatrix, content};

#[path = "rooms.rs"]
mod rooms;

#[path = "servers.rs"]
mod servers;

/// The name of a target, and what takes its input.
type Parser = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const ALL: [Parser; 17] = [
    ("canonical_json", canonical_json),
    ("pdu", pdu),
    ("request_content", request_content),
    ("x_matrix", x_matrix),
    ("names", names),
    ("tokens", tokens),
    ("filter", filter),
    ("push_rules", push_rules),
    ("words", words),
    ("multipart", multipart),
    ("picture", picture),
    ("page", page),
    ("authorisation", rooms::authorisation),
    ("resolution", rooms::resolution),
    ("well_known", servers::well_known),
    ("discovery", servers::discovery),
    ("server_keys", servers::server_keys),
];

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// What stands before the first line break, and what after.
fn halves(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

fn canonical_json(data: &[u8]) {
    let Some(json) = text(data) else { return };
    if let Ok(object) = canonical::parse_strict(json) {
        let again = serde_json::to_string(&object).unwrap();
        assert_eq!(canonical::parse_strict(&again).unwrap(), object);
    }
    for rules in [RoomVersionRules::V1, RoomVersionRules::V11] {
        let Ok(object) = Canonical::parse(json, &rules) else { continue };
        let canonical = object.to_text();
        let again = Canonical::parse(&canonical, &rules).unwrap();
        assert_eq!(again.to_text(), canonical);
        let _ = object.text_without(None, &["signatures", "unsigned"]);
    }
}

/// The first byte chooses the room version.
fn version(data: &[u8]) -> Option<(RoomVersionId, &str)> {
    let (first, rest) = data.split_first()?;
    let version = versions::SUPPORTED.get(usize::from(*first) % versions::SUPPORTED.len())?;
    Some((version.clone(), text(rest)?))
}

fn pdu(data: &[u8]) {
    let Some((version, json)) = version(data) else { return };
    let rules = versions::rules(&version).unwrap();
    let _ = events::format::room_id_of(json);
    let Ok(pdu) = Pdu::from_json(json, &rules) else { return };
    let again = Pdu::from_json(pdu.json.get(), &rules).unwrap();
    assert_eq!((&again.event_id, &again.room_id), (&pdu.event_id, &pdu.room_id));
    let _ = hashes::content_hash_matches(&pdu, &rules);
    if let Ok(redacted) = redact::redact(&pdu, &rules) {
        assert_eq!(redacted.event_id, pdu.event_id);
        assert_eq!(redact::redact(&redacted, &rules).unwrap().json.get(), redacted.json.get());
    }
    client::to_stripped(&pdu).unwrap();
    let _ = topic::plain(&pdu.content);
    let acl = ServerAcl::from_content(&pdu.content);
    let _ = acl.allows(pdu.sender.server_name());
    let _ = search::document::edited(&pdu);
    if let Some(subject) = Subject::new(&pdu, 2, None) {
        let rules = rules::default_of(Push::default(), user_id!("@alice:a.example"));
        let _ = subject.outcome(&listener(&rules));
    }
    let _ = Raw::<AnySyncStateEvent>::from_json(pdu.json.clone()).deserialize();
}

fn request_content(data: &[u8]) {
    let Ok(written) = content::canonical(data) else { return };
    assert_eq!(content::canonical(written.as_bytes()).unwrap(), written);
}

fn x_matrix(data: &[u8]) {
    let Some(header) = text(data) else { return };
    let Ok(read) = XMatrix::parse(header) else { return };
    assert_eq!(XMatrix::parse(&read.to_string()), Ok(read));
}

fn names(data: &[u8]) {
    let Some(name) = text(data) else { return };
    if let Ok(server) = ServerName::parse(name) {
        let (host, port) = (server.host(), server.port());
        assert!(name.starts_with(host) && (port.is_none() || name.len() > host.len()));
        let _ = ServerAcl::from_content(&raw("{\"allow\":[\"*.a\",\"?*b*\"]}")).allows(&server);
    }
    if let Some(id) = MediaId::from_uri(name) {
        assert_eq!(MediaId::from_uri(&id.to_string()), Some(id));
    }
    let _ = envelope::file_name(name);
}

fn tokens(data: &[u8]) {
    let Some(token) = text(data) else { return };
    if let Ok(read) = SyncToken::parse(token) {
        assert_eq!(SyncToken::parse(&read.to_string()), Ok(read));
    }
    if let Ok(read) = PageToken::parse(token) {
        assert_eq!(PageToken::parse(&read.to_string()), Ok(read));
    }
    if let Ok(read) = Pos::parse(token) {
        assert_eq!(Pos::parse(&read.to_string()), Ok(read));
    }
    if let Ok(read) = search::token::Token::parse(token) {
        assert_eq!(search::token::Token::parse(&read.to_string()), Ok(read));
    }
}

/// A filter, and an event that is shown to it.
fn filter(data: &[u8]) {
    let Some(input) = text(data) else { return };
    let (json, event) = halves(input);
    let paths: Vec<String> = json.split(',').map(ToOwned::to_owned).collect();
    if let Ok(event) = serde_json::from_str::<Box<RawValue>>(event) {
        let _ = Fields::new(&paths).pick(&event);
    }
    let whole = Filter::parse(json);
    let of_events = EventFilter::parse(json);
    let pdu = Pdu::from_json(event, &RoomVersionRules::V11);
    if let Ok(filter) = &whole {
        let _ = filter.lazy_load_members();
    }
    if let (Ok(filter), Ok(pdu)) = (&of_events, &pdu) {
        let _ = (filter.wants(pdu), filter.wants_room("!a:b"), filter.asks_for_relations());
    }
}

fn listener(rules: &ruma::push::Ruleset) -> Listener<'_> {
    Listener {
        user_id: user_id!("@alice:a.example").to_owned(),
        display_name: "Alice".to_owned(),
        rules,
        follows: true,
    }
}

/// Rules of a user, and an event that is laid before them.
fn push_rules(data: &[u8]) {
    let Some(input) = text(data) else { return };
    let (stored, event) = halves(input);
    let user = user_id!("@alice:a.example");
    let _ = rules::ignored_in(stored);
    let Ok(ruleset) = rules::parse(Push::default(), user, stored) else { return };
    let Ok(pdu) = Pdu::from_json(event, &RoomVersionRules::V11) else { return };
    if let Some(subject) = Subject::new(&pdu, 2, None) {
        let _ = subject.outcome(&listener(&ruleset));
    }
}

/// What is searched for, and a text.
fn words(data: &[u8]) {
    let Some(input) = text(data) else { return };
    let (wanted, written) = halves(input);
    let query = search::query::Query::parse(wanted);
    let _ = (query.terms(), query.matches(written), words::fold(written));
    assert_eq!(words::pieces(written).count(), words::pieces(written).count());
}

/// A content type, and a body that comes in pieces.
fn multipart(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (kind, body) = data.split_at(at);
    let Some(kind) = text(kind) else { return };
    let pieces: Vec<_> =
        body.chunks(7).skip(1).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    // Nothing here has to be waited for.
    let opened = envelope::open(kind, stream::iter(pieces), 1_000).now_or_never().unwrap();
    if let Ok(Part::Bytes(_, bytes)) = opened {
        let read: Result<Vec<Bytes>, _> = bytes.try_collect().now_or_never().unwrap();
        let length: usize = read.into_iter().flatten().map(|piece| piece.len()).sum();
        assert!(length <= body.len());
    }
}

/// The first bytes say what picture is wanted.
fn picture(data: &[u8]) {
    let Some(([width, height, flags], bytes)) = data.split_first_chunk() else { return };
    let (crop, animated) = (flags & 1 != 0, flags & 2 != 0);
    let target = Target { width: (*width).into(), height: (*height).into(), crop, animated };
    let Ok(picture::Outcome::Made { bytes: made, .. }) = picture::shrink(bytes, target) else {
        return;
    };
    let small = picture::shrink(&made, target).unwrap();
    let is_stable = matches!(small, picture::Outcome::Itself(_));
    assert!(is_stable || *width == 0 || *height == 0, "what was made is too large");
}

/// A content type, and a page of the web.
fn page(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (kind, body) = data.split_at(at);
    let page = page::text(body, text(kind).unwrap_or_default());
    let _ = page::properties(&page);
}

fn raw(json: &str) -> Box<RawValue> {
    serde_json::from_str(json).unwrap()
}
