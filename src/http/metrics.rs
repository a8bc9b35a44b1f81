//! `GET /metrics`, in the text format of Prometheus.

use std::fmt::Write as _;

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};
use starling_engine::{
    Engine, Internal,
    admin::destinations::{self, Destination, Order},
};

/// How many servers are shown one by one: those that failed most often come first.
const SHOWN: i64 = 200;

/// A name, what it means, and its value for a server.
type Figure = (&'static str, &'static str, fn(&Destination) -> i64);

/// The route.
pub(crate) fn metrics(engine: Engine) -> Router {
    Router::new().route("/metrics", get(answer)).with_state(engine)
}

async fn answer(State(engine): State<Engine>) -> impl IntoResponse {
    match federation(&engine).await {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, "text/plain; version=0.0.4")], text),
        Err(error) => {
            tracing::error!(%error, "The metrics could not be read");
            let plain = [(CONTENT_TYPE, "text/plain")];
            (StatusCode::INTERNAL_SERVER_ERROR, plain, String::new())
        }
    }
}

/// How sending to other servers goes.
async fn federation(engine: &Engine) -> Result<String, Internal> {
    let (all, failing) = destinations::count(engine).await?;
    let (servers, _) = destinations::list(engine, (Order::Failures, true), (0, SHOWN)).await?;
    let mut text = String::new();
    let name = "starling_federation_servers";
    head(&mut text, name, "Servers that this one sends to.");
    line(&mut text, name, &[("state", "ok")], all - failing);
    line(&mut text, name, &[("state", "failing")], failing);
    let each: [Figure; 4] = [
        ("starling_federation_failures", "Attempts in a row that failed.", |it| it.failures),
        ("starling_federation_queued_events", "Events that a server is owed.", |it| it.queued),
        (
            "starling_federation_last_success_seconds",
            "When a server last took something, since 1970; 0: never.",
            |it| it.last_success_ts.unwrap_or(0) / 1000,
        ),
        (
            "starling_federation_last_failure_seconds",
            "When a server last failed, since 1970; 0: not since it took something.",
            |it| it.failed_ts / 1000,
        ),
    ];
    for (name, help, value) in each {
        head(&mut text, name, help);
        for server in &servers {
            line(&mut text, name, &[("server", &server.server)], value(server));
        }
    }
    Ok(text)
}

fn head(text: &mut String, name: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: i64) {
    let labels: Vec<String> =
        labels.iter().map(|(label, of)| format!("{label}=\"{}\"", escaped(of))).collect();
    let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
