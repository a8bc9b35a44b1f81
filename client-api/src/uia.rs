//! User-interactive authentication, as a route calls it.

use ruma::{UserId, api::IncomingRequest};
use serde_json::{Map, Value, json};
use starling_engine::accounts::{
    attempts,
    uia::{self, Failure, Object, Outcome, Proof, Stage, Wanted},
};

use crate::{call::Call, error::Error, settings::Policy};

/// The only way to prove oneself to an account that exists.
pub(crate) const PASSWORD: &[&[Stage]] = &[&[Stage::Password]];

/// Lets the call go on once its sender has proved enough; until then, the refusal says what is
/// still wanted.
pub(crate) async fn authenticate(
    call: &mut Call,
    action: &str,
    user: Option<&UserId>,
    flows: &[&[Stage]],
) -> Result<Proof, Error> {
    let body: Object = call.body_as().await?;
    count_attempt(call, &body).await?;
    let wanted = Wanted { action, user, flows };
    match uia::authenticate(&call.engine, &wanted, body).await? {
        Outcome::Proceed(proof) => Ok(proof),
        Outcome::Continue { session, completed, failure } => {
            let mut answer = failure.map_or_else(Map::new, refusal);
            answer.insert("session".into(), session.into());
            answer.insert("completed".into(), completed.into());
            answer.insert("flows".into(), flows.iter().map(|flow| stages(flow)).collect());
            answer.insert("params".into(), params(flows, &call.door.settings.policies));
            Err(Error::authentication_wanted(answer))
        }
    }
}

/// The request as it was sent, without what proves anything.
pub(crate) async fn parse_without_auth<R: IncomingRequest>(call: &mut Call) -> Result<R, Error> {
    let mut body: Object = call.body_as().await?;
    body.remove("auth");
    call.parse_with(&serde_json::to_vec(&body).map_err(Error::internal)?)
}

/// The request that was proved for: with what the session remembers of it.
pub(crate) fn parse_proved<R: IncomingRequest>(call: &Call, proof: &Proof) -> Result<R, Error> {
    call.parse_with(&serde_json::to_vec(&proof.body).map_err(Error::internal)?)
}

/// Guesses at passwords and registration tokens are counted before they are looked at.
async fn count_attempt(call: &Call, body: &Object) -> Result<(), Error> {
    let Some(Value::Object(auth)) = body.get("auth") else { return Ok(()) };
    if !call.door.settings.rate_limits {
        return Ok(());
    }
    let kind = auth.get("type").and_then(Value::as_str);
    if kind == Some(Stage::Password.name()) {
        let given = uia::user_of(auth).unwrap_or_default();
        attempts::count_password(&call.engine, call.client_ip(), given).await?;
    } else if kind == Some(Stage::RegistrationToken.name()) {
        let kind = attempts::Kind::RegistrationTokens;
        attempts::count(&call.engine, kind, &call.client_ip().to_string()).await?;
    }
    Ok(())
}

fn stages(flow: &[Stage]) -> Value {
    let names: Vec<&str> = flow.iter().map(|stage| stage.name()).collect();
    json!({ "stages": names })
}

fn params(flows: &[&[Stage]], policies: &[Policy]) -> Value {
    if !flows.iter().any(|flow| flow.contains(&Stage::Terms)) {
        return json!({});
    }
    let policy = |policy: &Policy| {
        let text = json!({ "name": policy.name, "url": policy.url });
        (policy.id.clone(), json!({ "version": policy.version, "en": text }))
    };
    let policies: Map<String, Value> = policies.iter().map(policy).collect();
    json!({ "m.login.terms": { "policies": policies } })
}

fn refusal(failure: Failure) -> Map<String, Value> {
    match failure {
        Failure::Wrong => Error::forbidden("This is not the right one"),
        Failure::Deactivated => Error::user_deactivated(),
        Failure::NotOffered => Error::unknown("This stage is not offered"),
        Failure::Malformed => Error::bad_json("The stage is not of its form"),
    }
    .errcode_and_message()
}
