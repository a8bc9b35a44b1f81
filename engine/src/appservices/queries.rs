//! Asking application services for users and rooms that they make when somebody asks for them.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#querying>

use std::time::Duration;

use http::{Method, StatusCode};
use ruma::{RoomAliasId, UserId};
use starling_storage::accounts;

use super::{
    ApplicationService,
    ask::{self, AskServiceError, Question},
};
use crate::{Engine, Internal, remote::Limits};

/// What one try may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), max_body: 64 * 1024 };

/// How often it is tried to get an answer.
const TRIES: u32 = 3;

/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// What application services say about something that is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// One of them has made it.
    Made,
    /// None of them has.
    Unknown,
    /// None of them has, and one that might have does not answer.
    NoAnswer,
}

/// Asks for a user of this server, unless there is one. Whoever makes it has done so afterwards.
///
/// # Errors
///
/// When the database fails.
pub(crate) async fn ensure_user(engine: &Engine, user_id: &UserId) -> Result<(), Internal> {
    let is_about = |service: &ApplicationService| service.has_user(user_id);
    if !engine.config.appservices.iter().any(|service| is_about(service)) {
        return Ok(());
    }
    let mut conn = engine.storage.read().await?;
    let known = accounts::user(&mut conn, user_id.as_str()).await?;
    drop(conn);
    if known.is_none() {
        query(engine, is_about, ["users", user_id.as_str()]).await;
    }
    Ok(())
}

/// Asks for an alias of this server that is not known.
pub(crate) async fn alias(engine: &Engine, alias: &RoomAliasId) -> Verdict {
    let is_about = |service: &ApplicationService| service.has_alias(alias);
    query(engine, is_about, ["rooms", alias.as_str()]).await
}

async fn query(
    engine: &Engine,
    is_about: impl Fn(&ApplicationService) -> bool,
    path: [&str; 2],
) -> Verdict {
    let mut verdict = Verdict::Unknown;
    for service in engine.config.appservices.iter() {
        if service.url.is_none() || !is_about(service) {
            continue;
        }
        match persistently(engine, service, path).await {
            Ok(true) => return Verdict::Made,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, appservice.id = service.id, kind = path[0],
                    "an application service was asked in vain");
                verdict = Verdict::NoAnswer;
            }
        }
    }
    verdict
}

async fn persistently(
    engine: &Engine,
    service: &ApplicationService,
    path: [&str; 2],
) -> Result<bool, AskServiceError> {
    // However many ask, an application service has only so much to answer at a time.
    let _place = engine.appservices.asking.acquire().await;
    let mut tries = 1;
    loop {
        let question = Question { method: Method::GET, path: &path, query: &[], body: None };
        match ask::ask(engine, service, question, LIMITS).await {
            Ok(answer) => return Ok(answer.status() == StatusCode::OK),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
