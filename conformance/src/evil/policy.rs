//! The peer as the policy server of rooms.

use serde_json::{Value, json};

use super::{
    event::Event,
    key::Key,
    peer::Peer,
    script::{Received, Reply},
};

/// The name of the key by which policy servers sign.
const KEY_ID: &str = "ed25519:policy_server";

impl Peer {
    /// From now on the peer signs with `key`, as a policy server, each event of rooms of this version that
    /// `lets_in` accepts, and refuses others in its own words.
    pub fn guard(
        &self,
        version: &str,
        key: &Key,
        lets_in: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) {
        let (name, version, key) = (self.name.clone(), version.to_owned(), key.clone());
        self.script(move |request| {
            if !is_question(request) {
                return None;
            }
            if !lets_in(&request.body) {
                let body = json!({ "errcode": "M_FORBIDDEN", "error": "This looks like spam" });
                return Some(Reply::Json(400, body));
            }
            let event = Event::received(&version, &request.body);
            let signature = event.and_then(|event| event.signature(&version, &key)).ok()?;
            Some(Reply::ok(json!({ &name: { KEY_ID: signature } })))
        });
    }

    /// What the peer was asked to sign as a policy server, so far.
    pub fn asked_to_sign(&self) -> Vec<Value> {
        let questions = self.seen("sign").into_iter().filter(is_question);
        questions.map(|request| request.body).collect()
    }

    /// An event with the signature that the peer gives as a policy server.
    pub fn with_policy(&self, event: &Event, version: &str, key: &Key) -> anyhow::Result<Event> {
        let signature = event.signature(version, key)?;
        Ok(event.tampered(|pdu| pdu["signatures"][&self.name][KEY_ID] = signature.into()))
    }
}

fn is_question(request: &Received) -> bool {
    request.method == "POST" && request.path == "/_matrix/policy/v1/sign"
}
