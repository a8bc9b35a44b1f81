//! `/appservice`: what application services ask about themselves.

pub(crate) mod ping;
