//! GET /_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms
//!
//! The name that mutual rooms had before they were in the specification.

pub(crate) use super::super::mutual_rooms::get;
