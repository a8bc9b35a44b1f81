//! The nodes of a state snapshot and their compact form in the database.
//!
//! The first byte of a node is its version and kind. Numbers are variable-length (7 bits a byte,
//! lowest first), strings and lists are preceded by their length. Frequent event types are one
//! byte; event IDs that are URL-safe hashes (since room version 4) are their 32 bytes.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut as _, Bytes, BytesMut};
use ruma::{EventId, OwnedEventId};

use super::StateKey;

const LEAF: u8 = 0x10;
const INNER: u8 = 0x11;

/// Event types with a one-byte form, numbered from 1. Only ever append to this list.
const FREQUENT_TYPES: [&str; 18] = [
    "m.room.member",
    "m.room.create",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.aliases",
    "m.room.guest_access",
    "m.room.encryption",
    "m.room.server_acl",
    "m.room.tombstone",
    "m.room.third_party_invite",
    "m.room.pinned_events",
    "m.space.child",
    "m.space.parent",
];

/// A node of a snapshot. Immutable, named by the keyed hash of its encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// The entries of a small subtree, sorted by key.
    Leaf(Vec<Entry>),
    /// A subtree too large for one leaf.
    Inner {
        /// How many entries are below.
        count: u64,
        /// The non-empty children by the digit of the path that leads to them, ascending.
        children: Vec<(u8, i64)>,
    },
}

/// One entry of a room's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The type and state key.
    pub key: StateKey,
    /// The event there.
    pub event_id: OwnedEventId,
}

/// A stored node that cannot be read: the database is damaged or newer than this program.
#[derive(Debug, thiserror::Error)]
#[error("state node cannot be decoded")]
pub struct NodeError;

impl Node {
    /// The node's form in the database.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Leaf(entries) => {
                out.put_u8(LEAF);
                put_number(&mut out, entries.len() as u64);
                for entry in entries {
                    put_type(&mut out, &entry.key.0.to_string());
                    put_text(&mut out, &entry.key.1);
                    put_event_id(&mut out, &entry.event_id);
                }
            }
            Self::Inner { count, children } => {
                out.put_u8(INNER);
                put_number(&mut out, *count);
                let bitmap = children.iter().fold(0_u32, |bits, (digit, _)| bits | 1 << digit);
                put_number(&mut out, bitmap.into());
                for (_, id) in children {
                    out.put_i64(*id);
                }
            }
        }
        out.freeze()
    }

    /// Reads a node from the database.
    ///
    /// # Errors
    ///
    /// [`NodeError`] when these are not the bytes of a node.
    pub fn decode(data: &[u8]) -> Result<Self, NodeError> {
        let mut reader = Reader(data);
        let node = match reader.byte()? {
            LEAF => reader.leaf()?,
            INNER => reader.inner()?,
            _ => return Err(NodeError),
        };
        if reader.0.is_empty() { Ok(node) } else { Err(NodeError) }
    }
}

fn put_number(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

fn put_text(out: &mut BytesMut, text: &str) {
    put_number(out, text.len() as u64);
    out.put_slice(text.as_bytes());
}

fn put_type(out: &mut BytesMut, name: &str) {
    match (1..).zip(FREQUENT_TYPES).find(|(_, frequent)| *frequent == name) {
        Some((code, _)) => out.put_u8(code),
        None => {
            out.put_u8(0);
            put_text(out, name);
        }
    }
}

fn put_event_id(out: &mut BytesMut, id: &EventId) {
    match hash_of(id) {
        Some(hash) => {
            out.put_u8(1);
            out.put_slice(&hash);
        }
        None => {
            out.put_u8(0);
            put_text(out, id.as_str());
        }
    }
}

/// The 32 bytes of which an event ID is the canonical base64 form.
fn hash_of(id: &EventId) -> Option<[u8; 32]> {
    let encoded = id.as_str().strip_prefix('$')?;
    URL_SAFE_NO_PAD.decode(encoded).ok()?.try_into().ok()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], NodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(NodeError)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, NodeError> {
        self.take(1)?.first().copied().ok_or(NodeError)
    }

    fn number(&mut self) -> Result<u64, NodeError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(NodeError)
    }

    fn text(&mut self) -> Result<&'a str, NodeError> {
        let length = usize::try_from(self.number()?).map_err(|_| NodeError)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| NodeError)
    }

    fn event_type(&mut self) -> Result<&'a str, NodeError> {
        match self.byte()? {
            0 => self.text(),
            code => FREQUENT_TYPES.get(usize::from(code) - 1).copied().ok_or(NodeError),
        }
    }

    fn event_id(&mut self) -> Result<OwnedEventId, NodeError> {
        let id = match self.byte()? {
            0 => OwnedEventId::try_from(self.text()?),
            1 => OwnedEventId::try_from(format!("${}", URL_SAFE_NO_PAD.encode(self.take(32)?))),
            _ => return Err(NodeError),
        };
        id.map_err(|_| NodeError)
    }

    fn leaf(&mut self) -> Result<Node, NodeError> {
        let mut entries = Vec::new();
        for _ in 0..self.number()? {
            let key = (self.event_type()?.into(), self.text()?.to_owned());
            entries.push(Entry { key, event_id: self.event_id()? });
        }
        Ok(Node::Leaf(entries))
    }

    fn inner(&mut self) -> Result<Node, NodeError> {
        let count = self.number()?;
        let bitmap = u32::try_from(self.number()?).map_err(|_| NodeError)?;
        let mut children = Vec::new();
        for digit in (0..32_u8).filter(|digit| bitmap & 1 << digit != 0) {
            let id = self.take(8)?.try_into().map_err(|_| NodeError)?;
            children.push((digit, i64::from_be_bytes(id)));
        }
        Ok(Node::Inner { count, children })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn round_trip() {
        let entry = |kind: &str, key: &str, id: &str| Entry {
            key: (kind.into(), key.to_owned()),
            event_id: id.try_into().unwrap(),
        };
        let leaf = Node::Leaf(vec![
            entry("m.room.member", "@a:b", "$aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUA"),
            entry("x.y", "", "$old:server"),
            // Not the canonical form of any hash: its last bits are not zero.
            entry("m.space.parent", "é", "$aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUB"),
        ]);
        assert_eq!(Node::decode(&leaf.encode()).unwrap(), leaf);
        let children = vec![(0, -1), (7, i64::MIN), (31, 5)];
        let inner = Node::Inner { count: 1000, children };
        assert_eq!(Node::decode(&inner.encode()).unwrap(), inner);
    }

    proptest! {
        /// Damaged bytes give an error, never a panic.
        #[test]
        fn survives_any_bytes(data in prop::collection::vec(any::<u8>(), 0..64)) {
            for first in [LEAF, INNER] {
                let _ = Node::decode(&[&[first], data.as_slice()].concat());
            }
        }
    }
}
