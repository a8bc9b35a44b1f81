//! What a server is owed beside events and must not miss: messages to devices, and changes of
//! devices. It waits in the database until the server has taken it.

use ruma::{DeviceId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use starling_storage::{
    Change, Conn,
    encryption::{
        self, cross_signing, device_keys,
        outbox::{self, OutboxRow, SIGNING_KEYS},
    },
    to_device,
};

use crate::Internal;

/// How many bytes of them go into one transaction, if there is more than one.
const FULL: usize = 1024 * 1024;

/// EDUs, and the rows of which they are made.
#[derive(Debug, Default)]
pub(super) struct Durable {
    pub(super) edus: Vec<Box<RawValue>>,
    pub(super) rows: Vec<Sent>,
    size: usize,
}

/// A row that is in a transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Sent {
    /// The message to devices of that position.
    Message(i64),
    /// A device as it was at a position, after which the server knows all changes up to another.
    Device { user_id: String, device_id: String, pos: i64, known: i64 },
}

impl Durable {
    /// What a server is owed first, at most `limit` EDUs.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub(super) async fn read(
        conn: &mut Conn,
        server: &str,
        limit: usize,
    ) -> Result<Self, Internal> {
        let mut durable = Self::default();
        let page = |left: usize| i64::try_from(left).unwrap_or(i64::MAX);
        for (pos, content) in to_device::outgoing(conn, server, page(limit)).await? {
            let content: Box<RawValue> = serde_json::from_str(&content)?;
            if !durable.add("m.direct_to_device", &content, Sent::Message(pos))? {
                return Ok(durable);
            }
        }
        let left = limit.saturating_sub(durable.edus.len());
        if left > 0 {
            let rows = outbox::next(conn, server, page(left)).await?;
            for of_user in rows.chunk_by(|a, b| a.user_id == b.user_id) {
                if !durable.add_devices(conn, of_user).await? {
                    break;
                }
            }
        }
        Ok(durable)
    }

    /// The changes of a user's devices, each named as following the one before.
    async fn add_devices(&mut self, conn: &mut Conn, rows: &[OutboxRow]) -> Result<bool, Internal> {
        let mut known = rows.iter().map(|row| row.prev_pos).min().unwrap_or(0);
        for row in rows {
            let added = match row.device_id.as_str() {
                SIGNING_KEYS => {
                    let content = signing_keys(conn, &row.user_id).await?;
                    self.add("m.signing_key_update", &content, sent(row, known))?
                }
                _ => {
                    let content = device(conn, row, known).await?;
                    known = row.pos;
                    self.add("m.device_list_update", &content, sent(row, known))?
                }
            };
            if !added {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds an EDU, if it still fits in.
    fn add(&mut self, kind: &str, content: &impl Serialize, row: Sent) -> Result<bool, Internal> {
        #[derive(Serialize)]
        struct Edu<'a, T> {
            edu_type: &'a str,
            content: &'a T,
        }
        let edu = to_raw_value(&Edu { edu_type: kind, content })?;
        let size = self.size + edu.get().len();
        if self.size > 0 && size > FULL {
            return Ok(false);
        }
        self.size = size;
        self.edus.push(edu);
        self.rows.push(row);
        Ok(true)
    }
}

fn sent(row: &OutboxRow, known: i64) -> Sent {
    let (user_id, device_id) = (row.user_id.clone(), row.device_id.clone());
    Sent::Device { user_id, device_id, pos: row.pos, known }
}

async fn device(conn: &mut Conn, row: &OutboxRow, known: i64) -> Result<Value, Internal> {
    let mut content = json!({
        "user_id": row.user_id,
        "device_id": row.device_id,
        "stream_id": row.pos,
        "prev_id": if known > 0 { vec![known] } else { vec![] },
    });
    let (user, device): (&UserId, &DeviceId) =
        (row.user_id.as_str().try_into()?, row.device_id.as_str().into());
    match device_keys::get(conn, user.as_str(), device.as_str()).await? {
        None => content["deleted"] = json!(true),
        Some(found) => {
            if let Some(keys) = found.json {
                content["keys"] = serde_json::from_str(&keys)?;
            }
            if let Some(name) = found.display_name {
                content["device_display_name"] = json!(name);
            }
        }
    }
    Ok(content)
}

async fn signing_keys(conn: &mut Conn, user_id: &str) -> Result<Value, Internal> {
    let mut content = json!({ "user_id": user_id });
    for (_, usage, key) in cross_signing::of_users(conn, &[user_id.to_owned()]).await? {
        let field = match usage.as_str() {
            "master" => "master_key",
            "self_signing" => "self_signing_key",
            // By what a user signs others is nobody's business.
            _ => continue,
        };
        content[field] = serde_json::from_str(&key)?;
    }
    Ok(content)
}

/// Adds to a change that a server has what was in a transaction.
pub(super) fn taken(change: &mut Change, server: &str, rows: &str) {
    // What was stored by an older version and cannot be read is sent again, which harms nobody.
    let rows: Vec<Sent> = serde_json::from_str(rows).unwrap_or_default();
    for row in rows {
        let server = server.to_owned();
        match row {
            Sent::Message(pos) => change.write(to_device::Write::Sent { server, pos }),
            Sent::Device { user_id, device_id, pos, known } => {
                let row = OutboxRow { server, user_id, device_id, pos, ..OutboxRow::default() };
                change.write(encryption::Write::Outbox(outbox::Write::Told { row, known }));
            }
        }
    }
}
