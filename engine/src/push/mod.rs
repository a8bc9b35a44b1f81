//! Whom an event notifies.

pub mod rules;
