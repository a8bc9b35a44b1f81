//! `/admin`, which clients of administrators call, and `/_synapse/admin`, which their scripts do.

pub(crate) mod lock;
pub(crate) mod register;
pub(crate) mod suspend;
