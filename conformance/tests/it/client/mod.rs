//! The client-server API: one file per endpoint, as the module documentation of `main.rs` says.

mod register;
mod rooms;
mod sync;
mod versions;
