//! `/openid`: who shows a token to a third party.

mod userinfo;
