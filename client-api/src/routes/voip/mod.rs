//! `/voip`: calls.

pub(crate) mod turn_server;
