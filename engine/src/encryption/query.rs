//! Whose devices have which keys.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery>

use std::collections::BTreeMap;

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use starling_storage::{
    Conn,
    encryption::{
        cross_signing::{self, SignatureRow},
        device_keys, remote_lists,
    },
};

use super::remote;
use crate::{Engine, Internal};

/// By user: of which devices the keys are wanted; of none: of all.
pub type Wanted = BTreeMap<String, Vec<String>>;

/// Keys by user.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Keys {
    /// The identity keys of their devices.
    #[serde(default)]
    pub device_keys: BTreeMap<String, Map<String, Value>>,
    /// The keys by which they sign their other keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub master_keys: BTreeMap<String, Value>,
    /// The keys by which they sign their devices.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub self_signing_keys: BTreeMap<String, Value>,
    /// The keys by which they sign other users; only their own is told to anybody.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_signing_keys: BTreeMap<String, Value>,
}

/// Who asks for keys of users.
#[derive(Clone, Copy, Debug)]
pub enum Asking<'a> {
    /// A user of this deployment.
    User(&'a UserId),
    /// Another server; whether it learns what devices are called.
    Server {
        /// Whether a user of the server shares a room with somebody here.
        names: bool,
    },
}

/// Adds the keys of users of this deployment. Whoever is none has no devices.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn local(
    conn: &mut Conn,
    asking: Asking<'_>,
    wanted: &Wanted,
    keys: &mut Keys,
) -> Result<(), Internal> {
    let users: Vec<String> = wanted.keys().cloned().collect();
    for user in &users {
        keys.device_keys.entry(user.clone()).or_default();
    }
    for row in device_keys::of_users(conn, &users).await? {
        let Some(json) = &row.json else { continue };
        let mut device: Value = serde_json::from_str(json)?;
        if let (Some(name), true) = (row.display_name, asking.learns_names()) {
            device["unsigned"] = json!({ "device_display_name": name });
        }
        add_device(wanted, keys, row.user_id, row.device_id, device);
    }
    add_signing_keys(conn, asking, &users, keys).await
}

/// Adds what is known here of users of other servers.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn cached(
    conn: &mut Conn,
    asking: Asking<'_>,
    wanted: &Wanted,
    keys: &mut Keys,
) -> Result<(), Internal> {
    let users: Vec<String> = wanted.keys().cloned().collect();
    for user in &users {
        keys.device_keys.entry(user.clone()).or_default();
    }
    for row in remote_lists::devices(conn, &users).await? {
        let mut device: Value = serde_json::from_str(&row.json)?;
        if let Some(name) = row.display_name {
            device["unsigned"] = json!({ "device_display_name": name });
        }
        add_device(wanted, keys, row.user_id, row.device_id, device);
    }
    add_signing_keys(conn, asking, &users, keys).await
}

fn add_device(wanted: &Wanted, keys: &mut Keys, user: String, device: String, value: Value) {
    let is_wanted =
        wanted.get(&user).is_some_and(|devices| devices.is_empty() || devices.contains(&device));
    if is_wanted {
        keys.device_keys.entry(user).or_default().insert(device, value);
    }
}

async fn add_signing_keys(
    conn: &mut Conn,
    asking: Asking<'_>,
    users: &[String],
    keys: &mut Keys,
) -> Result<(), Internal> {
    for (user, usage, json) in cross_signing::of_users(conn, users).await? {
        let key: Value = serde_json::from_str(&json)?;
        match usage.as_str() {
            "master" => keys.master_keys.insert(user, key),
            "self_signing" => keys.self_signing_keys.insert(user, key),
            "user_signing" if asking.is_user(&user) => keys.user_signing_keys.insert(user, key),
            _ => None,
        };
    }
    if let Asking::User(signer) = asking {
        add_own_signatures(conn, signer, users, keys).await?;
    }
    Ok(())
}

/// What the asking user has signed of the others, which only they see.
pub(crate) async fn add_own_signatures(
    conn: &mut Conn,
    signer: &UserId,
    users: &[String],
    keys: &mut Keys,
) -> Result<(), Internal> {
    for row in cross_signing::signed_by(conn, signer.as_str(), users).await? {
        let SignatureRow { signer, user_id, key_id, signing_key_id, signature } = row;
        let Some(key) = keys.master_keys.get_mut(&user_id) else { continue };
        let name = format!("ed25519:{key_id}");
        if key["keys"].get(&name).is_some() {
            key["signatures"][&signer][&signing_key_id] = Value::String(signature);
        }
    }
    Ok(())
}

impl Asking<'_> {
    fn learns_names(self) -> bool {
        matches!(self, Self::User(_) | Self::Server { names: true })
    }

    fn is_user(self, user: &str) -> bool {
        matches!(self, Self::User(asking) if asking.as_str() == user)
    }
}

/// Keys, and the servers that did not answer.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    /// The keys.
    #[serde(flatten)]
    pub keys: Keys,
    /// The servers, each with a word about it.
    pub failures: BTreeMap<String, Value>,
}

/// The keys that a user asks for, also of users of other servers, for which it is waited so many
/// milliseconds.
///
/// # Errors
///
/// When this server fails.
pub async fn query(
    engine: &Engine,
    user: &UserId,
    wanted: BTreeMap<OwnedUserId, Vec<String>>,
    timeout_ms: Option<u64>,
) -> Result<Answer, Internal> {
    let mut answer = Answer::default();
    let own = engine.config.server_name.clone();
    let (here, there): (BTreeMap<_, _>, BTreeMap<_, _>) =
        wanted.into_iter().partition(|(user, _)| user.server_name() == own);
    let here: Wanted =
        here.into_iter().map(|(user, devices)| (user.to_string(), devices)).collect();
    let mut conn = engine.storage.snapshot().await?;
    local(&mut conn, Asking::User(user), &here, &mut answer.keys).await?;
    drop(conn);
    for (server, keys) in remote::query(engine, user, there, timeout_ms).await {
        match keys {
            Ok(Some(keys)) => answer.keys.add(keys),
            Ok(None) => drop(answer.failures.insert(server.to_string(), remote::failure())),
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

impl Keys {
    pub(crate) fn add(&mut self, other: Self) {
        self.device_keys.extend(other.device_keys);
        self.master_keys.extend(other.master_keys);
        self.self_signing_keys.extend(other.self_signing_keys);
        self.user_signing_keys.extend(other.user_signing_keys);
    }
}
