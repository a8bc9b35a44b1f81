//! What is sent to a server beside events, and lives in memory only: typing and receipts.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#edus>

use std::collections::VecDeque;

use serde_json::{json, value::RawValue};
use starling_storage::receipts::ReceiptRow;

/// How many a server may have waiting; the oldest make room.
const MAX_WAITING: usize = 1000;
/// After this many milliseconds nobody wants to know any more.
const STALE_MS: i64 = 5 * 60 * 1000;

/// An ephemeral message, replaced by a newer one about the same.
#[derive(Clone, Debug)]
pub struct Edu {
    subject: String,
    json: Box<RawValue>,
    queued_ms: i64,
}

impl Edu {
    /// A user types in a room, or no longer does.
    ///
    /// # Errors
    ///
    /// None in practice: the JSON is made here.
    pub fn typing(
        room_id: &str,
        user_id: &str,
        typing: bool,
        now_ms: i64,
    ) -> Result<Self, serde_json::Error> {
        let content = json!({ "room_id": room_id, "user_id": user_id, "typing": typing });
        let json = json!({ "edu_type": "m.typing", "content": content });
        Self::new(format!("typing {room_id} {user_id}"), &json, now_ms)
    }

    /// A user has read up to an event.
    ///
    /// # Errors
    ///
    /// None in practice: the JSON is made here.
    pub fn receipt(receipt: &ReceiptRow, now_ms: i64) -> Result<Self, serde_json::Error> {
        let ReceiptRow { room_id, user_id, thread_id, event_id, ts, .. } = receipt;
        let mut data = json!({ "ts": ts });
        if !thread_id.is_empty() {
            data["thread_id"] = json!(thread_id);
        }
        let of_user = json!({ "data": data, "event_ids": [event_id] });
        let content = json!({ room_id: { "m.read": { user_id: of_user } } });
        let json = json!({ "edu_type": "m.receipt", "content": content });
        Self::new(format!("receipt {room_id} {user_id} {thread_id}"), &json, now_ms)
    }

    fn new(
        subject: String,
        json: &serde_json::Value,
        queued_ms: i64,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self { subject, json: serde_json::value::to_raw_value(json)?, queued_ms })
    }
}

/// What waits for a server.
#[derive(Debug, Default)]
pub(super) struct EduQueue(VecDeque<Edu>);

impl EduQueue {
    pub(super) fn push(&mut self, edu: Edu) {
        self.0.retain(|waiting| waiting.subject != edu.subject);
        if self.0.len() >= MAX_WAITING {
            self.0.pop_front();
        }
        self.0.push_back(edu);
    }

    /// Takes the oldest `limit` that are still of interest.
    pub(super) fn take(&mut self, limit: usize, now_ms: i64) -> Vec<Box<RawValue>> {
        self.0.retain(|edu| edu.queued_ms.saturating_add(STALE_MS) > now_ms);
        let count = self.0.len().min(limit);
        self.0.drain(..count).map(|edu| edu.json).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(event: &str, thread: &str) -> ReceiptRow {
        ReceiptRow {
            room_id: "!r:a".to_owned(),
            user_id: "@u:a".to_owned(),
            receipt_type: "m.read".to_owned(),
            thread_id: thread.to_owned(),
            event_id: event.to_owned(),
            ts: 7,
            pos: 0,
        }
    }

    #[test]
    fn a_newer_one_replaces_an_older_one_about_the_same() {
        let mut queue = EduQueue::default();
        queue.push(Edu::typing("!r:a", "@u:a", true, 0).unwrap());
        queue.push(Edu::receipt(&receipt("$1", ""), 0).unwrap());
        queue.push(Edu::receipt(&receipt("$1", "main"), 0).unwrap());
        queue.push(Edu::receipt(&receipt("$2", ""), 0).unwrap());
        queue.push(Edu::typing("!r:a", "@u:a", false, 0).unwrap());
        let texts: Vec<_> = queue.take(10, 1).iter().map(|raw| raw.get().to_owned()).collect();
        assert_eq!(texts.len(), 3);
        assert!(texts[0].contains(r#""thread_id":"main""#));
        assert!(texts[1].contains("$2") && !texts[1].contains("thread_id"));
        assert!(texts[2].contains(r#""typing":false"#));
        assert!(queue.is_empty());
    }

    #[test]
    fn is_bounded_and_forgets() {
        let mut queue = EduQueue::default();
        for user in 0..MAX_WAITING + 5 {
            queue.push(Edu::typing("!r:a", &format!("@{user}:a"), true, 0).unwrap());
        }
        assert_eq!(queue.0.len(), MAX_WAITING);
        assert_eq!(queue.take(100, 1).len(), 100);
        assert!(queue.take(100, STALE_MS).is_empty());
        assert!(queue.is_empty());
    }
}
