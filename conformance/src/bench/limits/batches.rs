//! How many changes a server wrote together.

use anyhow::{Context as _, Result};

const NAME: &str = "starling_writer_batch_changes";

/// Transactions by their size, as the server's metrics tell: for each bound, how many were not larger.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Batches {
    bounds: Vec<(f64, u64)>,
    changes: f64,
}

impl Batches {
    /// Those up to now.
    pub(super) async fn read(url: &str) -> Result<Self> {
        let page = reqwest::get(url).await?.error_for_status()?.text().await?;
        Self::parse(&page).context("no batches in the metrics")
    }

    fn parse(page: &str) -> Option<Self> {
        let mut batches = Self::default();
        let bucket = format!("{NAME}_bucket{{le=\"");
        for line in page.lines() {
            if let Some((bound, count)) =
                line.strip_prefix(&bucket).and_then(|it| it.split_once("\"} "))
            {
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
                batches.bounds.push((bound, count.parse().ok()?));
            } else if let Some(sum) = line.strip_prefix(&format!("{NAME}_sum ")) {
                batches.changes = sum.parse().ok()?;
            }
        }
        (!batches.bounds.is_empty()).then_some(batches)
    }

    /// The size of each transaction since `before`, to the precision of the bounds.
    pub(super) fn since(&self, before: &Self) -> Vec<f64> {
        let (mut sizes, mut below, mut last) = (Vec::new(), 0, 0.0);
        for (place, (bound, count)) in self.bounds.iter().enumerate() {
            let earlier = before.bounds.get(place).map_or(0, |(_, count)| *count);
            let up_to_here = count.saturating_sub(earlier);
            let size = if bound.is_finite() { (last + 1.0 + bound) / 2.0 } else { last * 2.0 };
            for _ in below..up_to_here {
                sizes.push(size);
            }
            (below, last) = (up_to_here, *bound);
        }
        sizes
    }

    /// How many changes there were since `before`.
    pub(super) fn changes_since(&self, before: &Self) -> f64 {
        self.changes - before.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_between_two_looks() {
        let page = |counts: [u64; 4], sum| {
            let [one, two, four, all] = counts;
            format!(
                "# HELP {NAME} …\n{NAME}_bucket{{le=\"1\"}} {one}\n{NAME}_bucket{{le=\"2\"}} {two}\n\
                 {NAME}_bucket{{le=\"4\"}} {four}\n{NAME}_bucket{{le=\"+Inf\"}} {all}\n\
                 {NAME}_sum {sum}\n{NAME}_count {all}\n"
            )
        };
        let before = Batches::parse(&page([5, 5, 5, 5], 5)).unwrap();
        let after = Batches::parse(&page([6, 7, 9, 10], 25)).unwrap();
        assert_eq!(after.since(&before), [1.0, 2.0, 3.5, 3.5, 8.0]);
        assert!((after.changes_since(&before) - 20.0).abs() < 1e-9);
        assert_eq!(Batches::parse("nothing"), None);
    }
}
