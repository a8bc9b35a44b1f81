//! What no caller can act upon: it is logged where a request ends and answered as an internal error.

use starling_storage::{CommitError, DbError};

use crate::state::node::NodeError;

/// A failure of this server, not of what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Internal {
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The writer failed, or refused for a reason that the caller did not allow for.
    #[error("the change was not written: {0}")]
    Commit(#[from] CommitError),
    /// Something that was stored is missing or cannot be read.
    #[error("the database is damaged: {0}")]
    Damaged(String),
}

impl Internal {
    /// Whether the database is away or has no room, or this server is going: what was asked may succeed
    /// later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Db(error) => error.is_passing(),
            Self::Commit(CommitError::Db(error)) => error.is_passing(),
            Self::Commit(CommitError::Stopped) => true,
            Self::Commit(_) | Self::Damaged(_) => false,
        }
    }
}

impl From<serde_json::Error> for Internal {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<NodeError> for Internal {
    fn from(error: NodeError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<ruma::IdParseError> for Internal {
    fn from(error: ruma::IdParseError) -> Self {
        Self::Damaged(error.to_string())
    }
}
