//! How long to leave an application service alone that did not take a transaction. Pure.

use std::time::Duration;

/// The shortest pause, which ends for nothing.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);

/// The longest pause. An application service that comes back says so sooner, by asking something.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// The pause after this many failures in a row, each twice as long as the one before.
pub(super) fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    SHORTEST.saturating_mul(1 << doublings).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_from_a_second_to_five_minutes() {
        let seconds: Vec<u64> = (0..11).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(pause(u32::MAX), LONGEST);
    }
}
