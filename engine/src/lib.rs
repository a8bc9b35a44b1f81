//! Matrix itself: rooms, sync, accounts, devices, keys. No HTTP server, no SQL.

pub mod clock;
pub mod events;
pub mod remote;
pub mod rng;
