//! `/appservice`: what application services ask about themselves.

mod ping;
