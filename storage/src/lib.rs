//! Tables, transactions and positions. No Matrix rules.
//!
//! Reading order: [`db`] (connections, statements, rows), [`facts`] (what a commit made true),
//! [`change`] (one effect as a value), [`writer`] (applies changes in groups), [`feed`] (publishes
//! their facts), [`storage`] (a database opened); then one module per table family, each with its rows, what can be written to them, and
//! the queries on them.

mod alone;
mod bulk;
mod checkpoints;
pub mod db;
pub mod delayed_events;
mod dialect;

pub mod account_data;
pub mod accounts;
pub mod admin;
pub mod appservices;
pub mod backups;
pub mod blobs;
pub mod change;
pub mod copies;
pub mod encryption;
pub mod epochs;
pub mod events;
pub mod examine;
pub mod facts;
pub mod federation;
pub mod feed;
pub mod measure;
pub mod measures;
pub mod media;
pub mod memberships;
pub mod migrations;
mod passing;
pub mod pushers;
pub mod receipts;
pub mod relations;
pub mod rooms;
pub mod search;
pub mod sliding;
pub mod slow;
pub mod state;
pub mod storage;
pub mod subscriptions;
#[cfg(feature = "test-support")]
pub mod test_support;
pub mod timeline;
pub mod to_device;
pub mod unread;
pub mod user_directory;
pub mod writer;

pub use change::{At, Change, Claim};
pub use db::{Conn, Db, DbError};
pub use facts::{Fact, Positioned};
pub use feed::{Feed, Listener};
pub use storage::{Options, Storage, Submitted};
pub use writer::{CommitError, Committed};
