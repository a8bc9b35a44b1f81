//! What administrators see and do beyond their own account.
//!
//! Accounts ([`users`]), how often they may do something ([`rate_limits`]), their files ([`media`]), who
//! may register ([`tokens`]), what was reported ([`reports`]), the servers that are sent to
//! ([`destinations`]), rooms ([`rooms`]) and who is in them ([`members`]), what the server says to its
//! users ([`notices`]), what goes because it is old ([`retention`]), and the work that is done in the
//! background ([`tasks`]): removing rooms ([`delete`]), their history ([`history`]), and what a user said
//! ([`redact`]).

pub mod destinations;
pub mod media;
pub mod rate_limits;
pub mod reports;
pub mod rooms;
pub mod tokens;
pub mod users;

pub mod members;
pub mod notices;

pub mod delete;
pub mod history;
pub mod redact;
pub mod retention;
pub mod tasks;

/// What the process has for administrators.
#[derive(Debug, Default)]
pub struct Memory {
    pub(crate) wake: tasks::Wake,
    pub(crate) notices: notices::Turn,
}
