//! Two kinds of server beside each other.

use std::fmt::Write as _;

use super::title;
use crate::{bench::show::Played, servers::Kind};

/// For each kind of request what both kinds took, and how many times as long the second took.
pub(super) fn table(kinds: &[Kind], one: &[Played], other: &[Played]) -> String {
    let [first, second] = kinds else { return String::new() };
    let (first, second) = (title(*first), title(*second));
    let mut text = format!(
        "\n| Scenario | Requests | {first} p50 / p95 / p99 ms | {second} p50 / p95 / p99 ms | Ratio of p50 | \
         {first} per second | {second} per second | Ratio of CPU |\n\
         | --- | --- | --: | --: | --: | --: | --: | --: |\n"
    );
    for one in one {
        let Some(other) = other.iter().find(|other| other.name == one.name) else { continue };
        let mut cpu = format!("{:.1}", other.cpu_seconds / one.cpu_seconds.max(0.01));
        for (ours, theirs) in one.requests.iter().zip(&other.requests) {
            let times = |of: &crate::bench::show::Figures| {
                format!("{:.0} / {:.0} / {:.0}", of.p50_ms, of.p95_ms, of.p99_ms)
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {:.1} | {:.0} | {:.0} | {cpu} |",
                one.name,
                ours.name,
                times(ours),
                times(theirs),
                theirs.p50_ms / ours.p50_ms.max(0.001),
                ours.per_second,
                theirs.per_second,
            );
            cpu.clear();
        }
    }
    text
}
