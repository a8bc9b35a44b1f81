//! `/account`.

mod deactivate;
mod password;
