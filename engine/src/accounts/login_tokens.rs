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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        accounts::{
            admin,
            password::{self, LogOut},
            uia::{self, Outcome, Stage, Wanted},
        },
        testing::on_each_database,
    };

    #[tokio::test]
    async fn what_the_old_password_proves_ends_with_it() {
        on_each_database(async |test| {
            let engine = &test.engine;
            let old = Some("old".to_owned());
            let alice = admin::create_user(engine, "alice", old, false).await.unwrap();
            let wanted =
                Wanted { action: "POST /x", user: Some(&alice), flows: &[&[Stage::Password]] };
            let prove = async |auth: Value| {
                let Value::Object(body) = json!({ "auth": auth }) else { unreachable!() };
                uia::authenticate(engine, &wanted, body).await.unwrap()
            };
            let auth = json!({ "type": "m.login.password", "user": "alice", "password": "old" });
            let Outcome::Proceed(proof) = prove(auth.clone()).await else { panic!() };
            issue(engine, &alice, &proof).await.unwrap();

            // On the page for people the stage is passed apart from the operation.
            let Outcome::Continue { session, .. } = prove(json!({})).await else { panic!() };
            let Value::Object(auth) = auth else { unreachable!() };
            uia::pass(engine, &session, wanted.flows, &auth).await.unwrap().unwrap().unwrap();

            let new = "new".to_owned();
            password::set(engine, &alice, new, LogOut::None, Change::new()).await.unwrap();
            let late = issue(engine, &alice, &proof).await;
            assert!(matches!(late, Err(IssueError::UsedUp)));
            let again = prove(json!({ "session": session })).await;
            assert!(matches!(again, Outcome::Continue { .. }));
            test
        })
        .await
        .unwrap();
    }
}
