//! `/account`: the caller's own account.

pub(crate) mod deactivate;
pub(crate) mod password;
pub(crate) mod threepid;
pub(crate) mod whoami;
