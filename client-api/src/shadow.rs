//! What a shadow-banned account is answered: as if what it asks for had been done.
//!
//! Nothing is written, so nobody sees anything of it, here or on other servers. Whoever is a nuisance takes
//! longer to notice than after a ban, and to come back under another name. They may still read, join,
//! leave, and make rooms that nobody is invited to.

use serde_json::json;
use starling_engine::accounts::{Session, shadow};

use crate::answer::{Answer, json as answer_json};

/// Of a request that sends an event; what is sent tells requests apart.
pub(crate) fn sent(session: &Session, request: &[&str]) -> Answer {
    answer_json(&json!({ "event_id": format!("${}", shadow::id(session, request)) }))
}

/// Of a request that replaces a room.
pub(crate) fn replaced(session: &Session, request: &[&str]) -> Answer {
    answer_json(&json!({ "replacement_room": format!("!{}", shadow::id(session, request)) }))
}

/// Of a request that changes somebody's membership, or what is only seen for a while.
pub(crate) fn done() -> Answer {
    answer_json(&json!({}))
}
