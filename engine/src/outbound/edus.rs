//! What is sent to a server beside events, and lives in memory only: typing, receipts and
//! presence.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#edus>

use std::collections::VecDeque;

use serde_json::{Value, json, value::RawValue};

use crate::{ephemeral::Edu, presence};

/// How many a server may have waiting; the oldest make room.
const MAX_WAITING: usize = 1000;
/// After this many milliseconds nobody wants to know any more.
const STALE_MS: i64 = 5 * 60 * 1000;

/// An ephemeral message as it is sent, which a newer one about the same replaces.
#[derive(Clone, Debug)]
pub(super) struct Message {
    subject: String,
    json: Box<RawValue>,
    queued_ms: i64,
}

impl Message {
    /// Puts an EDU into its JSON.
    ///
    /// # Errors
    ///
    /// None in practice: the JSON is made here.
    pub(super) fn new(edu: &Edu, queued_ms: i64) -> Result<Self, serde_json::Error> {
        let json = serde_json::value::to_raw_value(&json(edu, queued_ms))?;
        Ok(Self { subject: subject(edu), json, queued_ms })
    }
}

fn subject(edu: &Edu) -> String {
    match edu {
        Edu::Typing { room_id, user_id, .. } => format!("typing {room_id} {user_id}"),
        Edu::Receipt { room_id, user_id, thread_id, .. } => {
            format!("receipt {room_id} {user_id} {}", thread_id.as_deref().unwrap_or_default())
        }
        Edu::Presence { user_id, .. } => format!("presence {user_id}"),
    }
}

fn json(edu: &Edu, now_ms: i64) -> Value {
    match edu {
        Edu::Typing { room_id, user_id, typing } => {
            let content = json!({ "room_id": room_id, "user_id": user_id, "typing": typing });
            json!({ "edu_type": "m.typing", "content": content })
        }
        Edu::Receipt { room_id, user_id, event_id, ts, thread_id } => {
            let mut data = json!({ "ts": ts });
            if let Some(thread_id) = thread_id {
                data["thread_id"] = json!(thread_id);
            }
            let of_user = json!({ "data": data, "event_ids": [event_id] });
            let content = json!({ room_id: { "m.read": { user_id: of_user } } });
            json!({ "edu_type": "m.receipt", "content": content })
        }
        Edu::Presence { user_id, presence, .. } => {
            let mut of_user = presence::content(presence, now_ms);
            of_user["user_id"] = json!(user_id);
            json!({ "edu_type": "m.presence", "content": { "push": [of_user] } })
        }
    }
}

/// What waits for a server.
#[derive(Debug, Default)]
pub(super) struct EduQueue(VecDeque<Message>);

impl EduQueue {
    pub(super) fn push(&mut self, edu: Message) {
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
    use ruma::{room_id, user_id};

    use super::*;

    fn receipt(event: &str, thread: Option<&str>) -> Message {
        let edu = Edu::Receipt {
            room_id: room_id!("!r:a").to_owned(),
            user_id: user_id!("@u:a").to_owned(),
            event_id: event.try_into().unwrap(),
            ts: 7,
            thread_id: thread.map(ToOwned::to_owned),
        };
        Message::new(&edu, 0).unwrap()
    }

    fn typing(user: &str, typing: bool) -> Message {
        let room_id = room_id!("!r:a").to_owned();
        let edu = Edu::Typing { room_id, user_id: user.try_into().unwrap(), typing };
        Message::new(&edu, 0).unwrap()
    }

    #[test]
    fn a_newer_one_replaces_an_older_one_about_the_same() {
        let mut queue = EduQueue::default();
        queue.push(typing("@u:a", true));
        queue.push(receipt("$1", None));
        queue.push(receipt("$1", Some("main")));
        queue.push(receipt("$2", None));
        queue.push(typing("@u:a", false));
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
            queue.push(typing(&format!("@{user}:a"), true));
        }
        assert_eq!(queue.0.len(), MAX_WAITING);
        assert_eq!(queue.take(100, 1).len(), 100);
        assert!(queue.take(100, STALE_MS).is_empty());
        assert!(queue.is_empty());
    }
}
