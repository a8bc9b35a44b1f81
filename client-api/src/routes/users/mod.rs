//! `/users`: what is said of users.

pub(crate) mod report;
