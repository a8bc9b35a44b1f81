//! How long to leave a gateway alone that did not take what a pusher was told. Pure.

use std::time::Duration;

/// The pause after the first failure; each further one doubles it ...
const FIRST: Duration = Duration::from_secs(1);
/// ... up to an hour.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The pause after this many failures in a row. `jitter` makes it between 3/4 and 5/4 as long, so that
/// pushers that failed together do not come back together.
pub(super) fn pause(failures: i64, jitter: u8) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1).clamp(0, 16)).unwrap_or(16);
    let pause = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    pause.mul_f64(0.75 + f64::from(jitter) / 510.0).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_from_a_second_to_an_hour() {
        assert_eq!(pause(1, 0), Duration::from_millis(750));
        assert!(pause(1, 255) <= Duration::from_millis(1_250));
        for failures in 0..40 {
            assert!(pause(failures + 1, 0) >= pause(failures, 0));
            assert!(pause(failures, 255) >= pause(failures, 0));
        }
        assert_eq!(pause(i64::MAX, 255), LONGEST);
        assert!(pause(i64::MAX, 0) >= LONGEST / 2);
    }
}
