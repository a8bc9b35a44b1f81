//! `GET /metrics`, in the text format of Prometheus. docs/metrics.md says what each figure means; a
//! test compares that page with this one.

mod destinations;
mod engine;
mod process;
mod storage;
mod text;
mod traffic;

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};
use starling_engine::{Engine, Internal};

use self::text::Page;
use crate::overload::Overload;

pub(crate) use self::traffic::{Api, Line, METHODS, Traffic};

/// What the figures are read from.
#[derive(Clone)]
struct Sources {
    engine: Engine,
    traffic: Traffic,
    overload: Overload,
    /// When the process started, in milliseconds since the epoch.
    started_ms: i64,
}

/// The route.
pub(crate) fn router(engine: Engine, traffic: Traffic, overload: Overload) -> Router {
    let started_ms = engine.clock.now_ms();
    let sources = Sources { engine, traffic, overload, started_ms };
    Router::new().route("/metrics", get(answer)).with_state(sources)
}

async fn answer(State(sources): State<Sources>) -> impl IntoResponse {
    match page(&sources).await {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, text::CONTENT_TYPE)], text),
        Err(error) => {
            tracing::error!(%error, "The metrics could not be read");
            let plain = [(CONTENT_TYPE, "text/plain")];
            (StatusCode::INTERNAL_SERVER_ERROR, plain, String::new())
        }
    }
}

async fn page(sources: &Sources) -> Result<String, Internal> {
    let mut page = Page::default();
    process::write(&mut page, sources.started_ms);
    sources.traffic.write(&mut page);
    overloaded(&mut page, &sources.overload);
    storage::write(&mut page, &sources.engine.storage);
    engine::write(&mut page, &sources.engine);
    destinations::write(&mut page, &sources.engine).await?;
    Ok(page.finish())
}

fn overloaded(page: &mut Page, overload: &Overload) {
    page.gauge(
        "starling_late_seconds",
        "By how much the server is late to do what is due, or to get a connection of its database.",
    )
    .is(overload.late().as_secs_f64());
    page.counter(
        "starling_refused_total",
        "Requests that were refused because there was too much to do; nothing else counts them.",
    )
    .is(overload.refused());
}
