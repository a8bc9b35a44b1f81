//! `/_matrix/static/client`: pages for clients that cannot do something themselves.

pub(crate) mod login;
