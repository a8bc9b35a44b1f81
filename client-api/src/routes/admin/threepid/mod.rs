//! `/threepid`: whose an address is.

pub(crate) mod users;
