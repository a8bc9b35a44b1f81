//! `/voip`: calls.

mod turn_server;
