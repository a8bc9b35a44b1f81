//! `/_synapse/admin/v1/user/…`

pub(crate) mod media;
pub(crate) mod redact;
pub(crate) mod redact_status;
