//! How long requests took, and what each of many cost.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _, future, stream};

/// Requests of one kind.
#[derive(Debug)]
pub(crate) struct Series {
    /// What they do.
    pub(crate) name: &'static str,
    /// How long each took, in ascending order.
    taken: Vec<Duration>,
    /// From the beginning of the first to the end of the last.
    pub(crate) elapsed: Duration,
}

impl Series {
    /// Of what was measured elsewhere.
    pub(crate) fn new(name: &'static str, mut taken: Vec<Duration>, elapsed: Duration) -> Self {
        taken.sort();
        Self { name, taken, elapsed }
    }

    /// Several series of the same requests, one after the other.
    pub(crate) fn joined(name: &'static str, series: impl IntoIterator<Item = Self>) -> Self {
        let (mut taken, mut elapsed) = (Vec::new(), Duration::ZERO);
        for one in series {
            taken.extend(one.taken);
            elapsed += one.elapsed;
        }
        Self::new(name, taken, elapsed)
    }

    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.taken.len()
    }

    /// How long the slowest of the fastest `percent` took; nothing, when there was none.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.taken.len() * percent).div_ceil(100).max(1);
        self.taken.get(rank - 1).copied().unwrap_or_default()
    }
}

/// Does something with each item, `at_once` of them at a time, and measures each. What came of them is in
/// the order in which they ended.
pub(crate) async fn each<T, U, F: Future<Output = Result<U>>>(
    name: &'static str,
    at_once: usize,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> F,
) -> Result<(Series, Vec<U>)> {
    let begun = Instant::now();
    let timed = stream::iter(items).map(|item| {
        let work = work(item);
        async move {
            let begun = Instant::now();
            let outcome = work.await?;
            anyhow::Ok((begun.elapsed(), outcome))
        }
    });
    let done: Vec<_> = timed.buffer_unordered(at_once.max(1)).try_collect().await?;
    let elapsed = begun.elapsed();
    let (taken, outcomes) = done.into_iter().unzip();
    Ok((Series::new(name, taken, elapsed), outcomes))
}

/// Does something with each item of several lists: all lists at once, each of them one item after the other.
/// What came of each list is in its order.
pub(crate) async fn in_turn<T, U, F: Future<Output = Result<U>>>(
    name: &'static str,
    lists: impl IntoIterator<Item = Vec<T>>,
    work: impl Fn(T) -> F,
) -> Result<(Series, Vec<Vec<U>>)> {
    let (begun, work) = (Instant::now(), &work);
    let lists = lists.into_iter().map(|list| async move {
        let (mut taken, mut outcomes) = (Vec::new(), Vec::new());
        for item in list {
            let begun = Instant::now();
            outcomes.push(work(item).await?);
            taken.push(begun.elapsed());
        }
        anyhow::Ok((taken, outcomes))
    });
    let done = future::try_join_all(lists).await?;
    let elapsed = begun.elapsed();
    let (taken, outcomes): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    Ok((Series::new(name, taken.concat(), elapsed), outcomes))
}

/// The processor time that each of so many took, in milliseconds. Where there was none, it is that of one.
pub(crate) fn cpu_ms_each(cpu_seconds: f64, count: usize) -> f64 {
    cpu_seconds * 1_000.0 / float(count).max(1.0)
}

/// A count as a number to calculate with.
pub(super) fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_shared_by_all() {
        let is = |each: f64, wanted: f64| assert!((each - wanted).abs() < 1e-9, "{each}");
        is(cpu_ms_each(0.5, 4), 125.0);
        is(cpu_ms_each(0.5, 0), 500.0);
    }

    #[test]
    fn percentiles_are_taken_by_rank() {
        let taken = (1..=200).rev().map(Duration::from_millis).collect();
        let series = Series::new("x", taken, Duration::from_secs(1));
        let at = |percent| series.percentile(percent).as_millis();
        assert_eq!([at(0), at(50), at(90), at(99), at(100)], [1, 100, 180, 198, 200]);
        let none = Series::new("x", Vec::new(), Duration::ZERO);
        assert_eq!(none.percentile(50), Duration::ZERO);
    }

    #[tokio::test]
    async fn each_item_is_worked_on_and_measured() {
        let (series, mut doubled) =
            each("x", 3, 0..10, |item| async move { Ok(2 * item) }).await.unwrap();
        doubled.sort_unstable();
        assert_eq!(doubled, (0..10).map(|item| 2 * item).collect::<Vec<_>>());
        assert_eq!(series.count(), 10);
        let failed = each("x", 3, 0..10, |_| async { anyhow::bail!("no") as Result<()> }).await;
        assert!(failed.is_err());
    }

    #[tokio::test]
    async fn each_list_is_worked_on_in_its_order() {
        let lists = vec![vec![1, 2, 3], vec![10, 20]];
        let (series, done) = in_turn("x", lists, |item| async move { Ok(2 * item) }).await.unwrap();
        assert_eq!(done, [vec![2, 4, 6], vec![20, 40]]);
        assert_eq!(series.count(), 5);
    }
}
