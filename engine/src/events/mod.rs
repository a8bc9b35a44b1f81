//! Events as they travel between servers. Everything here is pure, JSON in, decision out, but for
//! [`store`].

pub mod canonical;
pub mod pdu;

pub mod format;

pub mod hashes;

pub mod redact;

pub mod sign;

pub mod verify;

pub mod client;

pub mod store;

pub use canonical::Canonical;
pub use format::PduError;
pub use pdu::Pdu;
pub use store::StoredEvent;
