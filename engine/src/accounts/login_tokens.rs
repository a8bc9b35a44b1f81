//! Log-in tokens: by one of them another client of a user logs in, once.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token>

use std::time::Duration;

use ruma::UserId;
use starling_storage::{
    Change, CommitError,
    accounts::{
        self,
        passes::{Kind, PassRow, Write},
    },
};

use super::{tokens::Hash, uia::Proof};
use crate::{Engine, Internal, rng};

/// How long a token is valid: the time that the specification recommends.
pub const LIFETIME: Duration = Duration::from_secs(120);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The session was used by another request meanwhile.
    #[error("the session has been used")]
    UsedUp,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// Makes a token for a user who has just proved to be that user, valid for [`LIFETIME`]. The proof is
/// used up: each token needs one of its own.
///
/// # Errors
///
/// [`IssueError`].
pub async fn issue(engine: &Engine, user_id: &UserId, proof: &Proof) -> Result<String, IssueError> {
    let token = rng::token::<32>();
    let lifetime = i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX);
    let mut change = Change::new();
    proof.claim(engine, &mut change);
    let row = PassRow {
        token_hash: Hash::of(&token).to_vec(),
        user_id: user_id.to_string(),
        expires_ts: engine.clock.now_ms().saturating_add(lifetime),
    };
    change.write(accounts::Write::Pass(Write { kind: Kind::Login, row }));
    match engine.storage.commit(change).await {
        Ok(_) => Ok(token),
        Err(CommitError::UsedUp) => Err(IssueError::UsedUp),
        Err(error) => Err(Internal::from(error).into()),
    }
}
