//! What administrators see and do beyond their own account: accounts ([`users`]), who may register
//! ([`tokens`]), what was reported ([`reports`]), the servers that are sent to ([`destinations`]).

pub mod destinations;
pub mod reports;
pub mod rooms;
pub mod tokens;
pub mod users;
