//! Measures what one change of a room's state writes, for several shapes of the trie.
//!
//! `cargo run -p starling-engine --example trie_fanout` prints one row per shape and room size:
//! the mean over 400 changes of nodes and bytes written (a node costs its data, its 8-byte ID and
//! the 8-byte room number of its row), and of nodes read.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program for developers")]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use ruma::{OwnedEventId, room_id};
use sha2::{Digest as _, Sha256};
use starling_engine::state::{EMPTY_ROOT, Node, NodeSource, StateKey, Trie, trie::Shape};

const CHANGES: usize = 400;
const ROW_BYTES: usize = 16;

#[derive(Default)]
struct Memory {
    nodes: Mutex<HashMap<i64, Arc<Node>>>,
    read: AtomicUsize,
}

impl NodeSource for Memory {
    type Error = String;

    async fn nodes(&self, ids: &[i64]) -> Result<Vec<Arc<Node>>, String> {
        self.read.fetch_add(ids.len(), Ordering::Relaxed);
        let nodes = self.nodes.lock().expect("never poisoned");
        ids.iter().map(|id| nodes.get(id).cloned().ok_or_else(|| format!("no node {id}"))).collect()
    }
}

fn key(number: usize) -> StateKey {
    ("m.room.member".into(), format!("@some.user{number}:example.org"))
}

fn event(number: usize) -> OwnedEventId {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(number.to_be_bytes()));
    format!("${hash}").try_into().expect("a hash makes an event ID")
}

async fn apply(
    memory: &Memory,
    trie: &Trie,
    root: i64,
    changes: &[(StateKey, Option<OwnedEventId>)],
) -> (i64, usize, usize) {
    let applied = trie.apply(memory, root, changes).await.expect("all nodes are there");
    let bytes = applied.nodes.iter().map(|(_, data)| data.len() + ROW_BYTES).sum();
    let mut nodes = memory.nodes.lock().expect("never poisoned");
    for (id, data) in &applied.nodes {
        nodes.insert(*id, Arc::new(Node::decode(data).expect("just encoded")));
    }
    (applied.root, applied.nodes.len(), bytes)
}

async fn measure(shape: Shape, size: usize) {
    let memory = Memory::default();
    let trie = Trie::with_shape(&[7; 32], room_id!("!room:example.org"), shape);
    let all: Vec<_> = (0..size).map(|number| (key(number), Some(event(number)))).collect();
    let (mut root, total_nodes, total_bytes) = apply(&memory, &trie, EMPTY_ROOT, &all).await;
    memory.read.store(0, Ordering::Relaxed);
    let (mut nodes, mut bytes) = (0, 0);
    for change in 0..CHANGES {
        // Alternately somebody new joins and somebody who is there changes.
        let number = if change % 2 == 0 { size + change } else { change * 7_919 % size };
        let changes = [(key(number), Some(event(size + change)))];
        let (next, new_nodes, new_bytes) = apply(&memory, &trie, root, &changes).await;
        (root, nodes, bytes) = (next, nodes + new_nodes, bytes + new_bytes);
    }
    let read = memory.read.load(Ordering::Relaxed);
    let per = |sum: usize| sum as f64 / CHANGES as f64;
    println!(
        "{:>7} {:>6} {size:>8} {:>6.2} {:>8.0} {:>6.2} {total_nodes:>8} {:>9.1}",
        1 << shape.bits,
        shape.bucket,
        per(nodes),
        per(bytes),
        per(read),
        total_bytes as f64 / size as f64,
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("fan-out bucket  entries  nodes    bytes   read  initial  bytes/entry");
    for bits in [2, 3, 4, 5] {
        for bucket in [4, 8, 16] {
            for size in [100, 5_000, 50_000] {
                measure(Shape { bits, bucket }, size).await;
            }
        }
    }
}
