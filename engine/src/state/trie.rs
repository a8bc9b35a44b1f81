//! A persistent radix trie: one snapshot of a room's state, sharing all it can with the others.
//!
//! The path of an entry is the keyed hash of its type and state key. A subtree of at most
//! [`Shape::bucket`] entries is one leaf, a larger one an inner node that names its children by
//! the next digit of the path, so the form of a snapshot depends on its content alone: equal
//! states have equal roots, however they came about. Nodes are named by a keyed hash of room and
//! content. As the key is this database's secret, no stranger can choose state keys that make
//! paths long or names collide.
//!
//! All functions read level by level through a [`NodeSource`], many nodes at a time.
//!
//! What one change writes, in nodes and bytes (16 bytes of row keys per node included), and reads,
//! at 100, 5,000 and 50,000 entries; from `cargo run -p starling-engine --example trie_fanout`:
//!
//! | fan-out, bucket | nodes written    | bytes written     | nodes read       |
//! |-----------------|------------------|-------------------|------------------|
//! | 4, 8            | 4.0 / 6.2 / 8.0  | 450 / 611 / 666   | 3.8 / 6.1 / 7.9  |
//! | 8, 8            | 3.1 / 5.1 / 6.0  | 425 / 562 / 625   | 3.0 / 4.6 / 5.8  |
//! | **16, 8**       | 3.1 / 4.0 / 5.1  | 417 / 566 / 714   | 2.7 / 3.8 / 4.7  |
//! | 16, 16          | 2.5 / 4.1 / 4.6  | 756 / 706 / 1,167 | 2.2 / 3.7 / 4.2  |
//! | 32, 16          | 2.0 / 3.0 / 4.0  | 727 / 937 / 960   | 2.0 / 3.0 / 3.9  |
//!
//! Fan-out 16 with leaves of 8 is taken: with some 80 bytes more that a row really costs in a
//! database with its index, it writes the least.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ruma::{OwnedEventId, RoomId};
use sha2::Sha256;

use super::{Node, StateKey, node::Entry};

/// The root of the empty snapshot. There is no node for it.
pub const EMPTY_ROOT: i64 = 0;

/// Bits of a path; two keys that agree in all of them share a leaf of any size.
const PATH_BITS: u32 = 64;

/// Where nodes come from: a cache over the database.
pub trait NodeSource: Sync {
    /// Why a node could not be read; a node that is missing is an error, too.
    type Error;

    /// Reads some nodes of the room, in the order of their IDs.
    fn nodes(
        &self,
        ids: &[i64],
    ) -> impl Future<Output = Result<Vec<Arc<Node>>, Self::Error>> + Send;
}

/// How wide the trie is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bits of the path per level, at most 5: 4 bits make 16 children.
    pub bits: u32,
    /// How many entries a leaf holds at most.
    pub bucket: usize,
}

/// The shape of all stored snapshots. A change of it needs a new node version.
pub const SHAPE: Shape = Shape { bits: 4, bucket: 8 };

/// The snapshots of one room.
#[derive(Clone)]
pub struct Trie {
    /// Keyed with the secret and fed with the room ID.
    hasher: Hmac<Sha256>,
    pub(super) shape: Shape,
}

impl std::fmt::Debug for Trie {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Trie").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Trie {
    /// The snapshots of a room, in the database that has this secret.
    #[must_use]
    pub fn new(secret: &[u8; 32], room_id: &RoomId) -> Self {
        Self::with_shape(secret, room_id, SHAPE)
    }

    /// As [`Trie::new`], in another shape: for measuring.
    #[must_use]
    pub fn with_shape(secret: &[u8; 32], room_id: &RoomId, shape: Shape) -> Self {
        // HMAC fills a short key with zeros to the block size; so the key cannot be of wrong length.
        let mut block = [0; 64];
        block[..32].copy_from_slice(secret);
        let mut hasher = Hmac::<Sha256>::new(&block.into());
        hasher.update(&(room_id.as_bytes().len() as u64).to_be_bytes());
        hasher.update(room_id.as_bytes());
        Self { hasher, shape }
    }

    /// The event at one key.
    ///
    /// # Errors
    ///
    /// Those of the source.
    pub async fn get<S: NodeSource>(
        &self,
        source: &S,
        root: i64,
        key: &StateKey,
    ) -> Result<Option<OwnedEventId>, S::Error> {
        let found = self.get_many(source, root, std::slice::from_ref(key)).await?;
        Ok(found.into_iter().flatten().next())
    }

    /// The events at some keys, in the order of the keys.
    ///
    /// # Errors
    ///
    /// Those of the source.
    pub async fn get_many<S: NodeSource>(
        &self,
        source: &S,
        root: i64,
        keys: &[StateKey],
    ) -> Result<Vec<Option<OwnedEventId>>, S::Error> {
        let mut found = vec![None; keys.len()];
        let wanted = keys.iter().enumerate().map(|(at, key)| (at, self.path(key), key));
        let mut frontier = vec![(root, wanted.collect::<Vec<_>>())];
        for level in 0.. {
            frontier.retain(|(id, wanted)| *id != EMPTY_ROOT && !wanted.is_empty());
            if frontier.is_empty() {
                break;
            }
            let ids: Vec<i64> = frontier.iter().map(|(id, _)| *id).collect();
            let nodes = source.nodes(&ids).await?;
            let mut next = Vec::new();
            for (node, (_, wanted)) in nodes.iter().zip(frontier) {
                match &**node {
                    Node::Leaf(entries) => {
                        for (at, _, key) in wanted {
                            let entry = entries.iter().find(|entry| entry.key == *key);
                            if let Some(place) = found.get_mut(at) {
                                *place = entry.map(|entry| entry.event_id.clone());
                            }
                        }
                    }
                    Node::Inner { children, .. } => {
                        let by_digit = self.group(wanted, level, |(_, path, _)| *path);
                        for (digit, wanted) in by_digit {
                            next.push((child(children, digit), wanted));
                        }
                    }
                }
            }
            frontier = next;
        }
        Ok(found)
    }

    /// The whole state.
    ///
    /// # Errors
    ///
    /// Those of the source.
    pub async fn entries<S: NodeSource>(
        &self,
        source: &S,
        root: i64,
    ) -> Result<Vec<(StateKey, OwnedEventId)>, S::Error> {
        let mut all = Vec::new();
        let mut ids = vec![root];
        ids.retain(|id| *id != EMPTY_ROOT);
        while !ids.is_empty() {
            let nodes = source.nodes(&ids).await?;
            ids.clear();
            for node in nodes {
                match &*node {
                    Node::Leaf(entries) => {
                        let entries = entries.iter().cloned();
                        all.extend(entries.map(|entry| (entry.key, entry.event_id)));
                    }
                    Node::Inner { children, .. } => ids.extend(children.iter().map(|(_, id)| *id)),
                }
            }
        }
        Ok(all)
    }

    /// The path of a key.
    pub(super) fn path(&self, key: &StateKey) -> u64 {
        let kind = key.0.to_string();
        let length = (kind.len() as u64).to_be_bytes();
        self.hash(&[b"path", &length, kind.as_bytes(), key.1.as_bytes()])
    }

    /// Whether a node that was read is the one that was stored under this name.
    #[must_use]
    pub fn is_named(&self, id: i64, data: &Bytes) -> bool {
        self.name(data) == id
    }

    /// The name of a node.
    pub(super) fn name(&self, data: &Bytes) -> i64 {
        match self.hash(&[b"node", data]) as i64 {
            EMPTY_ROOT => 1,
            id => id,
        }
    }

    fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = self.hasher.clone();
        parts.iter().for_each(|part| hasher.update(part));
        let hash = hasher.finalize().into_bytes();
        hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// How many inner levels there can be.
    pub(super) fn levels(&self) -> u32 {
        PATH_BITS / self.shape.bits
    }

    /// Sorts things by the digit of their path at a level.
    pub(super) fn group<T>(
        &self,
        things: impl IntoIterator<Item = T>,
        level: u32,
        path: impl Fn(&T) -> u64,
    ) -> BTreeMap<u8, Vec<T>> {
        let shift = PATH_BITS - self.shape.bits * (level + 1).min(self.levels());
        let mask = (1_u64 << self.shape.bits) - 1;
        let mut groups = BTreeMap::<u8, Vec<T>>::new();
        for thing in things {
            let digit = (path(&thing) >> shift & mask) as u8;
            groups.entry(digit).or_default().push(thing);
        }
        groups
    }

    pub(super) fn group_entries(
        &self,
        entries: impl IntoIterator<Item = Entry>,
        level: u32,
    ) -> BTreeMap<u8, Vec<Entry>> {
        self.group(entries, level, |entry| self.path(&entry.key))
    }
}

/// The child at a digit, or the empty snapshot.
pub(super) fn child(children: &[(u8, i64)], digit: u8) -> i64 {
    children.iter().find(|(at, _)| *at == digit).map_or(EMPTY_ROOT, |(_, id)| *id)
}
