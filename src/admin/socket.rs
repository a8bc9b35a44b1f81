//! The socket by which `starling admin` reaches a running server. Whoever may open it may order:
//! it stands in the data directory, which is its owner's alone.

use std::{os::unix::net::UnixStream, path::PathBuf};

use anyhow::Context as _;
use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use http::StatusCode;
use starling_engine::Engine;

use super::{Order, carry_out};
use crate::{
    config::{Config, ListenAddress},
    http::Listener,
};

/// The socket of this data directory. A server that cannot have it serves nevertheless.
pub(crate) fn listener(config: &Config) -> Option<Listener> {
    Listener::bind(&ListenAddress::Unix(path(config)))
        .inspect_err(|error| tracing::warn!("no `starling admin` while running: {error:#}"))
        .ok()
}

/// What answers there.
pub(crate) fn router(engine: Engine) -> Router {
    Router::new().route("/", post(take)).with_state(engine)
}

async fn take(State(engine): State<Engine>, body: Bytes) -> (StatusCode, String) {
    let outcome = async { carry_out(&engine, serde_json::from_slice(&body)?).await };
    match outcome.await {
        Ok(answer) => (StatusCode::OK, answer),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}")),
    }
}

/// Whether a server is running.
pub(super) fn answers(config: &Config) -> bool {
    UnixStream::connect(path(config)).is_ok()
}

/// Asks the running server; `None` when there is none.
pub(super) async fn hand_over(
    config: &Config,
    order: &Order,
) -> anyhow::Result<Option<Result<String, String>>> {
    let path = path(config);
    if UnixStream::connect(&path).is_err() {
        return Ok(None);
    }
    let client = reqwest::Client::builder().unix_socket(path).build()?;
    let request = client.post("http://localhost/").body(serde_json::to_vec(order)?);
    let response = request.send().await.context("the running server does not answer")?;
    let done = response.status().is_success();
    let text = response.text().await?;
    Ok(Some(if done { Ok(text) } else { Err(text) }))
}

fn path(config: &Config) -> PathBuf {
    config.data_dir.join("admin.sock")
}
