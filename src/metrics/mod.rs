//! `GET /metrics`, in the text format of Prometheus. docs/metrics.md says what each figure means; a
//! test compares that page with this one.

mod destinations;
mod engine;
mod process;
mod text;
mod traffic;

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};
use starling_engine::{Engine, Internal};

use self::text::Page;

pub(crate) use self::traffic::{Api, Line, Traffic};

/// What the figures are read from.
#[derive(Clone)]
struct Sources {
    engine: Engine,
    traffic: Traffic,
    /// When the process started, in milliseconds since the epoch.
    started_ms: i64,
}

/// The route.
pub(crate) fn router(engine: Engine, traffic: Traffic) -> Router {
    let started_ms = engine.clock.now_ms();
    Router::new().route("/metrics", get(answer)).with_state(Sources { engine, traffic, started_ms })
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
    engine::write(&mut page, &sources.engine);
    destinations::write(&mut page, &sources.engine).await?;
    Ok(page.finish())
}
