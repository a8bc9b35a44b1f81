//! GET /_matrix/client/unstable/email/unsubscribe
//! POST /_matrix/client/unstable/email/unsubscribe

use http::StatusCode;
use serde::Deserialize;
use starling_engine::pushers::{UNSUBSCRIBE_PATH, set};

use crate::{
    answer::Answer,
    call::Call,
    html::{self, Page},
    limits::Doing,
};

#[derive(Deserialize)]
struct Query {
    token: String,
}

/// Asks to confirm. Nothing happens here: mail servers follow links too.
pub(crate) async fn get(call: Call) -> Answer {
    call.door.limits.address(Doing::Account, call.client_ip())?;
    let Ok(Query { token }) = call.query_as() else { return useless() };
    let Some(pusher) = set::of_link(&call.engine, &token).await? else { return useless() };
    let body = format!(
        "<p>Letters about messages that you have not read go to this address:</p>\
         <p><strong>{}</strong></p><form method=\"post\" action=\"{UNSUBSCRIBE_PATH}?token={}\">\
         <button>Have no more of them</button></form>",
        html::escape(&pusher.key.pushkey),
        html::escape(&token),
    );
    Page { title: "No more letters", body, ..Page::default() }.into_answer()
}

/// The form of our page, or what mail clients send for their users (RFC 8058).
pub(crate) async fn post(call: Call) -> Answer {
    call.door.limits.address(Doing::Account, call.client_ip())?;
    let Ok(Query { token }) = call.query_as() else { return useless() };
    match set::unsubscribe(&call.engine, &token).await? {
        true => html::notice(
            StatusCode::OK,
            "No more letters",
            "You get no more letters about messages. In the settings of your client you can ask for them \
             again.",
        ),
        false => useless(),
    }
}

fn useless() -> Answer {
    html::notice(
        StatusCode::BAD_REQUEST,
        "This link is of no use any more",
        "There are no letters that it would end.",
    )
}
