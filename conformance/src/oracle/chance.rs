//! What a seed draws.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// A source of draws that a seed repeats.
#[derive(Debug)]
pub(super) struct Chance(StdRng);

impl Chance {
    /// The draws of a seed, for one purpose: the same seed draws differently for another.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        Self(StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ purpose))
    }

    /// A number below the limit; 0 when that is 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0.random_range(0..limit.max(1))
    }

    /// Whether something happens that happens so many times out of a hundred.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of some things; `None` when there are none.
    pub(super) fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// One of some things, each as likely as the number beside it says.
    pub(super) fn weighted<T: Copy>(&mut self, of: &[(usize, T)]) -> Option<T> {
        let mut at = self.below(of.iter().map(|(weight, _)| weight).sum());
        for (weight, thing) in of {
            match at.checked_sub(*weight) {
                Some(left) => at = left,
                None => return Some(*thing),
            }
        }
        None
    }

    /// The things in another order.
    pub(super) fn shuffle<T>(&mut self, things: &mut [T]) {
        for end in (1..things.len()).rev() {
            things.swap(end, self.below(end + 1));
        }
    }
}
