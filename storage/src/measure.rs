//! Counters, gauges and histograms of one process: what recording costs is an atomic addition or two.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Upper bounds of the buckets for times, in microseconds: from half a millisecond to a minute.
const TIMES: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Upper bounds of the buckets for numbers of things.
const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Counts what happens. Never falls.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// It happened once.
    pub fn count(&self) {
        self.add(1);
    }

    /// It happened so often.
    pub fn add(&self, times: usize) {
        self.0.fetch_add(u64::try_from(times).unwrap_or(u64::MAX), Relaxed);
    }

    /// How often it has happened.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many there are, or where something stands.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// There is one more, until what this returns is dropped.
    #[must_use]
    pub fn enter(&self) -> Entered {
        self.0.fetch_add(1, Relaxed);
        Entered(self.clone())
    }

    /// It stands there now.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// There are so many now.
    pub fn set_count(&self, count: usize) {
        self.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The present value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// One of those that a [`Gauge`] counts.
#[derive(Debug)]
pub struct Entered(Gauge);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// The longest time of those since it was looked at last.
#[derive(Debug, Default)]
pub struct Longest(AtomicU64);

impl Longest {
    /// Something took so long.
    pub fn took(&self, time: Duration) {
        self.0.fetch_max(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The longest time since this was asked last. For one who asks.
    pub fn take(&self) -> Duration {
        Duration::from_micros(self.0.swap(0, Relaxed))
    }
}

/// How values are spread.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// How many of what is recorded are one of what is told: microseconds in a second, or 1.
    per_unit: f64,
    /// One for each bound, and one for what is above all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram as it is at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Upper bounds, in seconds or in things, with how many values are not above them.
    pub buckets: Vec<(f64, u64)>,
    /// How many values there are.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl Histogram {
    /// For times.
    #[must_use]
    pub fn of_times() -> Self {
        Self::new(TIMES, 1e6)
    }

    /// For numbers of things.
    #[must_use]
    pub fn of_sizes() -> Self {
        Self::new(SIZES, 1.0)
    }

    fn new(bounds: &'static [u64], per_unit: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, per_unit, counts, sum: AtomicU64::new(0) }
    }

    /// It took so long.
    pub fn took(&self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// It were so many.
    pub fn size(&self, size: usize) {
        self.record(u64::try_from(size).unwrap_or(u64::MAX));
    }

    fn record(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
    }

    /// How the values are spread up to now.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn spread(&self) -> Spread {
        let mut count = 0;
        let mut so_far = self.counts.iter().map(|of_bucket| {
            count += of_bucket.load(Relaxed);
            count
        });
        let bounds = self.bounds.iter().map(|bound| *bound as f64 / self.per_unit);
        let buckets = bounds.zip(so_far.by_ref()).collect();
        let all = so_far.next().unwrap_or_default();
        Spread { buckets, count: all, sum: self.sum.load(Relaxed) as f64 / self.per_unit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_bucket_whose_bound_it_reaches() {
        let sizes = Histogram::of_sizes();
        for size in [0, 1, 2, 3, 256, 257] {
            sizes.size(size);
        }
        let spread = sizes.spread();
        let of = |bound: f64| spread.buckets.iter().find(|(it, _)| *it == bound).unwrap().1;
        assert_eq!((of(1.0), of(2.0), of(4.0), of(256.0), spread.count), (2, 3, 4, 5, 6));
        assert!((spread.sum - 519.0).abs() < 1e-9);
    }

    #[test]
    fn times_are_in_seconds() {
        let times = Histogram::of_times();
        times.took(Duration::from_millis(300));
        times.took(Duration::from_secs(3600));
        let spread = times.spread();
        assert!((spread.sum - 3600.3).abs() < 1e-6);
        assert_eq!(spread.buckets.last().unwrap().1, 1);
        assert_eq!(spread.count, 2);
    }

    #[test]
    fn who_goes_is_counted_no_more() {
        let gauge = Gauge::default();
        let (one, two) = (gauge.enter(), gauge.enter());
        drop(one);
        assert_eq!(gauge.get(), 1);
        drop(two);
        assert_eq!(gauge.get(), 0);
    }
}
