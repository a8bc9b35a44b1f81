//! Messages from a device to devices, here and elsewhere.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid>

use std::collections::BTreeMap;

use ruma::{DeviceId, OwnedServerName, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use starling_storage::{
    Change, Claim, CommitError, Fact,
    events::{ClientRequest, ClientTransaction},
    to_device::Write,
};

use super::{
    inbox::{self, Messages},
    shapes::LONGEST_NAME,
};
use crate::{Engine, Internal, rng};

/// How many messages one request may hold.
pub(crate) const MOST_MESSAGES: usize = 10_000;
/// How many bytes the content of a message may have.
pub(crate) const LARGEST_CONTENT: usize = 64 * 1024;
/// How many bytes of contents go into one EDU, if there are several.
const FULL_EDU: usize = 48 * 1024;

/// Messages that a device sends.
#[derive(Debug)]
pub struct Sending {
    /// Their type.
    pub kind: String,
    /// The client's ID for the request.
    pub txn_id: String,
    /// The contents.
    pub messages: Messages,
}

/// Why messages are not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The type has no name that it can have.
    #[error("the type is empty or too long")]
    BadType,
    /// Somebody whom the messages are for is no user.
    #[error("{0} is no user ID")]
    BadUser(String),
    /// A content is no object.
    #[error("the content of a message is an object")]
    BadContent,
    /// There are more messages than there may be, or one is too large.
    #[error("the messages are too many or too large")]
    TooLarge,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Sends messages once, however often the device asks for it.
///
/// # Errors
///
/// [`SendError`].
pub async fn send(
    engine: &Engine,
    sender: &UserId,
    device: &DeviceId,
    sending: Sending,
) -> Result<(), SendError> {
    let Sending { kind, txn_id, messages } = sending;
    let (here, there) = check(engine, &kind, messages)?;
    let mut change = Change::new();
    change.claim(Claim::Transaction(ClientTransaction {
        request: ClientRequest::new(
            sender.as_str(),
            device.as_str(),
            &format!("/sendToDevice/{kind}"),
            &txn_id,
        ),
        event_id: String::new(),
        created_ts: engine.clock.now_ms(),
    }));
    let mut conn = engine.storage.read().await.map_err(Internal::from)?;
    inbox::deliver(&mut conn, &mut change, sender, &kind, &here).await?;
    drop(conn);
    for (server, messages) in there {
        queue(&mut change, sender, &kind, &server, messages)?;
    }
    match engine.storage.commit(change).await {
        Ok(_) | Err(CommitError::TransactionTaken(_)) => Ok(()),
        Err(error) => Err(Internal::from(error).into()),
    }
}

type ByServer = BTreeMap<OwnedServerName, Messages>;

/// The messages for users here, and for those of other servers.
fn check(
    engine: &Engine,
    kind: &str,
    messages: Messages,
) -> Result<(Messages, ByServer), SendError> {
    if kind.is_empty() || kind.len() > LONGEST_NAME {
        return Err(SendError::BadType);
    }
    let mut contents = messages.values().flat_map(|devices| devices.values());
    if contents.any(|content| !content.get().starts_with('{')) {
        return Err(SendError::BadContent);
    }
    let sizes: Vec<usize> =
        messages.values().flat_map(|it| it.values()).map(|content| content.get().len()).collect();
    if sizes.len() > MOST_MESSAGES || sizes.iter().any(|size| *size > LARGEST_CONTENT) {
        return Err(SendError::TooLarge);
    }
    let (mut here, mut there) = (Messages::new(), ByServer::new());
    for (user, devices) in messages {
        let Ok(id) = <&UserId>::try_from(user.as_str()) else {
            return Err(SendError::BadUser(user));
        };
        let server = id.server_name().to_owned();
        match server == engine.config.server_name {
            true => here.insert(user, devices),
            false => there.entry(server).or_default().insert(user, devices),
        };
    }
    Ok((here, there))
}

/// What goes to another server in one EDU.
#[derive(Serialize)]
struct Direct<'a> {
    sender: &'a UserId,
    #[serde(rename = "type")]
    kind: &'a str,
    message_id: String,
    messages: BTreeMap<String, BTreeMap<String, Box<RawValue>>>,
}

fn queue(
    change: &mut Change,
    sender: &UserId,
    kind: &str,
    server: &OwnedServerName,
    messages: Messages,
) -> Result<(), Internal> {
    let (mut part, mut size) = (Messages::new(), 0);
    let all = messages.into_iter().flat_map(|(user, devices)| {
        devices.into_iter().map(move |(device, content)| (user.clone(), device, content))
    });
    for (user, device, content) in all {
        let more = user.len() + device.len() + content.get().len();
        if size > 0 && size + more > FULL_EDU {
            put(change, sender, kind, server, std::mem::take(&mut part))?;
            size = 0;
        }
        size += more;
        part.entry(user).or_default().insert(device, content);
    }
    put(change, sender, kind, server, part)
}

fn put(
    change: &mut Change,
    sender: &UserId,
    kind: &str,
    server: &OwnedServerName,
    messages: Messages,
) -> Result<(), Internal> {
    if messages.is_empty() {
        return Ok(());
    }
    let direct = Direct { sender, kind, message_id: rng::token::<16>(), messages };
    let (server, json) = (server.to_string(), serde_json::to_string(&direct)?);
    let at = change.fact(Fact::Owed { server: server.clone() });
    change.write(Write::Send { server, json, at });
    Ok(())
}
