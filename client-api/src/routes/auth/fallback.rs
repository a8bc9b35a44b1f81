//! GET /_matrix/client/v3/auth/{authType}/fallback/web
//! POST /_matrix/client/v3/auth/{authType}/fallback/web

use std::collections::HashMap;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::{
    accounts::{
        emails::{self, Purpose, RequestError},
        uia::{self as engine, Failure, Object, Seen, Stage},
    },
    rng,
};

use crate::{
    answer::Answer,
    call::Call,
    error::Error,
    html::{self, Page, Policy},
    limits::Doing,
    request_token, uia,
};

/// What the specification wants to run when a stage is passed.
const DONE: &str = "if(window.onAuthDone){window.onAuthDone();}\
    else if(window.opener&&window.opener.postMessage){window.opener.postMessage(\"authDone\",\"*\");}";

type Fields = HashMap<String, String>;

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    session: String,
}

/// A stage of a session that is there.
struct Found {
    session: String,
    seen: Seen,
    stage: Stage,
    flows: Vec<Vec<Stage>>,
}

pub(crate) async fn get(call: Call) -> Answer {
    call.door.limits.address(Doing::Account, call.client_ip())?;
    match find(&call).await? {
        Some(found) => form(&call, &found, None),
        None => expired(),
    }
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.door.limits.address(Doing::Account, call.client_ip())?;
    let fields: Fields = call.form_or_json().await?;
    let Some(found) = find(&call).await? else { return expired() };
    if let (Stage::Email(purpose), Some(email)) = (found.stage, fields.get("email")) {
        return send_letter(&call, &found, purpose, email).await;
    }
    if found.stage == Stage::Terms && !fields.contains_key("agree") {
        return form(&call, &found, Some("Without that you cannot go on."));
    }
    let auth = auth(&found, &fields);
    uia::count_attempt(&call, &auth).await?;
    let flows: Vec<&[Stage]> = found.flows.iter().map(Vec::as_slice).collect();
    match engine::pass(&call.engine, &found.session, &flows, &auth).await? {
        None => expired(),
        Some(Ok(())) => done(),
        Some(Err(Failure::NotValidated)) => wait(&fields, true),
        Some(Err(failure)) => form(&call, &found, Some(words(failure))),
    }
}

async fn find(call: &Call) -> Result<Option<Found>, Error> {
    let Query { session } = call.query_as()?;
    let Some(seen) = engine::look(&call.engine, &session).await? else { return Ok(None) };
    let flows = uia::flows_of(&call.door, &seen.action);
    let stage = flows.iter().flatten().copied().find(|stage| stage.name() == call.path_arg(0));
    // Whose password it is, only a session of somebody who is logged in says.
    let stage = stage.filter(|stage| *stage != Stage::Password || seen.user.is_some());
    Ok(stage.map(|stage| Found { session, seen, stage, flows }))
}

/// The stage's data, as a client would send them.
fn auth(found: &Found, fields: &Fields) -> Object {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let mut auth = Object::new();
    auth.insert("type".into(), found.stage.name().into());
    match found.stage {
        Stage::Dummy | Stage::Terms => {}
        Stage::RegistrationToken => {
            auth.insert("token".into(), field("token").trim().into());
        }
        Stage::Captcha => {
            auth.insert("response".into(), field("g-recaptcha-response").into());
        }
        Stage::Email(_) => {
            let credentials =
                json!({ "sid": field("sid"), "client_secret": field("client_secret") });
            auth.insert("threepid_creds".into(), credentials);
        }
        Stage::Password => {
            let user = found.seen.user.as_ref().map_or(Value::Null, |user| json!(user));
            auth.insert("identifier".into(), json!({ "type": "m.id.user", "user": user }));
            auth.insert("password".into(), field("password").into());
        }
    }
    auth
}

async fn send_letter(call: &Call, found: &Found, purpose: Purpose, email: &str) -> Answer {
    request_token::count(call, email).await?;
    let client_secret = rng::token::<24>();
    let request = emails::Request {
        purpose,
        address: email.to_owned(),
        client_secret: client_secret.clone(),
        send_attempt: 1,
        next_link: None,
    };
    match emails::request(&call.engine, request).await {
        Ok(sid) => {
            let fields = [("sid", sid), ("client_secret", client_secret)];
            wait(&fields.map(|(name, value)| (name.to_owned(), value)).into(), false)
        }
        Err(RequestError::Internal(cause)) => Err(cause.into()),
        Err(RequestError::InUse) => form(call, found, Some("This address has an account already.")),
        Err(RequestError::NotFound) => form(call, found, Some("This address has no account.")),
        Err(RequestError::NotSent) => form(call, found, Some("The letter could not be sent.")),
        Err(_) => form(call, found, Some("This is not an e-mail address.")),
    }
}

fn form(call: &Call, found: &Found, wrong: Option<&str>) -> Answer {
    let (title, inner, policy) = match found.stage {
        Stage::Dummy => ("Go on", String::new(), Policy::Nothing),
        Stage::Terms => ("What this server asks of you", terms(call), Policy::Nothing),
        Stage::RegistrationToken => (
            "Your registration token",
            input("Registration token", "text", "token"),
            Policy::Nothing,
        ),
        Stage::Captcha => ("Show that you are a person", captcha(call), Policy::Captcha),
        Stage::Email(_) => {
            ("Your e-mail address", input("E-mail address", "email", "email"), Policy::Nothing)
        }
        Stage::Password => ("Your password", password(found), Policy::Nothing),
    };
    let wrong = wrong.map_or_else(String::new, |wrong| {
        format!("<p class=\"wrong\">{}</p>", html::escape(wrong))
    });
    let body = format!("{wrong}<form method=\"post\">{inner}<button>Continue</button></form>");
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    Page { status, title, body, policy, ..Page::default() }.into_answer()
}

fn input(label: &str, kind: &str, name: &str) -> String {
    format!("<label>{label}<input type=\"{kind}\" name=\"{name}\" required autofocus></label>")
}

/// Whoever gives a password must see whose it is to be, and what it allows.
fn password(found: &Found) -> String {
    let user = found.seen.user.as_ref().map(|user| user.as_str()).unwrap_or_default();
    format!(
        "<p>Give the password of <strong>{}</strong> to {}.</p>{}",
        html::escape(user),
        uia::for_people(&found.seen.action),
        input("Password", "password", "password")
    )
}

fn terms(call: &Call) -> String {
    let languages = call.header("accept-language").unwrap_or_default();
    let items = call.door.settings.policies.iter().map(|policy| {
        let (name, url) = policy.in_language(languages);
        format!("<li><a href=\"{}\">{}</a></li>", html::escape(url), html::escape(name))
    });
    format!(
        "<ul>{}</ul><label><input type=\"checkbox\" name=\"agree\" value=\"yes\" required> \
         I have read this and agree.</label>",
        items.collect::<String>()
    )
}

fn captcha(call: &Call) -> String {
    let site_key = call.door.settings.captcha_site_key.as_deref().unwrap_or_default();
    format!(
        "<script src=\"https://www.google.com/recaptcha/api.js\" async defer></script>\
         <div class=\"g-recaptcha\" data-sitekey=\"{}\"></div>",
        html::escape(site_key)
    )
}

/// The letter is on its way; or the link in it has not been followed yet.
fn wait(fields: &Fields, again: bool) -> Answer {
    let field =
        |name: &str| html::hidden(name, fields.get(name).map(String::as_str).unwrap_or_default());
    let text = match again {
        false => "A letter is on its way to you. Follow the link in it, then go on here.",
        true => "The link in the letter has not been followed yet.",
    };
    let body = format!(
        "<p>{text}</p><form method=\"post\">{}{}<button>Continue</button></form>",
        field("sid"),
        field("client_secret"),
    );
    let status = if again { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    Page { status, title: "Your e-mail address", body, ..Page::default() }.into_answer()
}

fn done() -> Answer {
    let body = "<p>You can go back to where you came from.</p>".to_owned();
    Page { title: "Thank you", body, script: Some(DONE), ..Page::default() }.into_answer()
}

fn expired() -> Answer {
    html::notice(
        StatusCode::NOT_FOUND,
        "This page is of no use any more",
        "Begin again where you came from.",
    )
}

fn words(failure: Failure) -> &'static str {
    match failure {
        Failure::Wrong => "This is not the right one.",
        Failure::Deactivated => "This account has been deactivated.",
        Failure::NotOffered | Failure::Malformed => "Something is missing.",
        Failure::NotValidated => "The address is not confirmed.",
        Failure::CaptchaNotSolved => "That did not work. Try again.",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{testing::TestDoor, uia};

    #[tokio::test]
    async fn whoever_gives_a_password_is_told_whose_and_what_for() {
        let door = TestDoor::new().await;
        let alice = door.register("alice").await;
        let client = "/_matrix/client/v3";
        let device = format!("{client}/devices/{}", alice.device_id);
        let deactivate = format!("{client}/account/deactivate");
        let asked = [
            (door.delete(&device, &alice, json!({})).await, "log one of your devices out"),
            (door.post(&deactivate, &alice, json!({})).await, "close your account for good"),
        ];
        for (wanted, text) in asked {
            let session = wanted.body["session"].as_str().unwrap();
            let page = format!("{client}/auth/m.login.password/fallback/web?session={session}");
            let page = door.get_anonymous(&page).await.ok();
            let page = page.as_str().unwrap();
            assert!(page.contains("@alice:test") && page.contains(text), "{page}");
        }
        assert_eq!(uia::for_people("POST /unknown"), "go on");
    }
}
