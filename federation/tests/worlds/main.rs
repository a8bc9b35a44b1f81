//! Worlds that are made by chance: servers in one process, joined by a network that delays, loses and
//! doubles, is cut and healed; servers restart and their clocks jump; people do anything. When all has
//! healed, the servers must agree. They stand here, and not in the conformance crate, because what decides
//! the order of everything must hold the engines in its hand.
//!
//! A failure names its seed: `STARLING_TEST_SEED=N` makes that world again, and tells its story.
//! `STARLING_TEST_SECONDS=N` makes worlds for so long; `starling-conformance worlds` does that.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that fails says so by panicking, and a long one says how far it is"
)]

mod judge;
mod network;
mod numbers;
mod people;
mod server;
mod watch;
mod world;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use ruma::RoomVersionId;
use starling_engine::rooms::versions;

use judge::Compared;
use numbers::Numbers;
use watch::Watch;
use world::World;

/// How many steps the worlds have that are made with every run of the tests.
const SHORT: usize = 30;

/// What came of a world.
struct Ended {
    complaints: Vec<String>,
    compared: Compared,
}

/// Makes the world of a seed, lets it live, heals and judges it.
fn live(seed: u64, version: RoomVersionId, steps: usize, aloud: bool) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let watch = Watch::default();
    let watching = tracing::subscriber::set_default(watch.clone());
    let ended = runtime.block_on(async {
        let servers = 3 + Numbers::new(seed).below(2);
        let mut world = World::new(seed, servers, version).await;
        world.aloud = aloud;
        for _ in 0..steps {
            world.go_on().await;
        }
        world.heal().await;
        let (mut complaints, compared) = judge::complaints(&world).await;
        complaints.extend(watch.errors().into_iter().map(|it| format!("logged: {it}")));
        Ended { complaints, compared }
    });
    drop(watching);
    ended
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().unwrap())
}

/// The version of the rooms of a seed's world.
fn version(seed: u64) -> RoomVersionId {
    let supported = versions::SUPPORTED;
    let at = usize::try_from(seed % supported.len() as u64).unwrap();
    supported[at].clone()
}

fn steps(seed: u64) -> usize {
    40 + Numbers::new(seed ^ 1).below(120)
}

/// Worlds of new seeds until the time is over, beginning with a seed that was named.
fn for_long(first: u64, time: Duration) {
    let (begun, mut passed, mut failed, mut seed) = (Instant::now(), 0, 0, first);
    let (mut pairs, mut events, mut estranged) = (0, 0, 0);
    while passed + failed == 0 || begun.elapsed() < time {
        let ended = live(seed, version(seed), steps(seed), false);
        match ended.complaints.is_empty() {
            true => passed += 1,
            false => failed += 1,
        }
        for complaint in ended.complaints.iter().take(3) {
            println!("seed {seed}, room version {}: {complaint}", version(seed));
        }
        pairs += ended.compared.pairs;
        events += ended.compared.events;
        estranged += ended.compared.estranged;
        seed += 1;
    }
    println!("{pairs} pairs of servers in a room compared, {events} events; {estranged} estranged");
    println!("{passed} passed, {failed} failed");
    assert_eq!(failed, 0);
}

#[test]
fn servers_agree_when_all_has_healed() {
    if let Some(seconds) = number("STARLING_TEST_SECONDS") {
        let first = number("STARLING_TEST_SEED").unwrap_or(1);
        return for_long(first, Duration::from_secs(seconds));
    }
    if let Some(seed) = number("STARLING_TEST_SEED") {
        let ended = live(seed, version(seed), steps(seed), true);
        assert!(ended.complaints.is_empty(), "{:#?}", ended.complaints);
        return;
    }
    // Each on a thread of its own, because they mostly wait for the disk.
    thread::scope(|scope| {
        for seed in 0..versions::SUPPORTED.len() as u64 {
            scope.spawn(move || {
                let ended = live(seed, version(seed), SHORT, false);
                assert!(ended.complaints.is_empty(), "seed {seed}: {:#?}", ended.complaints);
            });
        }
    });
}
