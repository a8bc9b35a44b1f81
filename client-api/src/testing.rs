//! The door over an engine on a temporary database, for the routes' tests.

use axum::{Router, body::Body};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use ruma::{OwnedDeviceId, OwnedUserId};
use serde_json::{Value, json};
use starling_engine::{Engine, testing::TestEngine};
use tower::ServiceExt as _;

use crate::{Door, Settings, router_with_admin};

/// A door without rate limits.
pub(crate) struct TestDoor {
    pub(crate) test: TestEngine,
    router: Router,
}

/// A user with a device.
pub(crate) struct TestUser {
    pub(crate) user_id: OwnedUserId,
    pub(crate) device_id: OwnedDeviceId,
    pub(crate) token: String,
}

impl TestUser {
    /// The user that a registration or a log-in answered.
    pub(crate) fn from_answer(body: &Value) -> Self {
        let text = |key: &str| body[key].as_str().unwrap().to_owned();
        Self {
            user_id: text("user_id").try_into().unwrap(),
            device_id: text("device_id").into(),
            token: text("access_token"),
        }
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct TestAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl TestAnswer {
    /// Asserts that this is that refusal.
    #[track_caller]
    pub(crate) fn refused(&self, status: StatusCode, errcode: &str) {
        assert_eq!((self.status, self.body["errcode"].as_str()), (status, Some(errcode)));
    }

    /// Asserts that this is 200 and returns the body.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }
}

impl TestDoor {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::over(TestEngine::new().await.unwrap(), settings)
    }

    pub(crate) fn over(test: TestEngine, settings: Settings) -> Self {
        let router = router_with_admin(test.engine.clone(), settings);
        Self { test, router }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.test.engine
    }

    /// Registers a user with the password `secret`, as a client does.
    pub(crate) async fn register(&self, name: &str) -> TestUser {
        let body = json!({
            "username": name, "password": "secret", "auth": { "type": "m.login.dummy" },
        });
        let body = self.post_anonymous("/_matrix/client/v3/register", body).await.ok();
        TestUser::from_answer(&body)
    }

    pub(crate) async fn user(&self, name: &str) -> TestUser {
        let (user_id, issued) = self.test.user(name).await.unwrap();
        TestUser { user_id, device_id: "DEVICE".into(), token: issued.access_token }
    }

    /// Sends any request.
    pub(crate) async fn send(&self, request: Request<Body>) -> TestAnswer {
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let body = if bytes.is_empty() {
            Value::Null
        } else if kind.is_some_and(|kind| kind.starts_with("text/html")) {
            Value::String(String::from_utf8(bytes.to_vec()).unwrap())
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("not JSON: {bytes:?}"))
        };
        TestAnswer { status: parts.status, headers: parts.headers, body }
    }

    /// Sends a request with these bytes as its body.
    pub(crate) async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        user: Option<&TestUser>,
        body: impl Into<Body>,
    ) -> TestAnswer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(user) = user {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", user.token));
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, user: &TestUser) -> TestAnswer {
        self.send_bytes(Method::GET, path, Some(user), Body::empty()).await
    }

    pub(crate) async fn get_anonymous(&self, path: &str) -> TestAnswer {
        self.send_bytes(Method::GET, path, None, Body::empty()).await
    }

    pub(crate) async fn put(&self, path: &str, user: &TestUser, body: Value) -> TestAnswer {
        self.send_bytes(Method::PUT, path, Some(user), body.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, user: &TestUser, body: Value) -> TestAnswer {
        self.send_bytes(Method::POST, path, Some(user), body.to_string()).await
    }

    pub(crate) async fn post_anonymous(&self, path: &str, body: Value) -> TestAnswer {
        self.send_bytes(Method::POST, path, None, body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str, user: &TestUser, body: Value) -> TestAnswer {
        self.send_bytes(Method::DELETE, path, Some(user), body.to_string()).await
    }

    /// The ID of a new room of a user.
    pub(crate) async fn room(&self, user: &TestUser, body: Value) -> String {
        let room = self.post("/_matrix/client/v3/createRoom", user, body).await.ok();
        room["room_id"].as_str().unwrap().to_owned()
    }
}

/// What a call can use, over an engine of its own.
pub(crate) async fn door() -> Door {
    let engine = TestEngine::new().await.unwrap().engine;
    Door::new(engine, Settings::default())
}
