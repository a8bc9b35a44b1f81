//! `/account`: the caller's own account.

pub(crate) mod whoami;
