//! Rooms: what may happen in them and what state they are in.

pub mod versions;

pub mod authorize;

pub mod owned_state;

pub mod checks;

mod auth_graph;

mod resolve_v1;

pub mod resolve;

pub mod visibility;

pub mod server_acl;

pub mod per_version;

pub mod room;

pub mod batch;

pub mod auth_ranks;

pub mod policy;

pub mod power;

pub mod state_at;

pub mod partial;

pub mod append;

pub mod build;

pub mod aliases;

pub mod canonical_alias;

pub mod topic;

pub mod send;

pub mod delayed;

pub mod naming;

pub mod restricted;
pub mod serve;

pub mod typing;

pub mod receive;

pub mod membership;

pub mod blocked;

pub mod create;

pub mod upgrade;

pub mod networks;

pub mod directory;

pub mod mutual;

mod federated;

pub mod unread;

pub mod receipts;

pub mod backfill;

pub mod completing;

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod history;
