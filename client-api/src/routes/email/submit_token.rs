//! GET /_matrix/client/unstable/email/submit_token
//! POST /_matrix/client/unstable/email/submit_token

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use starling_engine::accounts::emails::{self, Purpose, Shown, Submission, SubmitError};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    html::{self, Page},
    limits::Doing,
};

#[derive(Deserialize)]
struct Fields {
    sid: String,
    client_secret: String,
    token: String,
    /// Whether the form of our page was sent, and not what a client submits.
    #[serde(default)]
    page: bool,
}

impl Fields {
    fn submission(&self) -> Submission {
        Submission {
            session_id: self.sid.clone(),
            client_secret: self.client_secret.clone(),
            token: self.token.clone(),
        }
    }
}

/// Asks to confirm. Nothing happens here: mail servers follow links too.
pub(crate) async fn get(call: Call) -> Answer {
    call.door.limits.address(Doing::Account, call.client_ip())?;
    let Ok(fields) = call.query_as::<Fields>() else { return broken() };
    match emails::look(&call.engine, &fields.submission()).await {
        Ok(shown) => ask(&fields, &shown),
        Err(error) => refuse(error),
    }
}

pub(crate) async fn post(mut call: Call) -> Answer {
    call.door.limits.address(Doing::Account, call.client_ip())?;
    let fields: Fields = call.form_or_json().await?;
    let outcome = emails::submit(&call.engine, &fields.submission()).await;
    if !fields.page {
        outcome?;
        return answer::json(&json!({ "success": true }));
    }
    match outcome {
        Ok(Shown { next_link: Some(link), .. }) => lead_to(&link),
        Ok(shown) => html::notice(StatusCode::OK, "Thank you", done(shown.purpose)),
        Err(error) => refuse(error),
    }
}

fn ask(fields: &Fields, shown: &Shown) -> Answer {
    let (title, question, label) = match shown.purpose {
        Purpose::Register => (
            "Confirm your address",
            "An account is being made with this address:",
            "Yes, this is my address",
        ),
        Purpose::Add => (
            "Confirm your address",
            "This address is being added to an account:",
            "Yes, this is my address",
        ),
        Purpose::Password => (
            "Set a new password",
            "Whoever asked for it may then set a new password for the account with this address. If \
             that was not you, close this page.",
            "Yes, I asked for it",
        ),
    };
    let body = format!(
        "<p>{}</p><p><strong>{}</strong></p><form method=\"post\" action=\"{}\">{}{}{}{}\
         <button>{label}</button></form>",
        html::escape(question),
        html::escape(&shown.address),
        emails::SUBMIT_PATH,
        html::hidden("sid", &fields.sid),
        html::hidden("client_secret", &fields.client_secret),
        html::hidden("token", &fields.token),
        html::hidden("page", "true"),
    );
    let form_action = shown.next_link.as_deref().and_then(origin);
    Page { title, body, form_action, ..Page::default() }.into_answer()
}

/// Browsers ask the policy of a form's page where its answer may lead to.
fn origin(link: &str) -> Option<String> {
    let link: http::Uri = link.parse().ok()?;
    Some(format!("{}://{}", link.scheme_str()?, link.authority()?))
}

fn lead_to(link: &str) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let link = HeaderValue::try_from(link).map_err(Error::internal)?;
    response.headers_mut().insert(header::LOCATION, link);
    let none = HeaderValue::from_static("no-referrer");
    response.headers_mut().insert(header::REFERRER_POLICY, none);
    Ok(response)
}

fn done(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Register | Purpose::Add => {
            "Your address is confirmed. Go on where you came from; you can close this page."
        }
        Purpose::Password => {
            "Go on where you came from to choose the new password; you can close this page."
        }
    }
}

fn refuse(error: SubmitError) -> Answer {
    match error {
        SubmitError::Expired | SubmitError::Wrong => html::notice(
            StatusCode::BAD_REQUEST,
            "This link is of no use any more",
            "It has expired, or a newer letter has taken its place. Ask for another one where you \
             came from.",
        ),
        SubmitError::Internal(cause) => Err(cause.into()),
    }
}

fn broken() -> Answer {
    html::notice(StatusCode::BAD_REQUEST, "This link is broken", "A part of it is missing.")
}
