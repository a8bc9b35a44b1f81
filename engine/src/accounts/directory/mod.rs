//! The user directory: finding users by parts of their names.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#user-directory>
//!
//! Whom somebody may find is decided when they ask: who shares a room with them, and who is in a room
//! that anybody may join or read. By which words a user can be found is noted before: with the account
//! and the profile of a local user, and behind the memberships of users of other servers
//! ([`follow`]), whose names are known from rooms only. A user of this server is found and shown by
//! their profile, never by a name that they use in one room.

pub mod names;

pub mod follow;

pub mod search;

#[cfg(test)]
mod tests;
