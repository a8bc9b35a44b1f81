//! An application service of the tests' own: it takes what servers send it and hands it to the test, and
//! fails, is slow or is not there when asked to.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use http::{Uri, header};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use crate::{
    client::{Api, encode},
    listening::Listening,
    random,
    servers::Server,
};

/// How long something may take to come in.
const PATIENCE: Duration = Duration::from_secs(60);

/// The largest body that is taken.
const LARGEST: usize = 64 << 20;

/// What an application service is about.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name, which is the beginning of its tokens and of its user's name too.
    pub id: String,
    /// Whether it listens anywhere.
    pub listens: bool,
    /// Further keys of its registration.
    pub more: Value,
    /// Its namespaces.
    pub namespaces: Value,
}

impl Plan {
    /// One that keeps `@_{id}_…` and `#_{id}_…` for itself.
    pub fn new(id: &str) -> Self {
        let kept =
            |sigil: &str| json!([{ "regex": format!("{sigil}_{id}_.*"), "exclusive": true }]);
        Self {
            id: id.to_owned(),
            listens: true,
            more: json!({ "rate_limited": false }),
            namespaces: json!({ "users": kept("@"), "aliases": kept("#"), "rooms": [] }),
        }
    }

    /// With this key in its registration.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.more[key] = value;
        self
    }
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, say.
    pub method: String,
    /// The path, decoded, with its query as it was sent.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: String,
    /// The JSON of the body; null when there is none.
    pub body: Value,
    /// The status that was answered.
    pub status: u16,
}

impl Asked {
    /// The ID of a transaction.
    pub fn transaction(&self) -> Option<&str> {
        self.path.strip_prefix("/_matrix/app/v1/transactions/")
    }

    fn list(&self, key: &str) -> Vec<Value> {
        self.body[key].as_array().cloned().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Inner {
    asked: Vec<Asked>,
    /// Paths without `/_matrix/app/v1`, and what is answered there.
    answers: HashMap<String, (u16, Value)>,
    /// Instead of what would be answered.
    failing: Option<u16>,
    slow: Duration,
    /// Paths that are answered only when the test releases them.
    held: HashMap<String, u16>,
    /// What waits to be answered.
    open: Vec<String>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    released: Notify,
    changed: watch::Sender<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An application service that runs until it is dropped.
#[derive(Debug)]
pub struct Bridge {
    plan: Plan,
    as_token: String,
    hs_token: String,
    shared: Arc<Shared>,
    directory: TempDir,
    listening: Listening,
}

impl Bridge {
    /// Starts one on a free port, and writes its registration file.
    pub async fn start(plan: Plan) -> Result<Self> {
        let (inner, changed) = (Mutex::default(), watch::Sender::new(0));
        let shared = Arc::new(Shared { inner, released: Notify::new(), changed });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let bridge = Self {
            as_token: format!("{}-as-{}", plan.id, random::suffix()?),
            hs_token: format!("{}-hs-{}", plan.id, random::suffix()?),
            plan,
            shared,
            directory: tempfile::tempdir()?,
            listening: Listening::start(router).await?,
        };
        std::fs::write(bridge.registration(), serde_json::to_string(&bridge.document())?)?;
        Ok(bridge)
    }

    /// Its registration file. JSON is YAML too.
    pub fn registration(&self) -> PathBuf {
        self.directory.path().join("registration.yaml")
    }

    fn document(&self) -> Value {
        let url = self.plan.listens.then(|| format!("http://{}", self.listening.address()));
        let mut document = json!({
            "id": self.plan.id, "url": url, "as_token": self.as_token, "hs_token": self.hs_token,
            "sender_localpart": format!("{}bot", self.plan.id),
            "namespaces": self.plan.namespaces,
        });
        for (key, value) in self.plan.more.as_object().into_iter().flatten() {
            document[key] = value.clone();
        }
        document
    }

    /// Stops listening: connections are refused.
    pub fn go(&mut self) {
        self.listening.go();
    }

    /// Listens again where it did.
    pub async fn come_back(&mut self) -> Result<()> {
        self.listening.come_back().await
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.listening.address().port()
    }

    /// The token by which it asks servers.
    pub fn as_token(&self) -> &str {
        &self.as_token
    }

    /// The token by which servers ask it.
    pub fn hs_token(&self) -> &str {
        &self.hs_token
    }

    /// Its own user on a server.
    pub fn bot(&self, server: &Server) -> String {
        format!("@{}bot:{}", self.plan.id, server.name())
    }

    /// A user in its namespace.
    pub fn ghost(&self, server: &Server, name: &str) -> String {
        format!("@_{}_{name}:{}", self.plan.id, server.name())
    }

    /// Requests by its token.
    pub fn api(&self, server: &Server) -> Result<Api> {
        Ok(Api::new(server)?.with_token(&self.as_token))
    }

    /// Makes a user in its namespace, and gives back the id.
    pub async fn register(&self, server: &Server, name: &str) -> Result<String> {
        let username = format!("_{}_{name}", self.plan.id);
        let body = json!({ "type": "m.login.application_service", "username": username,
                           "inhibit_login": true });
        self.api(server)?.post("/_matrix/client/v3/register", body).await?.ok()?;
        Ok(self.ghost(server, name))
    }

    /// Every answer is this status, or again what it would be.
    pub fn fail(&self, status: Option<u16>) {
        self.shared.lock().failing = status;
    }

    /// How long it takes for every answer.
    pub fn be_slow(&self, time: Duration) {
        self.shared.lock().slow = time;
    }

    /// What is answered to a path after `/_matrix/app/v1/`, its query left out. Beside transactions and
    /// pings, nothing else is known.
    pub fn answer(&self, path: &str, status: u16, body: Value) {
        self.shared.lock().answers.insert(path.to_owned(), (status, body));
    }

    /// The same, with an empty object and only after [`Bridge::release`].
    pub fn hold(&self, path: &str, status: u16) {
        self.shared.lock().held.insert(path.to_owned(), status);
    }

    /// The paths of what waits to be released.
    pub fn questions(&self) -> Vec<String> {
        self.shared.lock().open.clone()
    }

    /// Answers what was held.
    pub fn release(&self) {
        self.shared.released.notify_waiters();
    }

    /// Everything that was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// The events of all transactions that were taken, each transaction once.
    pub fn events(&self) -> Vec<Value> {
        self.taken("events")
    }

    /// The ephemeral events of all transactions that were taken.
    pub fn ephemeral(&self) -> Vec<Value> {
        self.taken("ephemeral")
    }

    /// The messages to devices of all transactions that were taken.
    pub fn to_device(&self) -> Vec<Value> {
        self.taken("de.sorunome.msc2409.to_device")
    }

    fn taken(&self, key: &str) -> Vec<Value> {
        self.transactions().iter().flat_map(|asked| asked.list(key)).collect()
    }

    /// The transactions that were taken, each once.
    pub fn transactions(&self) -> Vec<Asked> {
        let mut seen = HashSet::new();
        let inner = self.shared.lock();
        let taken = inner.asked.iter().filter(|asked| asked.status == 200);
        let taken = taken.filter(|asked| asked.transaction().is_some_and(|id| seen.insert(id)));
        taken.cloned().collect()
    }

    /// Waits until something is to be found in what has come in.
    pub async fn wait<T>(&self, mut find: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let mut changed = self.shared.changed.subscribe();
        let found = async {
            loop {
                if let Some(found) = find(self) {
                    return Ok(found);
                }
                changed.changed().await?;
            }
        };
        timeout(PATIENCE, found).await.with_context(|| format!("only {:#?}", self.asked()))?
    }

    /// Waits for an event, and gives it back.
    pub async fn wait_for_event(&self, event_id: &str) -> Result<Value> {
        let is_it = |event: &Value| event["event_id"] == event_id;
        self.wait(|bridge| bridge.events().into_iter().find(is_it)).await
    }
}

/// The query by which an application service acts for a user.
pub fn acting_for(user_id: &str) -> String {
    format!("user_id={}", encode(user_id))
}

/// The setting that names registration files.
pub fn files(paths: &[&Path]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(",")
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let mut asked = Asked {
        method: parts.method.to_string(),
        path: readable(&parts.uri),
        authorization: header(header::AUTHORIZATION).unwrap_or_default().to_owned(),
        body: json(body).await,
        status: 0,
    };
    let slow = shared.lock().slow;
    sleep(slow).await;
    hold(&shared, &asked.path).await;
    let (status, answer) = decide(&shared.lock(), &asked);
    asked.status = status;
    shared.lock().asked.push(asked);
    shared.changed.send_modify(|count| *count += 1);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

/// Waits for the test, if it wants to be waited for.
async fn hold(shared: &Shared, path: &str) {
    if !shared.lock().held.contains_key(known_path(path)) {
        return;
    }
    let mut released = pin!(shared.released.notified());
    released.as_mut().enable();
    shared.lock().open.push(path.to_owned());
    shared.changed.send_modify(|count| *count += 1);
    released.await;
}

fn readable(uri: &Uri) -> String {
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    }
}

/// What the test calls a path.
fn known_path(path: &str) -> &str {
    let path = path.strip_prefix("/_matrix/app/v1/").unwrap_or_default();
    path.split('?').next().unwrap_or_default()
}

async fn json(body: Body) -> Value {
    let bytes = to_bytes(body, LARGEST).await.unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

fn decide(inner: &Inner, asked: &Asked) -> (u16, Value) {
    if let Some(status) = inner.failing {
        return (status, json!({ "errcode": "M_UNKNOWN" }));
    }
    let path = known_path(&asked.path);
    if let Some(status) = inner.held.get(path) {
        return (*status, json!({}));
    }
    if let Some(answer) = inner.answers.get(path) {
        return answer.clone();
    }
    match path.starts_with("transactions/") || path == "ping" {
        true => (200, json!({})),
        false => (404, json!({ "errcode": "M_NOT_FOUND" })),
    }
}
