//! Lines of the table of routes, and the one handler that serves them all.
//!
//! Every route has the same type, so that axum's machinery is compiled once and not for each
//! operation.

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    extract::{RawPathParams, Request},
    response::{IntoResponse as _, Response},
    routing::{MethodFilter, on},
};
use futures_util::{FutureExt as _, future::BoxFuture};

use crate::{
    Door,
    answer::Answer,
    call::{Asker, Call},
    error::Error,
};

type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Answer> + Send + Sync>;

/// One operation.
pub(crate) struct Route {
    method: MethodFilter,
    path: &'static str,
    handler: Handler,
}

impl Route {
    fn new<F, A>(method: MethodFilter, path: &'static str, handler: F) -> Self
    where
        F: Fn(Call) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        Self { method, path, handler: Arc::new(move |call| Box::pin(handler(call))) }
    }
}

/// `GET path` is `handler`.
pub(crate) fn get<F, A>(path: &'static str, handler: F) -> Route
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    Route::new(MethodFilter::GET, path, handler)
}

/// `PUT path` is `handler`.
pub(crate) fn put<F, A>(path: &'static str, handler: F) -> Route
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    Route::new(MethodFilter::PUT, path, handler)
}

/// `POST path` is `handler`.
pub(crate) fn post<F, A>(path: &'static str, handler: F) -> Route
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    Route::new(MethodFilter::POST, path, handler)
}

/// `DELETE path` is `handler`.
pub(crate) fn delete<F, A>(path: &'static str, handler: F) -> Route
where
    F: Fn(Call) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    Route::new(MethodFilter::DELETE, path, handler)
}

/// The router of a table.
pub(crate) fn router(door: &Door, table: Vec<Route>) -> Router {
    let mut router = Router::new();
    for Route { method, path, handler } in table {
        for path in spellings(path) {
            let (door, handler) = (door.clone(), handler.clone());
            let serve = move |request| serve(door.clone(), handler.clone(), request);
            router = router.route(&path, on(method, serve));
        }
    }
    router
}

/// The path, and the names that v3 had before specification v1.1, which old clients and bridges use.
fn spellings(path: &str) -> Vec<String> {
    let mut spellings = vec![path.to_owned()];
    if let Some(rest) = path.strip_prefix("/_matrix/client/v3/") {
        spellings.push(format!("/_matrix/client/r0/{rest}"));
    }
    if let Some(rest) = path.strip_prefix("/_matrix/media/v3/") {
        spellings.push(format!("/_matrix/media/r0/{rest}"));
        spellings.push(format!("/_matrix/media/v1/{rest}"));
    }
    spellings
}

async fn serve(door: Door, handler: Handler, request: Request) -> Response {
    let (untaken, asker) = (door.untaken.clone(), Asker::default());
    let answer = match call(door, request, asker.clone()).await {
        Ok(call) => AssertUnwindSafe(handler(call)).catch_unwind().await,
        Err(error) => Ok(Err(error)),
    };
    let response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => error.into_response(),
        Err(_) => Error::internal("a route panicked").into_response(),
    };
    match asker.get() {
        Some(user) => untaken.hold(user, response).await,
        None => response,
    }
}

async fn call(door: Door, request: Request, asker: Asker) -> Result<Call, Error> {
    let (mut parts, body) = request.into_parts();
    let args = path_args(&mut parts).await?;
    Ok(Call::new(door, (parts, asker), args, body))
}

/// The path's parameters in their order, each percent-decoded once.
async fn path_args(parts: &mut http::request::Parts) -> Result<Vec<String>, Error> {
    use axum::extract::FromRequestParts as _;
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| Error::invalid_param("A part of the path is not UTF-8"))?;
    Ok(params.iter().map(|(_, value)| value.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Method, Request, StatusCode, header};
    use serde_json::json;

    use super::*;
    use crate::{answer, testing::TestDoor};

    async fn echo(call: Call) -> Answer {
        answer::json(&json!([call.path_arg(0), call.path_arg(1)]))
    }

    async fn panic(_: Call) -> Answer {
        panic!("as a test");
    }

    async fn over_table(table: Vec<Route>, path: &str) -> Response {
        use tower::ServiceExt as _;
        let door = crate::testing::door().await;
        let request = Request::get(path).body(Body::empty()).unwrap();
        router(&door, table).oneshot(request).await.unwrap()
    }

    async fn text(response: Response) -> String {
        use http_body_util::BodyExt as _;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn parts_of_a_path_are_decoded_once() {
        let table = || vec![get("/x/{a}/y/{b}", echo)];
        let response = over_table(table(), "/x/%23a%2Fb:c/y/%2525+%2B").await;
        assert_eq!(text(response).await, r##"["#a/b:c","%25++"]"##);
        let response = over_table(table(), "/x/%ff/y/z").await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn a_panic_is_one_request_that_failed() {
        let response = over_table(vec![get("/x", panic)], "/x").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(text(response).await.contains("M_UNKNOWN"));
    }

    #[tokio::test]
    async fn unknown_addresses_and_methods_are_unrecognized() {
        let door = TestDoor::new().await;
        let get = async |path: &str| door.get_anonymous(path).await;
        for path in ["/", "/_matrix/client/versions/", "/_matrix//client/versions", "/_matrix/x"] {
            let answer = get(path).await;
            answer.refused(StatusCode::NOT_FOUND, "M_UNRECOGNIZED");
            assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{path}");
        }
        let answer = door.send_bytes(Method::POST, "/_matrix/client/versions", None, "").await;
        answer.refused(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED");
        assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    }

    #[tokio::test]
    async fn options_are_answered_everywhere() {
        let door = TestDoor::new().await;
        for path in ["/_matrix/client/versions", "/_matrix/client/v3/account/whoami", "/_matrix/x"]
        {
            let answer = door.send_bytes(Method::OPTIONS, path, None, "").await;
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}");
            assert!(answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_HEADERS));
        }
    }

    #[tokio::test]
    async fn old_names_of_paths_work() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        door.get("/_matrix/client/r0/account/whoami", &alice).await.ok();
    }

    /// What is answered without an access token: everything else must ask for one.
    const FOR_ANYBODY: &[&str] = &[
        "GET /.well-known/matrix/client",
        "GET /.well-known/matrix/policy_server",
        "GET /.well-known/matrix/server",
        "GET /.well-known/matrix/support",
        "GET /_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary",
        "GET /_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}",
        "POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}",
        "POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/cancel",
        "POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/restart",
        "POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/send",
        "GET /_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}",
        "GET /_matrix/client/v1/register/m.login.registration_token/validity",
        "GET /_matrix/client/v1/room_summary/{roomIdOrAlias}",
        "POST /_matrix/client/v3/account/3pid/email/requestToken",
        "POST /_matrix/client/v3/account/3pid/msisdn/requestToken",
        "POST /_matrix/client/v3/account/deactivate",
        "POST /_matrix/client/v3/account/password",
        "POST /_matrix/client/v3/account/password/email/requestToken",
        "POST /_matrix/client/v3/account/password/msisdn/requestToken",
        "GET /_matrix/client/v3/auth/{authType}/fallback/web",
        "POST /_matrix/client/v3/auth/{authType}/fallback/web",
        "GET /_matrix/client/v3/directory/list/room/{roomId}",
        "GET /_matrix/client/v3/directory/room/{roomAlias}",
        "GET /_matrix/client/v3/login",
        "POST /_matrix/client/v3/login",
        "GET /_matrix/client/v3/profile/{userId}",
        "GET /_matrix/client/v3/profile/{userId}/{keyName}",
        "GET /_matrix/client/v3/publicRooms",
        "POST /_matrix/client/v3/refresh",
        "POST /_matrix/client/v3/register",
        "GET /_matrix/client/v3/register/available",
        "POST /_matrix/client/v3/register/email/requestToken",
        "POST /_matrix/client/v3/register/msisdn/requestToken",
        "GET /_matrix/client/unstable/email/submit_token",
        "POST /_matrix/client/unstable/email/submit_token",
        "GET /_matrix/client/unstable/email/unsubscribe",
        "POST /_matrix/client/unstable/email/unsubscribe",
        "GET /_matrix/client/versions",
        "GET /_matrix/media/v3/download/{serverName}/{mediaId}",
        "GET /_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}",
        "GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}",
        "GET /_matrix/static/client/login/",
        "GET /_synapse/admin/v1/register",
        "POST /_synapse/admin/v1/register",
    ];

    /// Every operation of a table, with values of the right form in its path.
    fn operations(table: &[Route]) -> impl Iterator<Item = (Method, &'static str, String)> {
        let methods = [
            (MethodFilter::GET, Method::GET),
            (MethodFilter::PUT, Method::PUT),
            (MethodFilter::POST, Method::POST),
            (MethodFilter::DELETE, Method::DELETE),
        ];
        table.iter().map(move |route| {
            let method = methods.iter().find(|(filter, _)| *filter == route.method).unwrap();
            (method.1.clone(), route.path, filled(route.path))
        })
    }

    fn filled(path: &str) -> String {
        let parts = path.split('/').map(|part| match part {
            "{userId}" => "@nobody:test",
            "{roomId}" | "{roomIdOrAlias}" => "!nowhere:test",
            "{roomAlias}" => "%23nothing:test",
            "{eventId}" => "$nothing",
            part if part.starts_with('{') => "5",
            part => part,
        });
        parts.collect::<Vec<_>>().join("/")
    }

    #[tokio::test]
    async fn only_administrators_get_an_answer_where_administrators_are_asked_for() {
        let door = TestDoor::new().await;
        let alice = door.user("alice").await;
        for (method, template, path) in operations(&crate::admin::table()) {
            if template == "/_synapse/admin/v1/server_version" {
                continue;
            }
            let answer = door.send_bytes(method.clone(), &path, Some(&alice), "{}").await;
            let said = (answer.status, answer.body["errcode"].as_str());
            assert_eq!(said, (StatusCode::FORBIDDEN, Some("M_FORBIDDEN")), "{method} {template}");
        }
    }

    #[tokio::test]
    async fn everything_else_asks_for_a_token() {
        let door = TestDoor::new().await;
        let mut open = vec![];
        for (method, template, path) in operations(&crate::table()) {
            let answer = door.send_bytes(method.clone(), &path, None, Body::from("{}")).await;
            if answer.body["errcode"] != "M_MISSING_TOKEN" {
                open.push(format!("{method} {template}"));
            }
        }
        assert_eq!(open, FOR_ANYBODY);
    }
}
