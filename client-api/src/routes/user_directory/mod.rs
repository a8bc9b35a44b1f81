//! `/user_directory`.

pub(crate) mod search;
