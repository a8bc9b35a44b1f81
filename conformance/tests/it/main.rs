//! Black-box tests: the real server, spoken to over HTTP, by URL.
//!
//! The path of an endpoint leads to its tests as it leads to its route file: drop
//! `/_matrix/<api>/<version>` and every `{parameter}`, the first two words are folder and file.
//! `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}` is tested in
//! `client/rooms/send.rs`; `PUT /_matrix/federation/v2/send_join/...` in `federation/send_join.rs`.
//!
//! A test shows what a client or another server can see, no more: it registers users of its own
//! (names are made unique), creates rooms of its own, and shares the server with all other tests.
//! [`support`] gives it that server. A test that needs other settings, or stops its server, starts
//! one of its own.
//!
//! * `STARLING_TEST_DATABASE=postgres` runs the same tests on PostgreSQL, on the server that
//!   `STARLING_TEST_POSTGRES_URL` names.
//! * `STARLING_TEST_SERVER=synapse` runs them against Synapse: a test of the specification should
//!   pass there too, unless Synapse is wrong.
//! * `STARLING_TEST_KEEP=1` keeps configuration, data and log of each server and names the folder.
//! * `STARLING_BIN` names a ready-made binary; otherwise the workspace's is built first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod admin;
mod appservice;
mod backup;
mod bench;
mod bucket;
mod cases;
mod client;
mod crowd;
mod doctor;
mod federation;
mod gone;
mod health;
mod hostile;
mod little_memory;
mod metrics;
mod nonsense;
mod oracle;
mod push;
mod rotate_key;
mod scene;
mod support;
mod threepid;
mod too_many;
mod untaken;
