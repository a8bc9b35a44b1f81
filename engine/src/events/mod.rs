//! Events as they travel between servers.

pub mod pdu;

pub use pdu::Pdu;
