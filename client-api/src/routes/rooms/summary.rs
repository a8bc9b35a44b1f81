//! GET /_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary
//!
//! The name that the room summary had before it was in the specification.

pub(crate) use super::super::room_summary::get;
