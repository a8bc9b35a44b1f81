//! User-interactive authentication, as a route calls it.

use ruma::{UserId, api::IncomingRequest};
use serde_json::{Map, Value, json};
use starling_engine::{
    accounts::{
        Session, attempts,
        emails::Purpose,
        uia::{self, Failure, Object, Outcome, Proof, Stage, Wanted},
    },
    config::RegistrationMode,
};

use crate::{
    Door,
    call::Call,
    error::Error,
    settings::{Policy, Settings},
};

/// The action of registering.
pub(crate) const REGISTER: &str = "POST /register";

/// The action of setting a password.
pub(crate) const SET_PASSWORD: &str = "POST /account/password";

/// The action of closing an account.
pub(crate) const DEACTIVATE: &str = "POST /account/deactivate";

/// The action of adding an address to an account.
pub(crate) const ADD_ADDRESS: &str = "POST /account/3pid/add";

/// The action of removing several devices.
pub(crate) const DELETE_DEVICES: &str = "POST /delete_devices";

/// The action of removing a device, which follows.
pub(crate) const DELETE_DEVICE: &str = "DELETE /devices/";

/// The action of replacing the keys by which a user signs.
pub(crate) const SIGNING_KEYS: &str = "POST /keys/device_signing/upload";

/// The action of getting a token by which another client logs in.
pub(crate) const GET_LOGIN_TOKEN: &str = "POST /login/get_token";

/// What an action does, for people: what follows "to".
pub(crate) fn for_people(action: &str) -> &'static str {
    match action {
        REGISTER => "make an account",
        SET_PASSWORD => "set a new password",
        DEACTIVATE => "close your account for good",
        ADD_ADDRESS => "add an address to your account",
        DELETE_DEVICES => "log some of your devices out and remove them",
        GET_LOGIN_TOKEN => "let another device log in",
        SIGNING_KEYS => "replace the keys by which your devices are trusted",
        _ if action.starts_with(DELETE_DEVICE) => "log one of your devices out and remove it",
        _ => "go on",
    }
}

/// The way to prove oneself to an account that exists.
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
    count_attempt_of(call, &body).await?;
    let wanted = Wanted { action, user, flows };
    match uia::authenticate(&call.engine, &wanted, body).await? {
        Outcome::Proceed(proof) => Ok(proof),
        Outcome::Continue { session, completed, failure } => {
            let mut answer = failure.map_or_else(Map::new, refusal);
            answer.insert("session".into(), session.into());
            answer.insert("completed".into(), completed.into());
            answer.insert("flows".into(), flows.iter().map(|flow| stages(flow)).collect());
            answer.insert("params".into(), params(flows, &call.door.settings));
            Err(Error::authentication_wanted(answer))
        }
    }
}

/// The same for somebody who is logged in; an application service, which has full control over its users,
/// is asked nothing.
///
/// <https://spec.matrix.org/v1.19/application-service-api/#deleting-devices>
pub(crate) async fn of_session(
    call: &mut Call,
    action: &str,
    session: &Session,
    flows: &[&[Stage]],
) -> Result<Proof, Error> {
    match session.appservice {
        Some(_) => Ok(Proof::not_asked(call.body_as().await?)),
        None => authenticate(call, action, Some(&session.user_id), flows).await,
    }
}

/// The ways through an action.
pub(crate) fn flows_of(door: &Door, action: &str) -> Vec<Vec<Stage>> {
    let by_email = door.engine.config.email.is_some();
    match action {
        REGISTER => register_flows(door, by_email),
        SET_PASSWORD if by_email => {
            vec![vec![Stage::Password], vec![Stage::Email(Purpose::Password)]]
        }
        _ => PASSWORD.iter().map(|flow| flow.to_vec()).collect(),
    }
}

/// With an address that one may show and need not, `m.login.dummy` tells the way without from the
/// beginning of the way with.
fn register_flows(door: &Door, by_email: bool) -> Vec<Vec<Stage>> {
    let settings = &door.settings;
    let is_token = door.engine.config.registration.mode == RegistrationMode::Token;
    let mut stages = Vec::new();
    stages.extend(is_token.then_some(Stage::RegistrationToken));
    stages.extend(settings.captcha_site_key.as_ref().map(|_| Stage::Captcha));
    stages.extend((!settings.policies.is_empty()).then_some(Stage::Terms));
    let with = |more: Stage| stages.iter().copied().chain([more]).collect();
    let email = Stage::Email(Purpose::Register);
    match (by_email, settings.require_email) {
        (true, true) => vec![with(email)],
        (true, false) => vec![with(Stage::Dummy), with(email)],
        _ if stages.is_empty() => vec![vec![Stage::Dummy]],
        _ => vec![stages],
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
async fn count_attempt_of(call: &Call, body: &Object) -> Result<(), Error> {
    match body.get("auth") {
        Some(Value::Object(auth)) => count_attempt(call, auth).await,
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(Error::bad_json("`auth` is not an object")),
    }
}

/// The same for the data of a stage.
pub(crate) async fn count_attempt(call: &Call, auth: &Object) -> Result<(), Error> {
    if !call.door.settings.rate_limits {
        return Ok(());
    }
    let kind = auth.get("type").and_then(Value::as_str);
    if kind == Some(Stage::Password.name()) {
        let named = uia::named(&call.engine, auth).await?.unwrap_or_default();
        attempts::count_password(&call.engine, call.client_ip(), &named).await?;
    } else if kind == Some(Stage::RegistrationToken.name()) {
        let kind = attempts::Kind::RegistrationTokens;
        attempts::count_address(&call.engine, kind, call.client_ip()).await?;
    }
    Ok(())
}

fn stages(flow: &[Stage]) -> Value {
    let names: Vec<&str> = flow.iter().map(|stage| stage.name()).collect();
    json!({ "stages": names })
}

fn params(flows: &[&[Stage]], settings: &Settings) -> Value {
    let is_offered = |stage: Stage| flows.iter().any(|flow| flow.contains(&stage));
    let mut params = Map::new();
    if is_offered(Stage::Terms) {
        let policies: Map<String, Value> = settings.policies.iter().map(policy).collect();
        params.insert("m.login.terms".into(), json!({ "policies": policies }));
    }
    if is_offered(Stage::Captcha) {
        params
            .insert("m.login.recaptcha".into(), json!({ "public_key": settings.captcha_site_key }));
    }
    params.into()
}

fn policy(policy: &Policy) -> (String, Value) {
    let english = json!({ "name": policy.name, "url": policy.url });
    let mut document = json!({ "version": policy.version, "en": english });
    for (language, (name, url)) in &policy.translations {
        document[language] = json!({ "name": name, "url": url });
    }
    (policy.id.clone(), document)
}

fn refusal(failure: Failure) -> Map<String, Value> {
    match failure {
        Failure::Wrong => Error::forbidden("This is not the right one"),
        Failure::Deactivated => Error::user_deactivated(),
        Failure::NotOffered => Error::unknown("This stage is not offered"),
        Failure::Malformed => Error::bad_json("The stage is not of its form"),
        Failure::NotValidated => Error::unauthorized("The e-mail address is not validated"),
        Failure::CaptchaNotSolved => Error::captcha_invalid(),
    }
    .errcode_and_message()
}
