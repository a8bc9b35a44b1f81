//! One file for each address, at the place that its path names.
//!
//! `/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}` without version and parameters is
//! `rooms/send`, so it is `rooms/send.rs`. A route's first line is its method and path.

pub(crate) mod account;
pub(crate) mod capabilities;
pub(crate) mod rooms;
pub(crate) mod sync;
pub(crate) mod user;
pub(crate) mod versions;
pub(crate) mod well_known;
