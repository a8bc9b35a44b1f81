//! Messages that are numbered, and the proof that each of them is there once.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{measure, stage::Stage};
use crate::client::User;

/// Messages that a server acknowledged: by their event ids, what they say.
#[derive(Debug, Default)]
pub(super) struct Acknowledged(HashMap<String, String>);

impl Acknowledged {
    /// Notes that a message was acknowledged, under an id that no other one has.
    pub(super) fn note(&mut self, event_id: String, body: String) -> Result<()> {
        let twin = self.0.insert(event_id, body);
        ensure!(twin.is_none(), "two messages were acknowledged with one event id");
        Ok(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Fails unless each of them is once among these events, and no other message is.
    pub(super) fn verify<'a>(&self, events: impl IntoIterator<Item = &'a Value>) -> Result<()> {
        let mut missing = self.0.clone();
        for event in events.into_iter().filter(|event| event["type"] == "m.room.message") {
            let id = event["event_id"].as_str().context("an event without id")?;
            let body = missing.remove(id);
            let body = body.with_context(|| format!("{id} is there twice, or nobody sent it"))?;
            ensure!(event["content"]["body"] == body.as_str(), "{id} says {event}, not {body}");
        }
        ensure!(missing.is_empty(), "{} of {} messages are lost", missing.len(), self.len());
        Ok(())
    }
}

/// Fails unless the messages that somebody sent one after the other stand in that order among these events,
/// of which some may be missing.
pub(super) fn in_order<'a>(
    sent: impl IntoIterator<Item = &'a str>,
    events: impl IntoIterator<Item = &'a Value>,
) -> Result<()> {
    let ids = events.into_iter().filter_map(|event| event["event_id"].as_str());
    let places: HashMap<&str, usize> = ids.enumerate().map(|(place, id)| (id, place)).collect();
    let found: Vec<_> = sent.into_iter().filter_map(|id| places.get(id)).collect();
    ensure!(found.is_sorted(), "what was sent one after the other is out of order");
    Ok(())
}

/// Sends so many messages to a room, one after the other or several at once.
pub(super) async fn fill(
    stage: &Stage,
    user: &User,
    room: &str,
    bodies: Vec<String>,
) -> Result<Acknowledged> {
    let (_, sent) = measure::each("send", stage.concurrency, bodies, |body| async move {
        Ok((user.say(room, &body).await?, body))
    })
    .await?;
    let mut acknowledged = Acknowledged::default();
    for (event_id, body) in sent {
        acknowledged.note(event_id, body)?;
    }
    Ok(acknowledged)
}

/// Bodies that differ.
pub(super) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("message number {number} of many")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: &str, body: &str) -> Value {
        json!({ "type": "m.room.message", "event_id": id, "content": { "body": body } })
    }

    #[test]
    fn what_is_lost_doubled_or_changed_is_noticed() {
        let mut acknowledged = Acknowledged::default();
        acknowledged.note("$a".into(), "a".into()).unwrap();
        acknowledged.note("$b".into(), "b".into()).unwrap();
        assert!(acknowledged.note("$b".into(), "c".into()).is_err());
        let mut acknowledged = Acknowledged::default();
        acknowledged.note("$a".into(), "a".into()).unwrap();
        acknowledged.note("$b".into(), "b".into()).unwrap();
        let (a, b) = (event("$a", "a"), event("$b", "b"));
        let state = json!({ "type": "m.room.name", "event_id": "$c" });
        acknowledged.verify([&b, &state, &a]).unwrap();
        assert!(acknowledged.verify([&a]).is_err());
        assert!(acknowledged.verify([&a, &b, &b]).is_err());
        assert!(acknowledged.verify([&a, &event("$b", "changed")]).is_err());
        assert!(acknowledged.verify([&a, &b, &event("$d", "nobody's")]).is_err());
    }

    #[test]
    fn what_comes_before_what_was_sent_earlier_is_noticed() {
        let events = [event("$a", "a"), event("$x", "x"), event("$b", "b")];
        in_order(["$a", "$b"], &events).unwrap();
        assert!(in_order(["$b", "$a"], &events).is_err());
    }
}
