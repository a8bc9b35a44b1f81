//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

use starling_engine::measures::Spread;

/// What [`Page`] is written in.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Names and values of labels.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page that is being written. Writing to a string cannot fail, so what it says is not looked at.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// Something that only grows; its name ends with `_total`.
    pub(super) fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Samples<'a> {
        self.family(name, help, "counter")
    }

    /// Something that rises and falls.
    pub(super) fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Samples<'a> {
        self.family(name, help, "gauge")
    }

    /// How values are spread.
    pub(super) fn histogram<'a>(&'a mut self, name: &'a str, help: &str) -> Samples<'a> {
        self.family(name, help, "histogram")
    }

    fn family<'a>(&'a mut self, name: &'a str, help: &str, kind: &str) -> Samples<'a> {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Samples { page: &mut self.0, name }
    }

    /// The whole page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// The values of one metric.
pub(super) struct Samples<'a> {
    page: &'a mut String,
    name: &'a str,
}

impl Samples<'_> {
    /// The value where there is one only.
    pub(super) fn is(self, value: impl Display) {
        self.of(&[], value);
    }

    /// The value of those that some labels name.
    pub(super) fn of(self, labels: Labels<'_>, value: impl Display) -> Self {
        write(self.page, (self.name, ""), labels, value);
        self
    }

    /// How the values are spread of those that some labels name.
    pub(super) fn spread(mut self, labels: Labels<'_>, spread: &Spread) -> Self {
        for (bound, count) in &spread.buckets {
            self.bucket(labels, &bound.to_string(), *count);
        }
        self.bucket(labels, "+Inf", spread.count);
        write(self.page, (self.name, "_sum"), labels, spread.sum);
        write(self.page, (self.name, "_count"), labels, spread.count);
        self
    }

    fn bucket(&mut self, labels: Labels<'_>, bound: &str, count: u64) {
        let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
        write(self.page, (self.name, "_bucket"), &labels, count);
    }
}

fn write(page: &mut String, (name, part): (&str, &str), labels: Labels<'_>, value: impl Display) {
    let _ = write!(page, "{name}{part}");
    for (index, (label, of)) in labels.iter().enumerate() {
        let before = if index == 0 { '{' } else { ',' };
        let _ = write!(page, "{before}{label}=\"{}\"", escaped(of));
    }
    let end = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(page, "{end} {value}");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_as_prometheus_reads_it() {
        let mut page = Page::default();
        page.gauge("a", "How many.").is(3);
        page.counter("b_total", "How often.").of(&[("x", "1\"\n"), ("y", "2")], 4).of(&[], 5);
        let spread = Spread { buckets: vec![(0.1, 1), (2.5, 2)], count: 3, sum: 10.25 };
        page.histogram("c_seconds", "How long.").spread(&[("x", "1")], &spread);
        let expected = "\
# HELP a How many.
# TYPE a gauge
a 3
# HELP b_total How often.
# TYPE b_total counter
b_total{x=\"1\\\"\\n\",y=\"2\"} 4
b_total 5
# HELP c_seconds How long.
# TYPE c_seconds histogram
c_seconds_bucket{x=\"1\",le=\"0.1\"} 1
c_seconds_bucket{x=\"1\",le=\"2.5\"} 2
c_seconds_bucket{x=\"1\",le=\"+Inf\"} 3
c_seconds_sum{x=\"1\"} 10.25
c_seconds_count{x=\"1\"} 3
";
        assert_eq!(page.finish(), expected);
    }
}
