//! Snapshots over the database: nodes are immutable, so they are cached by name and never forgotten
//! but for want of room.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use moka::sync::Cache;
use ruma::{OwnedEventId, OwnedRoomId, RoomId, events::StateEventType};
use starling_storage::{Conn, Storage, examine, state as rows};

use super::{Changed, Node, NodeSource, StateKey, Trie};
use crate::{Engine, internal::Internal, measures::Size, rng};

/// Where a database has its secret.
const SECRET: &str = "trie_secret";

/// What keys the paths and names of nodes, so that no stranger can choose them.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// The secret of a database, made when it has none.
    ///
    /// # Errors
    ///
    /// When the database fails, or holds something else.
    pub async fn load(storage: &Storage) -> Result<Self, Internal> {
        let fresh = STANDARD_NO_PAD.encode(rng::bytes::<32>());
        Self::parse(&storage.meta(SECRET, &fresh).await?)
    }

    /// The secret of a database that is only looked at.
    ///
    /// # Errors
    ///
    /// When the database fails, has none, or holds something else.
    pub async fn of(conn: &mut Conn) -> Result<Self, Internal> {
        Self::parse(&examine::meta(conn, SECRET).await?.unwrap_or_default())
    }

    fn parse(stored: &str) -> Result<Self, Internal> {
        let bytes = STANDARD_NO_PAD.decode(stored).ok().and_then(|bytes| bytes.try_into().ok());
        let damaged = || Internal::Damaged("the secret of the state snapshots".to_owned());
        bytes.map(Self).ok_or_else(damaged)
    }

    /// How the snapshots of a room are laid out.
    #[must_use]
    pub fn trie(&self, room_id: &RoomId) -> Trie {
        Trie::new(&self.0, room_id)
    }
}

/// The nodes that were read or written last, of all rooms.
#[derive(Clone, Debug)]
pub struct NodeCache(Cache<(OwnedRoomId, i64), Arc<Node>>);

impl NodeCache {
    /// A cache of at most `bytes`, by estimate.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let cache = Cache::builder().max_capacity(bytes).weigher(weight);
        Self(cache.build())
    }
}

impl NodeCache {
    /// How large it is.
    #[must_use]
    pub fn size(&self) -> Size {
        Size::of_weighed(&self.0)
    }

    /// Forgets the nodes of a room that is there no more.
    pub fn forget_room(&self, room_id: &RoomId) {
        for (key, _) in &self.0 {
            if key.0 == room_id {
                self.0.invalidate(&*key);
            }
        }
    }
}

fn weight(key: &(OwnedRoomId, i64), node: &Arc<Node>) -> u32 {
    let content = match &**node {
        Node::Leaf(entries) => {
            entries.iter().map(|entry| 80 + entry.key.1.len() + entry.event_id.as_str().len()).sum()
        }
        Node::Inner { children, .. } => children.len() * 16,
    };
    u32::try_from(128 + key.0.as_str().len() + content).unwrap_or(u32::MAX)
}

/// The snapshots of one room: the stored ones, and those that are made on the way to a commit.
#[derive(Clone, Debug)]
pub struct Snapshots {
    engine: Engine,
    room_id: OwnedRoomId,
    trie: Trie,
    pending: HashMap<i64, Arc<Node>>,
}

impl Snapshots {
    /// The snapshots of a room, with none on the way.
    #[must_use]
    pub fn of(engine: &Engine, room_id: &RoomId) -> Self {
        Self {
            engine: engine.clone(),
            room_id: room_id.to_owned(),
            trie: engine.trie_secret.trie(room_id),
            pending: HashMap::new(),
        }
    }

    /// How the snapshots are laid out.
    #[must_use]
    pub fn trie(&self) -> &Trie {
        &self.trie
    }

    /// The event at one key of a snapshot.
    ///
    /// # Errors
    ///
    /// When a node is missing or cannot be read.
    pub async fn get(
        &self,
        root: i64,
        kind: StateEventType,
        state_key: &str,
    ) -> Result<Option<OwnedEventId>, Internal> {
        self.trie.get(self, root, &(kind, state_key.to_owned())).await
    }

    /// The events at some keys of a snapshot, in the order of the keys.
    ///
    /// # Errors
    ///
    /// When a node is missing or cannot be read.
    pub async fn get_many(
        &self,
        root: i64,
        keys: &[StateKey],
    ) -> Result<Vec<Option<OwnedEventId>>, Internal> {
        self.trie.get_many(self, root, keys).await
    }

    /// A whole snapshot, in no order.
    ///
    /// # Errors
    ///
    /// When a node is missing or cannot be read.
    pub async fn entries(&self, root: i64) -> Result<Vec<(StateKey, OwnedEventId)>, Internal> {
        self.trie.entries(self, root).await
    }

    /// The keys at which two snapshots differ.
    ///
    /// # Errors
    ///
    /// When a node is missing or cannot be read.
    pub async fn diff(&self, old: i64, new: i64) -> Result<Vec<Changed>, Internal> {
        self.trie.diff(self, old, new).await
    }

    /// The root of the snapshot after some changes (`None` removes a key). It can be read at once
    /// here; it is stored with [`Snapshots::writes`].
    ///
    /// # Errors
    ///
    /// When a node is missing or cannot be read.
    pub async fn apply(
        &mut self,
        root: i64,
        changes: &[(StateKey, Option<OwnedEventId>)],
    ) -> Result<i64, Internal> {
        let applied = self.trie.apply(&*self, root, changes).await?;
        for (id, data) in applied.nodes {
            self.pending.insert(id, Arc::new(Node::decode(&data)?));
        }
        Ok(applied.root)
    }

    /// The rows of the nodes that were made here.
    #[must_use]
    pub fn writes(&self) -> Vec<rows::Write> {
        let row = |(id, node): (&i64, &Arc<Node>)| rows::Write::Node {
            room_id: self.room_id.to_string(),
            node_id: *id,
            data: node.encode().to_vec(),
        };
        self.pending.iter().map(row).collect()
    }

    /// Tells the cache that the nodes that were made here are stored now.
    pub fn committed(&mut self) {
        for (id, node) in self.pending.drain() {
            self.engine.state_nodes.0.insert((self.room_id.clone(), id), node);
        }
    }

    fn known(&self, id: i64) -> Option<Arc<Node>> {
        let cached = || self.engine.state_nodes.0.get(&(self.room_id.clone(), id));
        self.pending.get(&id).cloned().or_else(cached)
    }

    async fn load(&self, ids: &[i64]) -> Result<HashMap<i64, Arc<Node>>, Internal> {
        let mut conn = self.engine.storage.read().await?;
        let mut loaded = HashMap::new();
        for (id, data) in rows::nodes(&mut conn, self.room_id.as_str(), ids).await? {
            let node = Arc::new(Node::decode(&data)?);
            self.engine.state_nodes.0.insert((self.room_id.clone(), id), node.clone());
            loaded.insert(id, node);
        }
        Ok(loaded)
    }
}

impl NodeSource for Snapshots {
    type Error = Internal;

    async fn nodes(&self, ids: &[i64]) -> Result<Vec<Arc<Node>>, Internal> {
        let mut found: HashMap<i64, Arc<Node>> =
            ids.iter().filter_map(|id| Some((*id, self.known(*id)?))).collect();
        let missing: Vec<i64> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
        self.engine.measures.caches.state_nodes.note(found.len(), missing.len());
        if !missing.is_empty() {
            found.extend(self.load(&missing).await?);
        }
        let node = |id: &i64| {
            let missing = || Internal::Damaged(format!("no state node {id} of {}", self.room_id));
            found.get(id).cloned().ok_or_else(missing)
        };
        ids.iter().map(node).collect()
    }
}

#[cfg(test)]
mod tests {
    use ruma::{event_id, room_id};
    use starling_storage::Change;

    use super::*;
    use crate::test_support::on_each_database;

    #[tokio::test]
    async fn snapshots_are_read_back_from_the_database() {
        on_each_database(async |engine| {
            let room_id = room_id!("!r:x.org");
            let mut snapshots = Snapshots::of(&engine, room_id);
            let key = |number: usize| (StateEventType::RoomMember, format!("@u{number}:x.org"));
            let event = event_id!("$e").to_owned();
            let changes: Vec<_> =
                (0..100).map(|number| (key(number), Some(event.clone()))).collect();
            let root = snapshots.apply(0, &changes).await.unwrap();
            assert_eq!(snapshots.entries(root).await.unwrap().len(), 100);
            let unknown = Snapshots::of(&engine, room_id).entries(root).await;
            assert!(matches!(unknown, Err(Internal::Damaged(_))), "nothing is stored yet");

            let mut change = Change::new();
            snapshots.writes().into_iter().for_each(|row| change.write(row));
            engine.storage.commit(change).await.unwrap();
            let stored = Snapshots::of(&engine, room_id);
            assert_eq!(stored.entries(root).await.unwrap().len(), 100);
            let found = stored.get(root, StateEventType::RoomMember, "@u7:x.org").await.unwrap();
            assert_eq!(found, Some(event));
            let elsewhere = Snapshots::of(&engine, room_id!("!other:x.org")).entries(root).await;
            assert!(elsewhere.is_err(), "nodes belong to one room");
        })
        .await;
    }
}
