//! Comparing two snapshots of a room: only what differs is read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ruma::OwnedEventId;

use super::{EMPTY_ROOT, Node, NodeSource, StateKey, Trie, node::Entry, trie::child};

/// A key at which two snapshots differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    /// The type and state key.
    pub key: StateKey,
    /// The event in the first snapshot.
    pub old: Option<OwnedEventId>,
    /// The event in the second snapshot.
    pub new: Option<OwnedEventId>,
}

/// One of the two things that stand at the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Side {
    /// A node that was not read yet.
    Unread(i64),
    /// Entries of a leaf that stands higher in this snapshot than in the other.
    Entries(Vec<Entry>),
}

impl Side {
    fn is_empty(&self) -> bool {
        match self {
            Self::Unread(id) => *id == EMPTY_ROOT,
            Self::Entries(entries) => entries.is_empty(),
        }
    }
}

/// A [`Side`] after its node was read.
enum Read {
    Entries(Vec<Entry>),
    Inner(Vec<(u8, i64)>),
}

impl Trie {
    /// The keys at which two snapshots differ, with the events in each, in no order.
    ///
    /// # Errors
    ///
    /// Those of the source.
    pub async fn diff<S: NodeSource>(
        &self,
        source: &S,
        old: i64,
        new: i64,
    ) -> Result<Vec<Changed>, S::Error> {
        let mut changed = Vec::new();
        let mut frontier = vec![(Side::Unread(old), Side::Unread(new))];
        for level in 0.. {
            frontier.retain(|(old, new)| old != new && !(old.is_empty() && new.is_empty()));
            if frontier.is_empty() {
                break;
            }
            let nodes = read(source, &frontier).await?;
            let mut next = Vec::new();
            for (old, new) in frontier {
                match (open(old, &nodes), open(new, &nodes)) {
                    (Read::Entries(old), Read::Entries(new)) => compare(old, new, &mut changed),
                    (old, new) => next.extend(self.pair(old, new, level)),
                }
            }
            frontier = next;
        }
        Ok(changed)
    }

    /// Pairs what stands at each digit below the two sides.
    fn pair(&self, old: Read, new: Read, level: u32) -> Vec<(Side, Side)> {
        let (mut old, mut new) = (self.children(old, level), self.children(new, level));
        let empty = || Side::Unread(EMPTY_ROOT);
        (0..32)
            .map(|digit| {
                (old.remove(&digit).unwrap_or_else(empty), new.remove(&digit).unwrap_or_else(empty))
            })
            .collect()
    }

    fn children(&self, side: Read, level: u32) -> BTreeMap<u8, Side> {
        match side {
            Read::Inner(children) => children
                .iter()
                .map(|(digit, _)| (*digit, Side::Unread(child(&children, *digit))))
                .collect(),
            Read::Entries(entries) => self
                .group_entries(entries, level)
                .into_iter()
                .map(|(digit, entries)| (digit, Side::Entries(entries)))
                .collect(),
        }
    }
}

async fn read<S: NodeSource>(
    source: &S,
    frontier: &[(Side, Side)],
) -> Result<HashMap<i64, Arc<Node>>, S::Error> {
    let sides = frontier.iter().flat_map(|(old, new)| [old, new]);
    let mut ids: Vec<i64> = sides
        .filter_map(|side| match side {
            Side::Unread(id) if *id != EMPTY_ROOT => Some(*id),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let nodes = source.nodes(&ids).await?;
    Ok(ids.into_iter().zip(nodes).collect())
}

fn open(side: Side, nodes: &HashMap<i64, Arc<Node>>) -> Read {
    match side {
        Side::Entries(entries) => Read::Entries(entries),
        Side::Unread(id) => match nodes.get(&id).map(|node| &**node) {
            Some(Node::Leaf(entries)) => Read::Entries(entries.clone()),
            Some(Node::Inner { children, .. }) => Read::Inner(children.clone()),
            None => Read::Entries(Vec::new()),
        },
    }
}

fn compare(old: Vec<Entry>, new: Vec<Entry>, changed: &mut Vec<Changed>) {
    let mut new: BTreeMap<StateKey, OwnedEventId> =
        new.into_iter().map(|entry| (entry.key, entry.event_id)).collect();
    for Entry { key, event_id } in old {
        let replacement = new.remove(&key);
        if replacement.as_ref() != Some(&event_id) {
            changed.push(Changed { key, old: Some(event_id), new: replacement });
        }
    }
    let added = new.into_iter();
    changed.extend(added.map(|(key, new)| Changed { key, old: None, new: Some(new) }));
}
