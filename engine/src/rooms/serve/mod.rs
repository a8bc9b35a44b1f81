//! What other servers ask of us about rooms.
//!
//! Every function takes the verified name of the asking server, and reads events by room *and* by
//! event: a server that is in one room learns nothing of another.
//!
//! Reading order: [`access`] (may this server ask about this room at all), [`visible`] (which events
//! it may see), [`state`] and [`history`] (reading), [`template`], [`submit`] and [`joined`] (their users'
//! coming and going), [`stripped`] and [`invite`] (ours).

pub mod access;

pub mod visible;

pub mod chain;

pub mod state;

pub mod history;

pub mod moments;

pub mod template;

pub mod stripped;

pub mod submit;

pub mod joined;

pub mod invite;

pub mod profile;

use crate::internal::Internal;

/// Why a server is not given what it asks for.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such room or event, or the server may not know whether there is.
    #[error("not found")]
    NotFound,
    /// The server is not in the room, or the room's access control list keeps it out.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A failure of ours.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for ReadError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}
