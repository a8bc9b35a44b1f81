//! The trie against a plain map.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;
use ruma::{OwnedEventId, room_id};

use super::{
    Changed, EMPTY_ROOT, Node, NodeSource, StateKey, Trie,
    change::Applied,
    trie::{SHAPE, Shape},
};

/// Nodes in memory, counting how many are read.
#[derive(Default)]
struct Memory {
    nodes: Mutex<HashMap<i64, Arc<Node>>>,
    read: AtomicUsize,
}

impl NodeSource for Memory {
    type Error = Infallible;

    async fn nodes(&self, ids: &[i64]) -> Result<Vec<Arc<Node>>, Infallible> {
        self.read.fetch_add(ids.len(), Ordering::Relaxed);
        let nodes = self.nodes.lock().unwrap();
        Ok(ids.iter().map(|id| nodes[id].clone()).collect())
    }
}

impl Memory {
    fn store(&self, applied: &Applied) -> i64 {
        let mut nodes = self.nodes.lock().unwrap();
        for (id, data) in &applied.nodes {
            nodes.insert(*id, Arc::new(Node::decode(data).unwrap()));
        }
        applied.root
    }
}

type Map = BTreeMap<StateKey, OwnedEventId>;
type Step = Vec<(StateKey, Option<OwnedEventId>)>;

fn trie(shape: Shape) -> Trie {
    Trie::with_shape(&[7; 32], room_id!("!r:x.org"), shape)
}

fn key(number: u32) -> StateKey {
    ("m.room.member".into(), format!("@user{number}:x.org"))
}

fn event(number: u32) -> OwnedEventId {
    format!("$event{number}:x.org").try_into().unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn apply(memory: &Memory, trie: &Trie, root: i64, step: &Step) -> i64 {
    let applied = run(trie.apply(memory, root, step)).unwrap();
    memory.store(&applied)
}

fn apply_to_map(map: &mut Map, step: &Step) {
    for (key, event_id) in step {
        match event_id {
            Some(event_id) => map.insert(key.clone(), event_id.clone()),
            None => map.remove(key),
        };
    }
}

fn read(memory: &Memory, trie: &Trie, root: i64) -> Map {
    run(trie.entries(memory, root)).unwrap().into_iter().collect()
}

fn differences(old: &Map, new: &Map) -> Vec<Changed> {
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let changed = keys.into_iter().map(|key| Changed {
        key: key.clone(),
        old: old.get(key).cloned(),
        new: new.get(key).cloned(),
    });
    changed.filter(|changed| changed.old != changed.new).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0..60_u32, prop::option::weighted(0.6, 0..5_u32))
        .prop_map(|(number, value)| (key(number), value.map(event)));
    prop::collection::vec(prop::collection::vec(change, 0..25), 1..12)
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(SHAPE),
        Just(Shape { bits: 2, bucket: 1 }),
        Just(Shape { bits: 5, bucket: 3 }),
        Just(Shape { bits: 1, bucket: 2 }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is done to it, a snapshot holds what a map would hold, and so do the older ones.
    #[test]
    fn is_a_map(steps in steps(), shape in shapes()) {
        let (trie, memory) = (trie(shape), Memory::default());
        let mut history = vec![(EMPTY_ROOT, Map::new())];
        for step in &steps {
            let (root, mut map) = history.last().cloned().unwrap();
            apply_to_map(&mut map, step);
            history.push((apply(&memory, &trie, root, step), map));
        }
        let keys: Vec<_> = (0..60).map(key).collect();
        for (root, map) in &history {
            prop_assert_eq!(&read(&memory, &trie, *root), map);
            let expected: Vec<_> = keys.iter().map(|key| map.get(key).cloned()).collect();
            prop_assert_eq!(run(trie.get_many(&memory, *root, &keys)).unwrap(), expected);
        }
        for (old, new) in history.iter().zip(history.iter().rev()) {
            let mut changed = run(trie.diff(&memory, old.0, new.0)).unwrap();
            changed.sort();
            prop_assert_eq!(changed, differences(&old.1, &new.1));
        }
    }

    /// The root depends on the state, not on the way to it.
    #[test]
    fn equal_states_have_equal_roots(steps in steps(), shape in shapes()) {
        let (trie, memory) = (trie(shape), Memory::default());
        let (mut root, mut map) = (EMPTY_ROOT, Map::new());
        for step in &steps {
            root = apply(&memory, &trie, root, step);
            apply_to_map(&mut map, step);
        }
        let at_once: Step = map.into_iter().rev().map(|(key, id)| (key, Some(id))).collect();
        prop_assert_eq!(apply(&memory, &trie, EMPTY_ROOT, &at_once), root);
        let removed: Step = at_once.into_iter().map(|(key, _)| (key, None)).collect();
        prop_assert_eq!(apply(&memory, &trie, root, &removed), EMPTY_ROOT);
    }
}

#[test]
fn a_change_writes_and_a_comparison_reads_only_one_way_down() {
    let (trie, memory) = (trie(SHAPE), Memory::default());
    let all: Step = (0..5_000).map(|number| (key(number), Some(event(number)))).collect();
    let mut root = apply(&memory, &trie, EMPTY_ROOT, &all);
    for number in 0..200 {
        let applied = run(trie.apply(&memory, root, &[(key(number), Some(event(9_999)))]));
        let applied = applied.unwrap();
        // log16(5000) is a little over 3: three inner levels, a fourth here and there, and a leaf.
        assert!(applied.nodes.len() <= 6, "{} nodes", applied.nodes.len());
        let before = memory.read.load(Ordering::Relaxed);
        let next = memory.store(&applied);
        assert_eq!(run(trie.diff(&memory, root, next)).unwrap().len(), 1);
        assert!(memory.read.load(Ordering::Relaxed) - before <= 12);
        assert_eq!(run(trie.get(&memory, next, &key(number))).unwrap(), Some(event(9_999)));
        assert_eq!(run(trie.get(&memory, root, &key(number))).unwrap(), Some(event(number)));
        root = next;
    }
}

#[test]
fn rooms_and_databases_name_equal_nodes_differently() {
    let step: Step = vec![(key(1), Some(event(1)))];
    let root = |secret: u8, room| {
        let trie = Trie::new(&[secret; 32], room);
        run(trie.apply(&Memory::default(), EMPTY_ROOT, &step)).unwrap().root
    };
    let here = root(1, room_id!("!r:x.org"));
    assert_eq!(here, root(1, room_id!("!r:x.org")));
    assert_ne!(here, root(2, room_id!("!r:x.org")));
    assert_ne!(here, root(1, room_id!("!s:x.org")));
}
