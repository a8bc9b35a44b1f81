//! `/auth`: pages for stages that a client does not know.

pub(crate) mod fallback;
