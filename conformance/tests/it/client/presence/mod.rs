//! `/presence/…`

mod status;
