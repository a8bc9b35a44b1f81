//! Black-box suites, interoperation with other servers and clients, benches and fault commands.
//!
//! Everything here speaks to a running server from outside, over HTTP, and knows nothing of
//! Starling's insides. [`servers`] starts real server processes, [`client`] is a small Matrix client,
//! [`evil`] is another server that lies when asked to ([`hostile`] lets it attack), [`mail`] one that takes
//! letters, [`appservice`] an application service, [`report`] counts what passed. The suites build on
//! those; `tests/it` holds the black-box tests by URL, [`operations`] says what they leave out, and
//! [`security`] which attacks they play.

pub mod appservice;
pub mod bench;
pub mod client;
pub mod complement;
pub mod destinations;
pub mod engine;
pub mod evil;
pub mod faults;
pub mod fuzz;
pub mod gateway;
pub mod hostile;
pub mod interop;
pub mod listening;
pub mod mail;
pub mod operations;
pub mod oracle;
pub mod partition;
pub mod random;
pub mod report;
pub mod security;
pub mod servers;
pub mod worlds;
