//! GET /_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}
//!
//! The name that the room summary had first.

pub(crate) use super::room_summary::get;
