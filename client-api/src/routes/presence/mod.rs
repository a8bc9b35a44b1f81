//! `/presence/…`

pub(crate) mod status;
