//! `/email`: where the links in letters lead.

pub(crate) mod submit_token;
pub(crate) mod unsubscribe;
