//! A push gateway of the tests' own: it takes what servers tell it, checks that every request is of the form
//! that the specification gives, and fails, is slow or rejects when asked to.
//!
//! <https://spec.matrix.org/v1.19/push-gateway-api/>

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use crate::{client::User, listening::Listening, random};

/// How long something may take to come in.
const PATIENCE: Duration = Duration::from_secs(90);

/// The largest body that is taken.
const LARGEST: usize = 1 << 20;

/// Where gateways listen.
pub const PATH: &str = "/_matrix/push/v1/notify";

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Notified {
    /// The path and the query.
    pub path: String,
    /// What it says.
    pub notification: Value,
    /// The status that was answered.
    pub status: u16,
    /// When it came.
    pub at: Instant,
}

impl Notified {
    /// The first pushkey that it is for.
    pub fn pushkey(&self) -> &str {
        self.notification["devices"][0]["pushkey"].as_str().unwrap_or_default()
    }

    /// The event that it is about.
    pub fn event_id(&self) -> Option<&str> {
        self.notification["event_id"].as_str()
    }

    /// The number of unread messages that it tells.
    pub fn unread(&self) -> Option<i64> {
        self.notification["counts"]["unread"].as_i64()
    }
}

#[derive(Debug, Default)]
struct Inner {
    came: Vec<Notified>,
    /// How many of these are about an event.
    events: usize,
    /// What is wrong with requests that came in.
    wrong: Vec<String>,
    /// Instead of 200, of the next requests.
    failing: VecDeque<u16>,
    /// Instead of 200, until further notice.
    broken: Option<u16>,
    rejected: HashSet<String>,
    /// Whether nothing is answered.
    hangs: bool,
    /// How many requests wait.
    waiting: usize,
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

/// A gateway that runs until it is dropped.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    listening: Listening,
}

impl Gateway {
    /// Starts one on a free port.
    pub async fn start() -> Result<Self> {
        let (inner, changed) = (Mutex::default(), watch::Sender::new(0));
        let shared = Arc::new(Shared { inner, released: Notify::new(), changed });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        Ok(Self { shared, listening: Listening::start(router).await? })
    }

    /// Stops listening: connections are refused.
    pub fn go(&mut self) {
        self.listening.go();
    }

    /// Listens again where it did.
    pub async fn come_back(&mut self) -> Result<()> {
        self.listening.come_back().await
    }

    /// Its address, as a pusher names it.
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.listening.address())
    }

    /// What a client says to be told here by a new pushkey.
    pub fn pusher(&self) -> Result<Value> {
        Ok(json!({
            "app_id": "org.example.tests",
            "pushkey": random::suffix()?,
            "kind": "http",
            "app_display_name": "Tests",
            "device_display_name": "A telephone",
            "lang": "en",
            "data": { "url": self.url() },
            "append": true,
        }))
    }

    /// Has a user told here, and gives back the pushkey.
    pub async fn tells(&self, user: &User) -> Result<String> {
        self.tells_with(user, json!({})).await
    }

    /// The same with some values of its own.
    pub async fn tells_with(&self, user: &User, values: Value) -> Result<String> {
        let mut body = self.pusher()?;
        for (key, value) in values.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let pushkey = body["pushkey"].as_str().context("no pushkey")?.to_owned();
        user.api.post("/_matrix/client/v3/pushers/set", body).await?.ok()?;
        Ok(pushkey)
    }

    /// The answers to the next requests are these.
    pub fn fail_next(&self, statuses: impl IntoIterator<Item = u16>) {
        self.shared.lock().failing.extend(statuses);
    }

    /// Every answer is this status, or again what it would be.
    pub fn fail(&self, status: Option<u16>) {
        self.shared.lock().broken = status;
    }

    /// From now on a pushkey is good for nothing.
    pub fn reject(&self, pushkey: &str) {
        self.shared.lock().rejected.insert(pushkey.to_owned());
    }

    /// From now on nothing is answered, until it is released.
    pub fn hang(&self) {
        self.shared.lock().hangs = true;
    }

    /// Answers again. What waits is told that this is too late.
    pub fn release(&self) {
        self.shared.lock().hangs = false;
        self.shared.released.notify_waiters();
    }

    /// Everything that came in and was answered.
    pub fn came(&self) -> Vec<Notified> {
        self.shared.lock().came.clone()
    }

    /// Waits until so many requests about an event were answered; others tell a number alone.
    pub async fn wait_for_events(&self, count: usize) -> Result<()> {
        self.wait(|gateway| (gateway.shared.lock().events >= count).then_some(())).await
    }

    /// What was taken for a pushkey, in order.
    pub fn taken(&self, pushkey: &str) -> Vec<Notified> {
        let mut came = self.came();
        came.retain(|it| it.status == 200 && it.pushkey() == pushkey);
        came
    }

    /// The events that were taken for a pushkey, in order.
    pub fn events(&self, pushkey: &str) -> Vec<String> {
        let taken = self.taken(pushkey);
        taken.iter().filter_map(|it| it.event_id().map(ToOwned::to_owned)).collect()
    }

    /// What was wrong with any request.
    pub fn wrong(&self) -> Vec<String> {
        self.shared.lock().wrong.clone()
    }

    /// How many requests wait for [`Gateway::release`].
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting
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
        timeout(PATIENCE, found).await.with_context(|| format!("only {:#?}", self.came()))?
    }

    /// Waits until an event was taken for a pushkey, and gives back what was told of it.
    pub async fn wait_for(&self, pushkey: &str, event_id: &str) -> Result<Value> {
        let is_it = |it: &Notified| it.event_id() == Some(event_id);
        let found = self.wait(|gateway| gateway.taken(pushkey).into_iter().find(is_it)).await?;
        Ok(found.notification)
    }

    /// Waits until the last thing that was taken for a pushkey is a number alone, and this one.
    pub async fn wait_for_unread(&self, pushkey: &str, unread: i64) -> Result<Value> {
        let is_it = |it: &Notified| it.event_id().is_none() && it.unread() == Some(unread);
        let found = self.wait(|gateway| gateway.taken(pushkey).pop().filter(is_it)).await?;
        Ok(found.notification)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.unwrap_or_default();
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
    let parsed = parse(&body);
    let mut wrong = Vec::new();
    if parts.method != "POST"
        || kind != Some("application/json")
        || !parts.uri.path().ends_with(PATH)
    {
        wrong.push(format!("{} {path} of {kind:?}", parts.method));
    }
    let notification = parsed.unwrap_or_else(|error| {
        wrong.push(format!("{error:#}: {}", String::from_utf8_lossy(&body)));
        Value::Null
    });
    let hung = hang(&shared).await;
    let mut inner = shared.lock();
    inner.wrong.extend(wrong);
    let status = if hung { 504 } else { inner.failing.pop_front().or(inner.broken).unwrap_or(200) };
    let came = Notified { path, notification, status, at };
    let mut rejected = Vec::new();
    if inner.rejected.contains(came.pushkey()) {
        rejected.push(came.pushkey().to_owned());
    }
    inner.events += usize::from(came.event_id().is_some());
    inner.came.push(came);
    drop(inner);
    shared.changed.send_modify(|count| *count += 1);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({ "rejected": rejected }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Waits for the test, if it wants to be waited for.
async fn hang(shared: &Shared) -> bool {
    let mut released = std::pin::pin!(shared.released.notified());
    released.as_mut().enable();
    {
        let mut inner = shared.lock();
        if !inner.hangs {
            return false;
        }
        inner.waiting += 1;
    }
    shared.changed.send_modify(|count| *count += 1);
    released.await;
    shared.lock().waiting -= 1;
    true
}

/// The notification of a request, which has everything that it must have.
fn parse(body: &Bytes) -> Result<Value> {
    let body: Value = serde_json::from_slice(body)?;
    let notification = body.get("notification").context("no notification")?.clone();
    let devices = notification["devices"].as_array().context("no devices")?;
    anyhow::ensure!(devices.len() == 1, "{} devices", devices.len());
    for device in devices {
        for key in ["app_id", "pushkey"] {
            device[key].as_str().with_context(|| format!("no {key}"))?;
        }
        let ts = device["pushkey_ts"].as_u64().context("no pushkey_ts")?;
        anyhow::ensure!((1_700_000_000..4_000_000_000).contains(&ts), "{ts} is not in seconds");
        let data = device["data"].as_object().context("no data")?;
        anyhow::ensure!(!data.contains_key("url"), "the url is the server's business");
    }
    notification["counts"]["unread"].as_u64().context("no counts")?;
    let prio = notification["prio"].as_str();
    anyhow::ensure!(matches!(prio, Some("high" | "low")), "the priority is {prio:?}");
    if notification.get("event_id").is_none() {
        anyhow::ensure!(notification.get("content").is_none(), "content of nothing");
        return Ok(notification);
    }
    notification["room_id"].as_str().context("no room")?;
    if notification["devices"][0]["data"]["format"] == "event_id_only" {
        for key in ["type", "sender", "content", "room_name", "sender_display_name"] {
            anyhow::ensure!(notification.get(key).is_none(), "{key} is not to be told");
        }
        return Ok(notification);
    }
    for key in ["type", "sender"] {
        notification[key].as_str().with_context(|| format!("no {key}"))?;
    }
    anyhow::ensure!(notification["content"].is_object(), "no content");
    Ok(notification)
}
