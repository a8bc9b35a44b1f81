//! Application services: how they act for their users, what is left to them alone, and what they are told.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/>

mod accounts;
mod aliases;
mod devices;
mod encryption;
mod identity;
mod queries;
mod transactions;

use starling_conformance::{
    appservice::{Bridge, Plan, files},
    servers::Server,
};

use crate::support;

/// A server with an application service.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) bridge: Bridge,
}

/// A server with one that keeps its users and aliases for itself.
pub(crate) async fn scene() -> Scene {
    scene_of(Plan::new("irc"), &[]).await
}

pub(crate) async fn scene_of(plan: Plan, settings: &[(&str, &str)]) -> Scene {
    let bridge = Bridge::start(plan).await.unwrap();
    let server = server_with(&[&bridge], settings).await;
    Scene { server, bridge }
}

/// A server with these application services and settings.
pub(crate) async fn server_with(bridges: &[&Bridge], settings: &[(&str, &str)]) -> Server {
    let paths: Vec<_> = bridges.iter().map(|bridge| bridge.registration()).collect();
    let paths: Vec<_> = paths.iter().map(|path| &**path).collect();
    let mut spec = support::spec().with_setting("APPSERVICES__FILES", &files(&paths));
    for (name, value) in settings {
        spec = spec.with_setting(name, value);
    }
    support::start(spec).await
}
