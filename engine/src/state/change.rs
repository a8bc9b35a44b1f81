//! Writing a snapshot: the root after some changes, and the nodes that are new for it.

use std::{collections::BTreeMap, collections::HashMap, sync::Arc};

use bytes::Bytes;
use ruma::OwnedEventId;

use super::{EMPTY_ROOT, Node, NodeSource, StateKey, Trie, node::Entry, trie::child};

/// A snapshot that may be new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its root.
    pub root: i64,
    /// The nodes to be stored for it, children first. One that is stored already may be among them.
    pub nodes: Vec<(i64, Bytes)>,
}

/// A key, the path to it and the event to stand there; `None` removes the key.
struct Change<'a> {
    path: u64,
    key: &'a StateKey,
    event_id: Option<&'a OwnedEventId>,
}

type Loaded = HashMap<i64, Arc<Node>>;

/// What is at some place after the changes.
enum Subtree {
    /// So few entries that they may be merged with their neighbours: not yet a node.
    Small(Vec<Entry>),
    /// A node, and how many entries are below it.
    Large { id: i64, count: u64 },
}

impl Trie {
    /// Puts events into a snapshot, or removes keys (`None`). Of several changes to a key the last
    /// counts; none at all leave the snapshot as it is.
    ///
    /// # Errors
    ///
    /// Those of the source.
    pub async fn apply<S: NodeSource>(
        &self,
        source: &S,
        root: i64,
        changes: &[(StateKey, Option<OwnedEventId>)],
    ) -> Result<Applied, S::Error> {
        // What no change leads to is not read below, and what is not read counts as empty.
        if changes.is_empty() {
            return Ok(Applied { root, nodes: Vec::new() });
        }
        let latest: BTreeMap<&StateKey, Option<&OwnedEventId>> =
            changes.iter().map(|(key, event_id)| (key, event_id.as_ref())).collect();
        let changes: Vec<Change<'_>> = latest
            .into_iter()
            .map(|(key, event_id)| Change { path: self.path(key), key, event_id })
            .collect();
        let changes: Vec<&Change<'_>> = changes.iter().collect();
        let loaded = self.load(source, root, &changes).await?;
        let mut rebuild = Rebuild { trie: self, loaded, nodes: Vec::new() };
        let subtree = rebuild.subtree(root, 0, changes);
        let root = rebuild.store(subtree);
        Ok(Applied { root, nodes: rebuild.nodes })
    }

    /// Reads the nodes that the changes touch, and those that removals may merge.
    async fn load<S: NodeSource>(
        &self,
        source: &S,
        root: i64,
        changes: &[&Change<'_>],
    ) -> Result<Loaded, S::Error> {
        let mut loaded = Loaded::new();
        let mut frontier = vec![(root, changes.to_vec(), false)];
        for level in 0.. {
            frontier
                .retain(|(id, changes, all)| *id != EMPTY_ROOT && (*all || !changes.is_empty()));
            if frontier.is_empty() {
                break;
            }
            let ids: Vec<i64> = frontier.iter().map(|(id, ..)| *id).collect();
            let nodes = source.nodes(&ids).await?;
            let mut next = Vec::new();
            for (node, (id, changes, all)) in nodes.into_iter().zip(frontier) {
                if let Node::Inner { count, children } = &*node {
                    let removals = changes.iter().filter(|change| change.event_id.is_none());
                    let left = count.saturating_sub(removals.count() as u64);
                    let all = all || left <= self.shape.bucket as u64;
                    let mut by_digit = self.group(changes, level, |change| change.path);
                    for (digit, id) in children {
                        next.push((*id, by_digit.remove(digit).unwrap_or_default(), all));
                    }
                }
                loaded.insert(id, node);
            }
            frontier = next;
        }
        Ok(loaded)
    }
}

struct Rebuild<'a> {
    trie: &'a Trie,
    loaded: Loaded,
    nodes: Vec<(i64, Bytes)>,
}

impl Rebuild<'_> {
    /// What is at a place after the changes to it.
    fn subtree(&mut self, id: i64, level: u32, changes: Vec<&Change<'_>>) -> Subtree {
        match self.loaded.get(&id).cloned().as_deref() {
            Some(Node::Inner { count, children }) => {
                self.inner(id, *count, children, level, changes)
            }
            Some(Node::Leaf(entries)) => self.leaf(entries, level, &changes),
            None => self.leaf(&[], level, &changes),
        }
    }

    fn leaf(&mut self, entries: &[Entry], level: u32, changes: &[&Change<'_>]) -> Subtree {
        let mut by_key: BTreeMap<&StateKey, &OwnedEventId> =
            entries.iter().map(|entry| (&entry.key, &entry.event_id)).collect();
        for change in changes {
            match change.event_id {
                Some(event_id) => by_key.insert(change.key, event_id),
                None => by_key.remove(change.key),
            };
        }
        let entry = |(key, event_id): (&StateKey, &OwnedEventId)| Entry {
            key: key.clone(),
            event_id: event_id.clone(),
        };
        self.build(by_key.into_iter().map(entry).collect(), level)
    }

    fn inner(
        &mut self,
        id: i64,
        count: u64,
        children: &[(u8, i64)],
        level: u32,
        changes: Vec<&Change<'_>>,
    ) -> Subtree {
        if changes.is_empty() {
            return Subtree::Large { id, count };
        }
        let mut count = count;
        let mut changed = BTreeMap::new();
        for (digit, changes) in self.trie.group(changes, level, |change| change.path) {
            let before = self.count(child(children, digit));
            let subtree = self.subtree(child(children, digit), level + 1, changes);
            count = (count + subtree.count()).saturating_sub(before);
            changed.insert(digit, subtree);
        }
        if count <= self.trie.shape.bucket as u64 {
            return self.merge(children, changed);
        }
        let unchanged = children.iter().filter(|(digit, _)| !changed.contains_key(digit));
        let mut children: Vec<(u8, i64)> = unchanged.copied().collect();
        for (digit, subtree) in changed {
            children.push((digit, self.store(subtree)));
        }
        children.retain(|(_, id)| *id != EMPTY_ROOT);
        children.sort_unstable();
        Subtree::Large { id: self.put(&Node::Inner { count, children }), count }
    }

    /// The few entries that are left below a node after removals.
    fn merge(&self, children: &[(u8, i64)], changed: BTreeMap<u8, Subtree>) -> Subtree {
        let mut entries = Vec::new();
        for (digit, id) in children {
            if !changed.contains_key(digit) {
                self.collect(*id, &mut entries);
            }
        }
        for subtree in changed.into_values() {
            match subtree {
                Subtree::Small(more) => entries.extend(more),
                Subtree::Large { id, .. } => self.collect(id, &mut entries),
            }
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Subtree::Small(entries)
    }

    fn collect(&self, id: i64, entries: &mut Vec<Entry>) {
        match self.loaded.get(&id).map(|node| &**node) {
            Some(Node::Leaf(more)) => entries.extend(more.iter().cloned()),
            Some(Node::Inner { children, .. }) => {
                children.iter().for_each(|(_, id)| self.collect(*id, entries));
            }
            None => {}
        }
    }

    fn count(&self, id: i64) -> u64 {
        match self.loaded.get(&id).map(|node| &**node) {
            Some(Node::Leaf(entries)) => entries.len() as u64,
            Some(Node::Inner { count, .. }) => *count,
            None => 0,
        }
    }

    /// A subtree of these entries, sorted by key.
    fn build(&mut self, entries: Vec<Entry>, level: u32) -> Subtree {
        if entries.len() <= self.trie.shape.bucket || level >= self.trie.levels() {
            return Subtree::Small(entries);
        }
        let count = entries.len() as u64;
        let mut children = Vec::new();
        for (digit, entries) in self.trie.group_entries(entries, level) {
            let subtree = self.build(entries, level + 1);
            children.push((digit, self.store(subtree)));
        }
        Subtree::Large { id: self.put(&Node::Inner { count, children }), count }
    }

    fn store(&mut self, subtree: Subtree) -> i64 {
        match subtree {
            Subtree::Large { id, .. } => id,
            Subtree::Small(entries) if entries.is_empty() => EMPTY_ROOT,
            Subtree::Small(entries) => self.put(&Node::Leaf(entries)),
        }
    }

    fn put(&mut self, node: &Node) -> i64 {
        let data = node.encode();
        let id = self.trie.name(&data);
        if !self.loaded.contains_key(&id) {
            self.nodes.push((id, data));
        }
        id
    }
}

impl Subtree {
    fn count(&self) -> u64 {
        match self {
            Self::Small(entries) => entries.len() as u64,
            Self::Large { count, .. } => *count,
        }
    }
}
