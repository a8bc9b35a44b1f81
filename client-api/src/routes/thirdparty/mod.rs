//! `/thirdparty`: networks that application services bridge to.

pub(crate) mod protocols;
