//! `/user`: what a user keeps here for their clients.

pub(crate) mod account_data;
pub(crate) mod filter;
pub(crate) mod mutual_rooms;
pub(crate) mod openid;
pub(crate) mod rooms;
