//! `/openid`: who shows a token of ours to a third party.

pub(crate) mod userinfo;
