//! `/thirdparty`: networks that application services bridge to.

pub(crate) mod location;
pub(crate) mod protocol;
pub(crate) mod protocols;
pub(crate) mod user;
