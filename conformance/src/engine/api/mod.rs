//! The part of the Docker Engine API (version 1.45) that Complement's client uses.
//!
//! <https://docs.docker.com/reference/api/engine/version/v1.45/>

use std::sync::Arc;

use axum::{
    Router,
    http::HeaderName,
    routing::{get, post},
};

use super::depot::Depot;

mod containers;
mod error;
mod images;
mod networks;
mod query;

/// The version that clients agree on; Complement needs this one.
const VERSION: &str = "1.45";

/// The whole API, with and without the version in front of the path.
pub(super) fn router(depot: Arc<Depot>) -> Router {
    let api = routes().with_state(depot);
    Router::new().nest(&format!("/v{VERSION}"), api.clone()).merge(api)
}

fn routes() -> Router<Arc<Depot>> {
    Router::new()
        .route("/_ping", get(ping))
        .route("/images/json", get(images::list))
        .route("/images/{*name}", axum::routing::delete(images::remove))
        .route("/commit", post(images::commit))
        .route("/networks", get(networks::list))
        .route("/networks/create", post(networks::create))
        .route("/networks/{name}", axum::routing::delete(networks::remove))
        .route("/containers/json", get(containers::list))
        .route("/containers/create", post(containers::create))
        .route("/containers/{name}", axum::routing::delete(containers::remove))
        .route("/containers/{name}/json", get(containers::inspect))
        .route("/containers/{name}/start", post(containers::start))
        .route("/containers/{name}/stop", post(containers::stop))
        .route("/containers/{name}/kill", post(containers::kill))
        .route("/containers/{name}/pause", post(containers::pause))
        .route("/containers/{name}/unpause", post(containers::unpause))
        .route("/containers/{name}/logs", get(containers::logs))
        .route("/containers/{name}/archive", axum::routing::put(containers::upload))
}

/// The client takes the version from this and asks for no newer one.
async fn ping() -> ([(HeaderName, &'static str); 2], &'static str) {
    let version = HeaderName::from_static("api-version");
    let system = HeaderName::from_static("ostype");
    ([(version, VERSION), (system, "linux")], "OK")
}
