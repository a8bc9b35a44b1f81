//! The network between the servers of a world, and its weather. What becomes of a request is drawn from
//! the seed, the step of the world, the two servers, and how many requests went that way in the step: so
//! it does not depend on which of two requests to different servers is made first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use ruma::{OwnedServerName, ServerName};
use starling_engine::{
    keys::SigningKeys,
    remote::{Limits, Transport, TransportError},
};
use starling_federation::request_auth;
use tower::ServiceExt as _;

use crate::numbers::Numbers;

/// How often what goes wrong, in percent of the requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    /// The request is lost.
    pub(crate) lost: usize,
    /// It arrives, and the answer is lost.
    pub(crate) unanswered: usize,
    /// It arrives twice.
    pub(crate) doubled: usize,
    /// It is given up, and arrives at some later step.
    pub(crate) late: usize,
    /// Whether questions get lost too, and not only what is sent.
    pub(crate) questions: bool,
}

#[derive(Debug)]
struct Weather {
    seed: u64,
    step: u64,
    rates: Rates,
    /// The servers on the far side of a cut.
    beyond: BTreeSet<OwnedServerName>,
    counts: BTreeMap<(OwnedServerName, OwnedServerName), u64>,
    late: Vec<(OwnedServerName, OwnedServerName, Request<Bytes>)>,
    log: Vec<String>,
}

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    routers: Mutex<BTreeMap<OwnedServerName, Router>>,
    weather: Mutex<Weather>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
    Unanswered,
    Doubled,
    Late,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        let weather = Weather {
            seed,
            step: 0,
            rates: Rates::default(),
            beyond: BTreeSet::new(),
            counts: BTreeMap::new(),
            late: Vec::new(),
            log: Vec::new(),
        };
        Self { routers: Mutex::default(), weather: Mutex::new(weather) }
    }

    pub(crate) fn serve(&self, name: &ServerName, router: Router) {
        self.routers.lock().unwrap().insert(name.to_owned(), router);
    }

    pub(crate) fn unplug(&self, name: &ServerName) {
        self.routers.lock().unwrap().remove(name);
    }

    pub(crate) fn begin_step(&self, step: u64) {
        let mut weather = self.weather.lock().unwrap();
        weather.step = step;
        weather.counts.clear();
    }

    pub(crate) fn set_rates(&self, rates: Rates) {
        self.weather.lock().unwrap().rates = rates;
    }

    /// Cuts some servers from the others; the last cut is healed.
    pub(crate) fn cut(&self, beyond: BTreeSet<OwnedServerName>) {
        self.weather.lock().unwrap().beyond = beyond;
    }

    /// Takes what went between servers since it was taken last, for the story of a world.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.weather.lock().unwrap().log)
    }

    /// How many requests are still on their way.
    pub(crate) fn late(&self) -> usize {
        self.weather.lock().unwrap().late.len()
    }

    /// Lets one of the requests arrive that were given up; whether that way is open.
    pub(crate) async fn arrive(&self, which: usize) {
        let (from, to, request) = {
            let mut weather = self.weather.lock().unwrap();
            if which >= weather.late.len() {
                return;
            }
            let (from, to, _) = &weather.late[which];
            if weather.is_cut(from, to) {
                return;
            }
            weather.late.remove(which)
        };
        self.note(&from, &to, &request, "arrives late");
        self.ask(&to, request).await;
    }

    fn note(&self, from: &ServerName, to: &ServerName, request: &Request<Bytes>, how: &str) {
        let uri = request.uri().path().trim_start_matches("/_matrix/federation/");
        let line = format!("    {from} -> {to} {} {uri}: {how}", request.method());
        self.weather.lock().unwrap().log.push(line);
    }

    async fn ask(&self, to: &ServerName, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let router = self.routers.lock().unwrap().get(to).cloned()?;
        let response = router.oneshot(request.map(Body::from)).await.unwrap();
        let (parts, body) = response.into_parts();
        Some(Response::from_parts(parts, body.collect().await.unwrap().to_bytes()))
    }

    async fn send(
        &self,
        from: &ServerName,
        to: &ServerName,
        request: Request<Bytes>,
    ) -> Option<Response<Bytes>> {
        // Whose keys cannot be had is left out of a state for ever; a notary would have them.
        let fate = match request.uri().path().starts_with("/_matrix/key/") {
            true => Fate::Arrives,
            false => self.weather.lock().unwrap().fate(from, to, request.method()),
        };
        self.note(from, to, &request, &format!("{fate:?}"));
        match fate {
            Fate::Lost => None,
            Fate::Late => {
                let late = (from.to_owned(), to.to_owned(), request);
                self.weather.lock().unwrap().late.push(late);
                None
            }
            Fate::Arrives => {
                let response = self.ask(to, request).await;
                let told =
                    |it: &&Response<Bytes>| it.body().windows(7).any(|some| some == b"\"error\"");
                if let Some(response) = response.as_ref().filter(told) {
                    let body = String::from_utf8_lossy(response.body()).into_owned();
                    let line = format!("      {}: {body}", response.status());
                    self.weather.lock().unwrap().log.push(line);
                }
                response
            }
            Fate::Unanswered => {
                self.ask(to, request).await;
                None
            }
            Fate::Doubled => {
                self.ask(to, request.clone()).await;
                self.ask(to, request).await
            }
        }
    }
}

impl Weather {
    fn is_cut(&self, from: &ServerName, to: &ServerName) -> bool {
        self.beyond.contains(from) != self.beyond.contains(to)
    }

    fn fate(&mut self, from: &ServerName, to: &ServerName, method: &Method) -> Fate {
        let link = (from.to_owned(), to.to_owned());
        let count = self.counts.entry(link).or_default();
        *count += 1;
        let count = *count;
        if self.is_cut(from, to) {
            return Fate::Lost;
        }
        let sends = method == Method::PUT;
        if !sends && !self.rates.questions {
            return Fate::Arrives;
        }
        let names = from.as_str().bytes().chain([b' ']).chain(to.as_str().bytes());
        let link = names.fold(self.seed, |sum, byte| Numbers::new(sum ^ u64::from(byte)).next());
        let mut numbers = Numbers::new(link ^ self.step.rotate_left(32) ^ count);
        let at = numbers.below(100);
        let Rates { lost, unanswered, doubled, late, .. } = self.rates;
        match at {
            _ if at < lost => Fate::Lost,
            _ if at < lost + unanswered => Fate::Unanswered,
            _ if at < lost + unanswered + doubled => Fate::Doubled,
            _ if at < lost + unanswered + doubled + late && sends => Fate::Late,
            _ => Fate::Arrives,
        }
    }
}

/// Signs and sends what one server sends.
pub(crate) struct Link {
    pub(crate) network: Arc<Network>,
    pub(crate) name: OwnedServerName,
    pub(crate) keys: Arc<SigningKeys>,
}

#[async_trait]
impl Transport for Link {
    async fn send(
        &self,
        destination: &ServerName,
        mut request: Request<Bytes>,
        _: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        request_auth::sign(&mut request, &self.name, destination, self.keys.current()).unwrap();
        let response = self.network.send(&self.name, destination, request).await;
        response.ok_or_else(|| TransportError::Timeout { server: destination.to_string() })
    }
}
