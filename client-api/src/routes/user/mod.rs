//! `/user`: what a user keeps here for their clients.

pub(crate) mod filter;
