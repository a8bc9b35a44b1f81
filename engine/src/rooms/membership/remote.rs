//! The handshakes by which users of ours join, leave and knock on rooms that this server is not in:
//! a server in the room gives a template, and takes the event that we make of it.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedServerName, RoomId, RoomVersionId, ServerName,
    UserId, room_version_rules::RoomVersionRules,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{MembershipError, content::Member};
use crate::{
    Engine,
    ask::{self, AskError},
    events::{
        Canonical, Pdu,
        sign::{Expectation, Role, sign_event},
    },
    remote::Limits,
    rng,
    rooms::versions,
};

/// For templates and small answers.
const SMALL: Limits = Limits { timeout: Duration::from_secs(30), max_body: 1024 * 1024 };

/// For whole rooms.
const LARGE: Limits = Limits { timeout: Duration::from_secs(180), max_body: 256 * 1024 * 1024 };

/// How many servers are asked for help at most.
const MAX_SERVERS: usize = 10;

/// Which handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Joining.
    Join,
    /// Leaving: refusing an invite or taking back a knock.
    Leave,
    /// Knocking.
    Knock,
}

impl Handshake {
    fn membership(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Knock => "knock",
        }
    }

    fn make(self) -> &'static str {
        match self {
            Self::Join => "v1/make_join",
            Self::Leave => "v1/make_leave",
            Self::Knock => "v1/make_knock",
        }
    }

    fn send(self) -> &'static str {
        match self {
            Self::Join => "v2/send_join",
            Self::Leave => "v2/send_leave",
            Self::Knock => "v1/send_knock",
        }
    }
}

/// Who wants what.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// Which handshake.
    pub handshake: Handshake,
    /// The room.
    pub room_id: &'a RoomId,
    /// The user of ours.
    pub user_id: &'a UserId,
    /// What else the event is to say.
    pub member: &'a Member,
}

/// An event that we made of a server's template.
#[derive(Clone, Debug)]
pub struct Made {
    /// The event, signed by us.
    pub pdu: Arc<Pdu>,
    /// The room's version.
    pub version: RoomVersionId,
    /// What holds in it.
    pub rules: RoomVersionRules,
    /// The server that gave the template and is to take the event.
    pub server: OwnedServerName,
}

#[derive(Deserialize)]
struct Template {
    room_version: Option<RoomVersionId>,
    event: Box<RawValue>,
}

/// The servers to ask, without ourselves and each once.
#[must_use]
pub fn candidates(
    engine: &Engine,
    servers: impl IntoIterator<Item = OwnedServerName>,
) -> Vec<OwnedServerName> {
    let mut candidates: Vec<OwnedServerName> = Vec::new();
    for server in servers {
        if server != engine.config.server_name && !candidates.contains(&server) {
            candidates.push(server);
        }
    }
    candidates.truncate(MAX_SERVERS);
    candidates
}

impl Wish<'_> {
    /// Asks a server for a template and makes the event of it.
    ///
    /// # Errors
    ///
    /// [`MembershipError::RemoteFailed`] when another server may be asked instead, or why not.
    pub async fn make(&self, server: &ServerName) -> Result<Made, MembershipError> {
        let path =
            ask::path(self.handshake.make(), &[self.room_id.as_str(), self.user_id.as_str()]);
        let versions: Vec<(&str, &str)> =
            versions::names().map(|version| ("ver", version)).collect();
        let path = match self.handshake {
            Handshake::Leave => path,
            Handshake::Join | Handshake::Knock => ask::query(path, &versions),
        };
        let template: Template =
            ask::get(self.engine, server, path, SMALL).await.map_err(refusal)?;
        // A server that names no version means the first.
        let version = template.room_version.unwrap_or(RoomVersionId::V1);
        let rules = versions::rules(&version)
            .ok_or_else(|| MembershipError::IncompatibleVersion(version.to_string()))?;
        let pdu = Arc::new(self.fill(&template.event, &rules).await?);
        Ok(Made { pdu, version, rules, server: server.to_owned() })
    }

    /// Hands the event to the server that gave the template.
    ///
    /// # Errors
    ///
    /// When it does not take it.
    pub async fn send<T: DeserializeOwned>(&self, made: &Made) -> Result<T, MembershipError> {
        let segments = [self.room_id.as_str(), made.pdu.event_id.as_str()];
        let path = ask::path(self.handshake.send(), &segments);
        let (server, body) = (&made.server, &*made.pdu.json);
        ask::send(self.engine, server, Method::PUT, path, &body, SMALL).await.map_err(refusal)
    }

    /// Hands a join to the server that gave the template, and gives back what it answers, unread. With
    /// `omit_members` it may leave members out.
    ///
    /// # Errors
    ///
    /// When it does not take it.
    pub async fn send_join(
        &self,
        made: &Made,
        omit_members: bool,
    ) -> Result<Bytes, MembershipError> {
        let segments = [self.room_id.as_str(), made.pdu.event_id.as_str()];
        let path = ask::path(self.handshake.send(), &segments);
        let path = match omit_members {
            true => ask::query(path, &[("omit_members", "true")]),
            false => path,
        };
        let (server, body) = (&made.server, &*made.pdu.json);
        ask::put_body(self.engine, server, path, &body, LARGE).await.map_err(refusal)
    }

    /// Takes from a template what only a server in the room knows, and says the rest ourselves.
    async fn fill(
        &self,
        template: &RawValue,
        rules: &RoomVersionRules,
    ) -> Result<Pdu, MembershipError> {
        let bad = |error: &dyn std::fmt::Display| {
            MembershipError::RemoteFailed(format!("the template is refused: {error}"))
        };
        let mut event = Canonical::parse(template.get(), rules).map_err(|error| bad(&error))?;
        let authorised_by = self.check(event.object()).map_err(|reason| bad(&reason))?;
        let member = Member { authorised_by, ..self.member.clone() };
        let membership = self.handshake.membership();
        let content = member.content(self.engine, self.user_id, membership).await?;
        let content = Canonical::parse(content.get(), rules)
            .map_err(|error| MembershipError::BadContent(error.to_string()))?;
        let engine = self.engine;
        let object = event.object_mut();
        object.insert("content".into(), CanonicalJsonValue::Object(content.object().clone()));
        object.insert("origin_server_ts".into(), now(engine));
        object.retain(|field, _| TAKEN.contains(&field.as_str()));
        if rules.event_format.require_event_id {
            let id = format!("${}:{}", rng::token::<18>(), engine.config.server_name);
            object.insert("event_id".into(), id.into());
        }
        let expected = Expectation {
            role: Role::Author,
            origin: &engine.config.server_name,
            kind: "m.room.member",
            room_id: Some(self.room_id),
            sender: self.user_id,
            state_key: Some(self.user_id.as_str()),
            membership: Some(membership),
        };
        sign_event(&expected, event, engine.signing_keys.current(), rules)
            .map_err(|error| bad(&error))
    }

    /// "The joining server MUST also verify that the `type`, `room_id`, `sender`, `state_key` and
    /// `content.membership` fields have the expected values."
    fn check(&self, template: &CanonicalJsonObject) -> Result<Option<ruma::OwnedUserId>, String> {
        let text = |object: &CanonicalJsonObject, field: &str| {
            object.get(field).and_then(CanonicalJsonValue::as_str).map(ToOwned::to_owned)
        };
        let content = template.get("content").and_then(CanonicalJsonValue::as_object);
        let content = content.ok_or("it has no content")?;
        for (field, found, expected) in [
            ("type", text(template, "type"), "m.room.member"),
            ("room_id", text(template, "room_id"), self.room_id.as_str()),
            ("sender", text(template, "sender"), self.user_id.as_str()),
            ("state_key", text(template, "state_key"), self.user_id.as_str()),
            ("membership", text(content, "membership"), self.handshake.membership()),
        ] {
            if found.as_deref() != Some(expected) {
                return Err(format!("its {field} is {found:?}"));
            }
        }
        let field = "join_authorised_via_users_server";
        let authorised_by = text(content, field).filter(|_| self.handshake == Handshake::Join);
        authorised_by.map(|id| UserId::parse(id).map_err(|error| error.to_string())).transpose()
    }
}

/// The fields of our event; what a template has beside them is not ours to say.
const TAKEN: [&str; 9] = [
    "auth_events",
    "content",
    "depth",
    "origin_server_ts",
    "prev_events",
    "room_id",
    "sender",
    "state_key",
    "type",
];

fn now(engine: &Engine) -> CanonicalJsonValue {
    let now = ruma::Int::new_saturating(engine.clock.now_ms());
    CanonicalJsonValue::Integer(now)
}

/// What a refusal means for who asked.
fn refusal(error: AskError) -> MembershipError {
    #[derive(Deserialize)]
    struct Incompatible {
        room_version: String,
    }
    if let AskError::Refused { errcode, body, .. } = &error
        && errcode == "M_INCOMPATIBLE_ROOM_VERSION"
    {
        let version = serde_json::from_slice::<Incompatible>(body).map(|it| it.room_version);
        return MembershipError::IncompatibleVersion(version.unwrap_or_default());
    }
    error.into()
}
