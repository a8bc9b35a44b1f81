//! A connection of sliding sync, as a client keeps it.

use std::time::Duration;

use serde_json::{Value, json};
use starling_conformance::client::{User, encode};

/// The form that clients use today.
pub(crate) const SIMPLIFIED: &str = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";

/// A connection of a user.
pub(crate) struct Connection<'a> {
    user: &'a User,
    /// Where it is.
    pub(crate) pos: Option<String>,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(user: &'a User) -> Self {
        Self { user, pos: None }
    }

    /// What is new, without waiting for it.
    pub(crate) async fn ask(&mut self, body: Value) -> Value {
        self.wait(body, Duration::ZERO).await
    }

    /// What is new as soon as something is.
    pub(crate) async fn wait(&mut self, body: Value, timeout: Duration) -> Value {
        let pos = self.pos.as_deref().map(|pos| format!("&pos={}", encode(pos)));
        let pos = pos.unwrap_or_default();
        let target = format!("{SIMPLIFIED}?timeout={}{pos}", timeout.as_millis());
        let answer = self.user.api.post(&target, body).await.unwrap().ok().unwrap();
        self.pos = Some(answer["pos"].as_str().unwrap().to_owned());
        answer
    }
}

/// A request for all rooms.
pub(crate) fn all(timeline_limit: u64, required_state: &[(&str, &str)]) -> Value {
    json!({ "lists": { "all": {
        "ranges": [[0, 99]],
        "timeline_limit": timeline_limit,
        "required_state": required_state,
    } } })
}

/// The rooms of an answer.
pub(crate) fn ids(answer: &Value) -> Vec<String> {
    answer["rooms"].as_object().unwrap().keys().cloned().collect()
}

/// Type and state key of the state of a room.
pub(crate) fn places(room: &Value) -> Vec<String> {
    let place = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        format!("{}/{}", text("type"), text("state_key"))
    };
    let mut places: Vec<_> = room["required_state"].as_array().unwrap().iter().map(place).collect();
    places.sort();
    places
}
