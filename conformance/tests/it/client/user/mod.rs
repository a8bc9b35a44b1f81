//! `/user`: what a user keeps for their clients.

mod account_data;
mod filter;
mod openid;
mod rooms;
