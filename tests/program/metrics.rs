//! `GET /metrics` and the pages that say what it gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::process::{Server, http};

/// What is said of a metric: its type, its labels, its meaning.
#[derive(Clone, Debug, Default, PartialEq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    meaning: String,
}

type Metrics = BTreeMap<String, Metric>;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// The rows of the tables of docs/metrics.md.
fn documented() -> Metrics {
    let mut metrics = Metrics::new();
    let page = document("metrics.md");
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" |").map(str::trim).collect();
        let [name, kind, labels, meaning] = cells.try_into().expect(line);
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        let metric = Metric { kind: kind.to_owned(), labels, meaning: meaning.to_owned() };
        let before = metrics.insert(name.trim_matches('`').to_owned(), metric);
        assert!(before.is_none(), "{name} is listed twice");
    }
    assert!(metrics.len() > 40);
    metrics
}

/// The name of the metric that a sample is of.
fn metric_of<'a>(sample: &'a str, metrics: &Metrics) -> &'a str {
    let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| sample.strip_suffix(part));
    let histogram = |name: &&str| metrics.get(*name).is_some_and(|it| it.kind == "histogram");
    parts.into_iter().find(histogram).unwrap_or(sample)
}

/// What a server answers: the metrics, with the labels of those that have values.
fn answered(text: &str) -> (Metrics, BTreeSet<String>) {
    let (mut metrics, mut with_values) = (Metrics::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some((name, meaning)) =
            line.strip_prefix("# HELP ").and_then(|it| it.split_once(' '))
        {
            let metric = Metric { meaning: meaning.to_owned(), ..Metric::default() };
            assert!(metrics.insert(name.to_owned(), metric).is_none(), "{name} comes twice");
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|it| it.split_once(' '))
        {
            metrics.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let name = metric_of(name, &metrics).to_owned();
            let labels = labels.trim_end_matches('}').split("\",").filter(|it| !it.is_empty());
            let labels = labels.map(|label| label.split_once('=').unwrap().0.to_owned());
            let metric = metrics.get_mut(&name).unwrap();
            metric.labels.extend(labels.filter(|label| label != "le"));
            with_values.insert(name);
        }
    }
    (metrics, with_values)
}

#[tokio::test]
async fn the_page_of_the_metrics_lists_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("metrics.sock");
    let address = format!("unix:{}", socket.display());
    let server = Server::start_in(directory, &[("STARLING__TELEMETRY__LISTEN", &address)]).await;
    let versions = format!("{}/_matrix/client/versions", server.client);
    http().get(versions).send().await.unwrap();
    let client = reqwest::Client::builder().unix_socket(socket.as_path()).build().unwrap();
    let answer = client.get("http://localhost/metrics").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
    let text = answer.text().await.unwrap();
    let ((there, with_values), listed) = (answered(&text), documented());
    let names = |metrics: &Metrics| metrics.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&there), names(&listed), "docs/metrics.md and /metrics");
    for (name, metric) in &there {
        // Where nothing happened yet there is nothing to have labels.
        let labels = match with_values.contains(name) {
            true => metric.labels.clone(),
            false => listed[name].labels.clone(),
        };
        assert_eq!(Metric { labels, ..metric.clone() }, listed[name], "{name}");
        let is_counter = metric.kind == "counter";
        assert_eq!(name.ends_with("_total"), is_counter, "{name} is a {}", metric.kind);
        assert!(name.starts_with("starling_") || name.starts_with("process_"), "{name}");
    }
    let request = "starling_http_requests_total{api=\"client\",method=\"GET\",\
                   route=\"/_matrix/client/versions\",status=\"200\"} 1\n";
    assert!(text.contains(request), "{text}");
}

/// Every text of an example dashboard that asks for figures.
fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            let asks = |name: &&String| *name == "expr" || *name == "query";
            let texts = fields.iter().filter(|(name, _)| asks(name));
            found.extend(texts.filter_map(|(_, text)| text.as_str()).map(ToOwned::to_owned));
            fields.values().for_each(|value| expressions(value, found));
        }
        serde_json::Value::Array(items) => {
            items.iter().for_each(|item| expressions(item, found));
        }
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&document("grafana-dashboard.json")).unwrap();
    let listed = documented();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let names: BTreeSet<&str> = found
        .iter()
        .flat_map(|expression| expression.split(|c| !is_part(c)))
        .filter(|word| word.starts_with("starling_") || word.starts_with("process_"))
        .map(|word| metric_of(word, &listed))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(listed.contains_key(name), "{name} is not in docs/metrics.md");
    }
}
