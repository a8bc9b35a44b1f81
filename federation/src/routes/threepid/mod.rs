//! `/3pid`: what identity servers say about addresses.

pub(crate) mod onbind;
