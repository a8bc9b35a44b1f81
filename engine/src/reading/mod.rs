//! What all reads by clients have in common, and the reads of a room's history.

pub mod token;

pub mod filter;

pub mod fields;
