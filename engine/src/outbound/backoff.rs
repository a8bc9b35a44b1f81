//! How long to leave a server alone that did not take a transaction. Pure.

use std::time::Duration;

/// The pause after the first failure; each further one doubles it ...
const FIRST: Duration = Duration::from_secs(1);
/// ... up to a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause after this many failures in a row. `jitter` makes it between 3/4 and 5/4 as long, so
/// that servers that failed together are not asked together.
pub(super) fn pause(failures: i64, jitter: u8) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1).clamp(0, 20)).unwrap_or(20);
    let pause = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    pause.mul_f64(0.75 + f64::from(jitter) / 510.0).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_from_a_second_to_a_day() {
        assert_eq!(pause(1, 0), Duration::from_millis(750));
        assert!(pause(3, 255) <= Duration::from_secs(5));
        for failures in 1..40 {
            assert!(pause(failures + 1, 0) >= pause(failures, 0));
            assert!(pause(failures, 255) <= LONGEST);
            assert!(pause(failures, 255) >= pause(failures, 0));
        }
        assert_eq!(pause(i64::MAX, 255), LONGEST);
        assert!(pause(0, 0) > Duration::ZERO);
    }
}
