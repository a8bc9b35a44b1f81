//! Rules of the house that a machine can check. CONTRIBUTING.md and STYLE.md say why they exist.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod documents;
mod manifests;
mod routes;
mod sources;
mod tree;
