//! Each target of `fuzz/` on its seeds, on the inputs that once broke something, and on random changes
//! of both.
//!
//! `starling-conformance fuzz` goes further: libFuzzer sees which way an input goes. A failure here names
//! the seed: `STARLING_TEST_SEED=N` makes the same changes again, `STARLING_TEST_CASES=N` more or less of
//! them than usual.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use starling_engine::clock::{Clock as _, SystemClock};

#[path = "../fuzz/src/targets.rs"]
mod targets;

/// How many changed inputs each target gets. Pictures are slow in a debug build.
const CASES: u64 = 1_000;
const PICTURES: u64 = 100;

/// How long an input grows.
const LONGEST: usize = 20_000;

/// A sequence of numbers that a seed repeats (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

/// An input like this one: bytes are changed, left out, doubled, or taken from another.
fn changed(numbers: &mut Numbers, from: &[u8], other: &[u8]) -> Vec<u8> {
    const TELLING: [&[u8]; 12] = [
        b"\0",
        b"\xff",
        b"\"",
        b"{}",
        b"[",
        b"9007199254740992",
        b"-0",
        b"1e400",
        b"\\u0000",
        b"\\ud800",
        b"=",
        b"\r\n",
    ];
    let mut input = from.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(input.len() + 1);
        let end = (at + 1 + numbers.below(16)).min(input.len());
        match numbers.below(6) {
            0 if at < input.len() => input[at] ^= 1 << numbers.below(8),
            1 if at < end => drop(input.drain(at..end)),
            2 if at < end => {
                let piece = input[at..end].repeat(1 + numbers.below(40));
                drop(input.splice(at..at, piece));
            }
            3 => {
                let piece = TELLING[numbers.below(TELLING.len())];
                drop(input.splice(at..at, piece.iter().copied()));
            }
            4 => {
                let from = numbers.below(other.len() + 1);
                drop(input.splice(at..at, other[from..].iter().copied().take(64)));
            }
            _ => drop(input.splice(at..end, numbers.next().to_le_bytes())),
        }
    }
    input.truncate(LONGEST);
    input
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().unwrap())
}

/// Runs one input; a panic is told with what brings it about.
fn run(name: &str, target: fn(&[u8]), input: &[u8], seed: u64) {
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    if outcome.is_err() {
        panic!("{name} breaks on (seed {seed}): {:?}", String::from_utf8_lossy(input));
    }
}

fn play(name: &str, target: fn(&[u8]), seed: u64) {
    let usual = if name == "picture" { PICTURES } else { CASES };
    let cases = number("STARLING_TEST_CASES").unwrap_or(usual);
    let inputs = inputs(name);
    for input in &inputs {
        run(name, target, input, seed);
    }
    let mut numbers = Numbers(seed);
    for _ in 0..cases {
        let (from, other) = (numbers.below(inputs.len()), numbers.below(inputs.len()));
        let input = changed(&mut numbers, &inputs[from], &inputs[other]);
        run(name, target, &input, seed);
    }
}

#[test]
fn no_input_breaks_a_parser() {
    let now = SystemClock.now_ms().unsigned_abs();
    let seed = number("STARLING_TEST_SEED").unwrap_or(now);
    for (name, target) in targets::ALL {
        play(name, target, seed);
    }
}

#[test]
fn every_target_has_seeds_and_no_seeds_lack_a_target() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut there: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    let mut known: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(there, known);
}
