//! What came of the scenarios, as a table for people and as JSON for programs.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use super::{
    measure::{Series, float},
    process::Usage,
};

const HEADER: &str = "\n| Scenario | Requests | Count | Per second | p50 ms | p95 ms | p99 ms | max ms | \
                      CPU s | Peak MiB |\n\
                      | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |\n";

/// What came of one scenario.
#[derive(Debug, Serialize)]
pub(super) struct Played {
    pub(super) name: String,
    pub(super) cpu_seconds: f64,
    pub(super) database_seconds: f64,
    pub(super) peak_mib: f64,
    pub(super) requests: Vec<Figures>,
}

/// How long the requests of one kind took.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) name: &'static str,
    pub(super) count: usize,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    max_ms: f64,
}

impl Played {
    pub(super) fn new(name: &str, series: &[Series], usage: Usage) -> Self {
        let requests = series.iter().map(Figures::of).collect();
        let Usage { cpu_seconds, database_seconds, peak_mib } = usage;
        Self { name: name.to_owned(), cpu_seconds, database_seconds, peak_mib, requests }
    }
}

impl Figures {
    fn of(series: &Series) -> Self {
        let at = |percent| milliseconds(series.percentile(percent));
        Self {
            name: series.name,
            count: series.count(),
            per_second: per_second(series.count(), series.elapsed),
            p50_ms: at(50),
            p95_ms: at(95),
            p99_ms: at(99),
            max_ms: at(100),
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn per_second(count: usize, elapsed: Duration) -> f64 {
    float(count) / elapsed.as_secs_f64().max(f64::EPSILON)
}

/// One line for each kind of request. Processor and memory are the scenario's, and stand on its first.
pub(super) fn table(played: &[Played]) -> String {
    let mut text = HEADER.to_owned();
    for Played { name, cpu_seconds, peak_mib, requests, .. } in played {
        let mut usage = format!("{cpu_seconds:.2} | {peak_mib:.0}");
        for it in requests {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {usage} |",
                it.name, it.count, it.per_second, it.p50_ms, it.p95_ms, it.p99_ms, it.max_ms
            );
            usage = " | ".to_owned();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_and_memory_stand_on_the_first_line_of_a_scenario() {
        let series = |name| {
            let taken = vec![Duration::from_millis(2); 4];
            Series::new(name, taken, Duration::from_millis(8))
        };
        let usage = Usage { cpu_seconds: 0.5, database_seconds: 0.0, peak_mib: 64.0 };
        let table = table(&[Played::new("sync", &[series("initial"), series("idle")], usage)]);
        let lines: Vec<&str> = table.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "| sync | initial | 4 | 500 | 2.0 | 2.0 | 2.0 | 2.0 | 0.50 | 64 |",
                "| sync | idle | 4 | 500 | 2.0 | 2.0 | 2.0 | 2.0 |  |  |",
            ]
        );
    }
}
