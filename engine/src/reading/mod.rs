//! What all reads by clients have in common, and the reads of a room's history.

pub mod token;

pub mod filter;

pub mod fields;

pub mod reader;

pub mod show;

mod bundle;

pub mod scan;

pub mod access;

pub mod members;

pub mod messages;
pub mod peek;

pub mod pos;

pub mod moments;

pub(crate) mod notified;

pub mod notifications;

pub mod relations;

pub mod threads;

pub mod context;

pub mod state;
pub mod subscriptions;

#[cfg(test)]
pub(crate) mod stage;

#[cfg(test)]
mod tests;
