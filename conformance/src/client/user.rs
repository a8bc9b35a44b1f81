//! A registered account and the verbs that every suite needs.

use anyhow::{Context as _, Result};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;

use super::{Answer, Api, path, text};
use crate::{
    random,
    servers::{SHARED_SECRET, Server},
};

/// The password of every account that [`User::register`] makes.
pub const PASSWORD: &str = "correct horse battery staple";

/// An account that is logged in on one device.
#[derive(Clone, Debug)]
pub struct User {
    /// Requests with this user's access token.
    pub api: Api,
    /// The full user id.
    pub id: String,
    /// The device id.
    pub device: String,
    /// The access token.
    pub token: String,
}

impl User {
    /// Registers a new account whose name begins with `name`.
    pub async fn register(server: &Server, name: &str) -> Result<Self> {
        let api = Api::new(server)?;
        let username = format!("{name}-{}", random::suffix()?);
        let body = json!({ "username": username, "password": PASSWORD });
        Self::from_login(&api, api.register(body).await?)
    }

    /// Makes a new account that administers the server, by the registration secret of the tests.
    pub async fn admin(server: &Server, name: &str) -> Result<Self> {
        let (api, path) = (Api::new(server)?, "/_synapse/admin/v1/register");
        let nonce = api.get(path).await?.ok()?;
        let (nonce, username) = (text(&nonce, "/nonce")?, format!("{name}-{}", random::suffix()?));
        let message = [nonce, &username, PASSWORD, "admin"].join("\0");
        let mut mac = Hmac::<Sha1>::new_from_slice(SHARED_SECRET.as_bytes())?;
        mac.update(message.as_bytes());
        let mac: String =
            mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let body = json!({ "nonce": nonce, "username": username, "password": PASSWORD,
                           "admin": true, "mac": mac });
        Self::from_login(&api, api.post(path, body).await?)
    }

    /// Logs the account in once more, on a new device.
    pub async fn login(&self) -> Result<Self> {
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": self.id },
            "password": PASSWORD,
        });
        Self::from_login(&self.api, self.api.post("/_matrix/client/v3/login", body).await?)
    }

    /// The account of a successful answer to `/register` or `/login`.
    pub fn from_login(api: &Api, answer: Answer) -> Result<Self> {
        let body = answer.ok()?;
        let token = text(&body, "/access_token")?;
        Ok(Self {
            api: api.with_token(token),
            id: text(&body, "/user_id")?.to_owned(),
            device: text(&body, "/device_id")?.to_owned(),
            token: token.to_owned(),
        })
    }

    /// Creates a room and gives back its id.
    pub async fn create_room(&self, body: Value) -> Result<String> {
        let body = self.api.post("/_matrix/client/v3/createRoom", body).await?.ok()?;
        Ok(text(&body, "/room_id")?.to_owned())
    }

    /// Creates a room that everybody can join.
    pub async fn create_public_room(&self) -> Result<String> {
        self.create_room(json!({ "preset": "public_chat" })).await
    }

    /// Invites `user` to a room.
    pub async fn invite(&self, room: &str, user: &str) -> Result<()> {
        self.membership(room, "invite", json!({ "user_id": user })).await
    }

    /// Removes `user` from a room.
    pub async fn kick(&self, room: &str, user: &str) -> Result<()> {
        self.membership(room, "kick", json!({ "user_id": user, "reason": "kicked" })).await
    }

    /// Bans `user` from a room.
    pub async fn ban(&self, room: &str, user: &str) -> Result<()> {
        self.membership(room, "ban", json!({ "user_id": user, "reason": "banned" })).await
    }

    /// Lifts the ban of `user`.
    pub async fn unban(&self, room: &str, user: &str) -> Result<()> {
        self.membership(room, "unban", json!({ "user_id": user })).await
    }

    /// Leaves a room, or refuses an invitation to it.
    pub async fn leave(&self, room: &str) -> Result<()> {
        self.membership(room, "leave", json!({})).await
    }

    async fn membership(&self, room: &str, verb: &str, body: Value) -> Result<()> {
        let target = path("/_matrix/client/v3/rooms/{}/{}", &[room, verb]);
        self.api.post(&target, body).await?.ok()?;
        Ok(())
    }

    /// Joins a room by id or alias, through `via` when the own server is not in it.
    pub async fn join(&self, room: &str, via: &[&str]) -> Result<String> {
        let body = self.try_join(room, via).await?.ok()?;
        Ok(text(&body, "/room_id")?.to_owned())
    }

    /// Joins a room or is refused.
    pub async fn try_join(&self, room: &str, via: &[&str]) -> Result<Answer> {
        let mut target = path("/_matrix/client/v3/join/{}", &[room]);
        for (index, server) in via.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            // Both names: `via` is the newer one, `server_name` the one that older servers know.
            target.push_str(&path("via={}&server_name={}", &[server, server]));
        }
        self.api.post(&target, json!({})).await
    }

    /// Sends a text message under a new transaction id and gives back the event id.
    pub async fn say(&self, room: &str, body: &str) -> Result<String> {
        self.send(room, "m.room.message", json!({ "msgtype": "m.text", "body": body })).await
    }

    /// Sends an event under a new transaction id and gives back the event id.
    pub async fn send(&self, room: &str, kind: &str, content: Value) -> Result<String> {
        let body = self.try_send(room, kind, &random::suffix()?, content).await?.ok()?;
        Ok(text(&body, "/event_id")?.to_owned())
    }

    /// Sends an event under this transaction id, or is refused.
    pub async fn try_send(
        &self,
        room: &str,
        kind: &str,
        transaction: &str,
        content: Value,
    ) -> Result<Answer> {
        let template = "/_matrix/client/v3/rooms/{}/send/{}/{}";
        self.api.put(&path(template, &[room, kind, transaction]), content).await
    }

    /// Sets state and gives back the event id.
    pub async fn set_state(
        &self,
        room: &str,
        kind: &str,
        key: &str,
        content: Value,
    ) -> Result<String> {
        let target = path("/_matrix/client/v3/rooms/{}/state/{}/{}", &[room, kind, key]);
        let body = self.api.put(&target, content).await?.ok()?;
        Ok(text(&body, "/event_id")?.to_owned())
    }

    /// The content of current state, or the refusal.
    pub async fn state(&self, room: &str, kind: &str, key: &str) -> Result<Answer> {
        self.api.get(&path("/_matrix/client/v3/rooms/{}/state/{}/{}", &[room, kind, key])).await
    }

    /// Redacts an event and gives back the id of the redaction.
    pub async fn redact(&self, room: &str, event: &str) -> Result<String> {
        let template = "/_matrix/client/v3/rooms/{}/redact/{}/{}";
        let target = path(template, &[room, event, &random::suffix()?]);
        let body = self.api.put(&target, json!({ "reason": "redacted" })).await?.ok()?;
        Ok(text(&body, "/event_id")?.to_owned())
    }

    /// One event of a room, or the refusal.
    pub async fn event(&self, room: &str, event: &str) -> Result<Answer> {
        self.api.get(&path("/_matrix/client/v3/rooms/{}/event/{}", &[room, event])).await
    }

    /// The whole history of a room that the user may see, oldest event first.
    pub async fn history(&self, room: &str) -> Result<Vec<Value>> {
        let mut events = self.history_back_to(room, None, |_| false).await?;
        events.reverse();
        Ok(events)
    }

    /// Pages backwards from `from`, or from the end, until `stop` or the beginning of the room;
    /// newest event first.
    pub(super) async fn history_back_to(
        &self,
        room: &str,
        from: Option<&str>,
        stop: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        let mut from = from.map(str::to_owned);
        loop {
            let mut target = path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100", &[room]);
            if let Some(token) = &from {
                target.push_str(&path("&from={}", &[token]));
            }
            let page = self.api.get(&target).await?.ok()?;
            let chunk = page["chunk"].as_array().context("no chunk")?;
            for event in chunk {
                if stop(event) {
                    return Ok(events);
                }
                events.push(event.clone());
            }
            let end = page["end"].as_str().map(str::to_owned);
            if end.is_none() || end == from {
                return Ok(events);
            }
            from = end;
        }
    }
}
