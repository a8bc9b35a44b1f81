//! The server that runs in the containers of these tests: this program, started by a launcher.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use axum::{Json, Router, extract::Path, routing::get};
use tokio::net::TcpListener;

/// In the process of a container this serves until it is killed; in a test it does nothing.
///
/// The launcher starts the test program for one test only, which begins with this call.
pub(crate) async fn run_if_launched() {
    let Ok(address) = env::var("CONTAINER_ADDRESS") else { return };
    let listener = TcpListener::bind(format!("{address}:8008")).await.unwrap();
    eprintln!("the server writes this");
    axum::serve(listener, router()).await.unwrap();
}

fn router() -> Router {
    Router::new()
        .route("/environment", get(async || Json(env::vars().collect::<BTreeMap<_, _>>())))
        .route("/hosts", get(async || Json(fs::read_to_string("/etc/hosts").unwrap())))
        .route("/remember/{text}", get(remember))
        .route("/recall", get(async || Json(fs::read_to_string(memory()).unwrap())))
}

async fn remember(Path(text): Path<String>) -> Json<String> {
    fs::write(memory(), &text).unwrap();
    Json(text)
}

fn memory() -> PathBuf {
    PathBuf::from(env::var("CONTAINER_ROOT").unwrap()).join("data/memory")
}
