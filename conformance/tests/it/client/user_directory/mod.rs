//! `/user_directory`.

mod search;
