//! Policy servers: a server that a room names, whose signature an event needs beside its own.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#policy-servers>

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use ruma::{
    OwnedServerName,
    events::StateEventType,
    room_version_rules::RoomVersionRules,
    serde::{Base64, base64::Standard, base64::UrlSafe},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{batch::Batch, partial, room, serve::access};
use crate::{
    Engine,
    ask::{self, AskError},
    events::{
        Pdu,
        sign::add_signature,
        verify::{POLICY_KEY_ID, is_signed_by},
    },
    internal::Internal,
    remote::Limits,
};

/// The type of the state event that names a room's policy server.
const KIND: &str = "m.room.policy";

/// What asking may cost: somebody waits for it.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), max_body: 64 * 1024 };

/// How long the words of a policy server are that a client is told, in characters.
const LONGEST: usize = 512;

/// Why a policy server's signature is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It refuses, in the words that the specification has for that.
    #[error("{errcode}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The errcode, one of those that the specification lists.
        errcode: String,
        /// What it says about it.
        message: String,
    },
    /// It does not answer, or with what is no signature of its.
    #[error("the room's policy server does not answer")]
    Unavailable,
    /// This server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// The policy server of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyServer {
    via: OwnedServerName,
    /// Its public key. With one that is none no signature is valid.
    public_key: Vec<u8>,
}

impl PolicyServer {
    /// Reads the content of an `m.room.policy` event; `None` when that names none.
    fn read(content: &RawValue) -> Option<Self> {
        #[derive(Deserialize)]
        struct Content {
            via: OwnedServerName,
            public_keys: Keys,
        }
        #[derive(Deserialize)]
        struct Keys {
            ed25519: String,
        }
        let Content { via, public_keys } = serde_json::from_str(content.get()).ok()?;
        // The specification's own example is in the other alphabet.
        let key = Base64::<Standard>::parse(&public_keys.ed25519).map(Base64::into_inner);
        let key =
            key.or_else(|_| Base64::<UrlSafe>::parse(&public_keys.ed25519).map(Base64::into_inner));
        Some(Self { via, public_key: key.unwrap_or_default() })
    }

    /// Whether an event has this server's signature or needs none.
    #[must_use]
    pub fn lets_through(&self, pdu: &Pdu, rules: &RoomVersionRules) -> bool {
        is_exempt(&pdu.kind.to_string(), pdu.state_key.as_deref())
            || is_signed_by(pdu, (&self.via, POLICY_KEY_ID, &self.public_key), rules)
    }
}

/// Whether an event of a type and state key is sent without asking: that which names the policy server,
/// so that one that is out of order can be replaced.
#[must_use]
pub fn is_exempt(kind: &str, state_key: Option<&str>) -> bool {
    kind == KIND && state_key == Some("")
}

/// The policy server that the batch's room uses: which its current state names, and that is in it.
///
/// # Errors
///
/// When the database fails.
pub async fn of(batch: &Batch) -> Result<Option<PolicyServer>, Internal> {
    let key = (StateEventType::from(KIND), String::new());
    let state = batch.state(batch.room.row.current_state, std::slice::from_ref(&key)).await?;
    let server = state.get(&key).and_then(|event| PolicyServer::read(&event.content));
    let Some(server) = server else { return Ok(None) };
    let (engine, room_id) = (&batch.engine, &batch.room.id);
    let is_inside = access::is_in_room(engine, room_id, &server.via).await?
        || partial::is_assumed(engine, room_id, &server.via).await?;
    Ok(is_inside.then_some(server))
}

/// The event with the signature of its room's policy server, where there is one and it is not there yet. No
/// room may be held meanwhile.
///
/// # Errors
///
/// See [`PolicyError`].
pub async fn signed(engine: &Engine, pdu: Arc<Pdu>) -> Result<Arc<Pdu>, PolicyError> {
    let Some(room) = room::load(engine, &pdu.room_id).await? else { return Ok(pdu) };
    match of(&Batch::new(engine, &room)).await? {
        Some(server) if !server.lets_through(&pdu, room.rules()) => {
            ask(engine, &server, &pdu, room.rules()).await
        }
        _ => Ok(pdu),
    }
}

/// Asks a policy server to sign an event.
///
/// # Errors
///
/// See [`PolicyError`].
pub async fn ask(
    engine: &Engine,
    server: &PolicyServer,
    pdu: &Arc<Pdu>,
    rules: &RoomVersionRules,
) -> Result<Arc<Pdu>, PolicyError> {
    let path = "/_matrix/policy/v1/sign".to_owned();
    let answer: Result<BTreeMap<String, BTreeMap<String, String>>, AskError> =
        ask::send(engine, &server.via, Method::POST, path, &pdu.json, LIMITS).await;
    let answer = answer.map_err(|error| refusal(server, &error))?;
    let signature = answer.get(server.via.as_str()).and_then(|keys| keys.get(POLICY_KEY_ID));
    let signed =
        signature.and_then(|it| add_signature(pdu, &server.via, POLICY_KEY_ID, it, rules).ok());
    match signed.filter(|signed| server.lets_through(signed, rules)) {
        Some(signed) => Ok(Arc::new(signed)),
        None => {
            tracing::info!(server = %server.via, "a policy server's answer has no valid signature");
            Err(PolicyError::Unavailable)
        }
    }
}

/// What an answer means. "If the Policy Server returned an error, that error SHOULD be provided to the
/// client verbatim": as far as it is one that the specification lists for this. Others would have clients
/// do what no policy server is to decide, such as to log out.
fn refusal(server: &PolicyServer, error: &AskError) -> PolicyError {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        error: String,
    }
    tracing::info!(server = %server.via, %error, "a policy server does not sign an event");
    let AskError::Refused { status, errcode, body } = error else {
        return PolicyError::Unavailable;
    };
    let is_listed = matches!(
        (status.as_u16(), errcode.as_str()),
        (400, "M_BAD_JSON" | "M_NOT_JSON" | "M_FORBIDDEN")
            | (403, "M_FORBIDDEN")
            | (404, "M_NOT_FOUND" | "M_UNRECOGNIZED")
            | (429, "M_LIMIT_EXCEEDED")
    );
    if !is_listed {
        return PolicyError::Unavailable;
    }
    let said = serde_json::from_slice::<Body>(body).map_or_else(|_| String::new(), |it| it.error);
    let message = said.chars().take(LONGEST).collect();
    PolicyError::Refused { status: *status, errcode: errcode.clone(), message }
}
