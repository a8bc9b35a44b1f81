//! Requests and connections, counted by the routes that answer.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use http::{Method, StatusCode};
use starling_engine::measures::{Counter, Entered, Gauge, Histogram};

use super::text::Page;
use crate::traces::Spans;

/// What answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Api {
    /// `/health/…`.
    Health,
    /// The client API, with that of administrators.
    Client,
    /// The server API.
    Federation,
    /// `/metrics`.
    Metrics,
    /// The socket of `starling admin`.
    Orders,
}

const APIS: [Api; 5] = [Api::Health, Api::Client, Api::Federation, Api::Metrics, Api::Orders];

impl Api {
    fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Client => "client",
            Self::Federation => "federation",
            Self::Metrics => "metrics",
            Self::Orders => "orders",
        }
    }
}

/// The methods that are told apart. Whoever asks chooses the method, so the others are one.
pub(crate) const METHODS: [Method; 7] = [
    Method::GET,
    Method::PUT,
    Method::POST,
    Method::DELETE,
    Method::OPTIONS,
    Method::HEAD,
    Method::PATCH,
];

/// The statuses that are told apart: those that Starling answers with.
const STATUSES: [u16; 34] = [
    200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 408, 409,
    410, 411, 412, 413, 414, 415, 416, 422, 429, 431, 500, 501, 502, 503, 504,
];

/// What [`METHODS`] and [`STATUSES`] do not list.
const OTHER: &str = "other";

/// All that came in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    apis: [OfApi; APIS.len()],
    spans: Arc<Spans>,
}

#[derive(Debug, Default)]
struct OfApi {
    in_flight: Gauge,
    connections: Line,
    /// By route; there are as many as are written in the routers, and one for what has none.
    routes: RwLock<HashMap<String, Arc<OfRoute>>>,
}

/// The connections of the listeners of an API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Those that are open.
    pub(crate) open: Gauge,
    /// Those for which there was no place.
    pub(crate) refused: Arc<Counter>,
}

#[derive(Debug, Default)]
struct OfRoute([OnceLock<OfMethod>; METHODS.len() + 1]);

#[derive(Debug)]
struct OfMethod {
    statuses: [Counter; STATUSES.len() + 1],
    time: Histogram,
}

impl Default for OfMethod {
    fn default() -> Self {
        let statuses = std::array::from_fn(|_| Counter::default());
        Self { statuses, time: Histogram::of_times() }
    }
}

impl Traffic {
    /// A request is being answered, until what this returns is dropped.
    pub(crate) fn enter(&self, api: Api) -> Entered {
        self.of(api).in_flight.enter()
    }

    /// The spans of requests.
    pub(crate) fn spans(&self) -> &Arc<Spans> {
        &self.0.spans
    }

    /// The connections of the listeners of an API.
    pub(crate) fn connections(&self, api: Api) -> Line {
        self.of(api).connections.clone()
    }

    /// A request was answered.
    pub(crate) fn count(
        &self,
        (api, method, route): (Api, &Method, &str),
        status: StatusCode,
        time: Duration,
    ) {
        let route = self.of(api).route(route);
        let place = METHODS.iter().position(|it| it == method).unwrap_or(METHODS.len());
        let Some(of_method) = route.0.get(place) else { return };
        let of_method = of_method.get_or_init(OfMethod::default);
        of_method.time.took(time);
        let status = status.as_u16();
        let place = STATUSES.iter().position(|it| *it == status).unwrap_or(STATUSES.len());
        if let Some(counter) = of_method.statuses.get(place) {
            counter.count();
        }
    }

    #[expect(clippy::indexing_slicing, reason = "there is one for each API")]
    fn of(&self, api: Api) -> &OfApi {
        &self.0.apis[api as usize]
    }

    pub(super) fn write(&self, page: &mut Page) {
        let (name, help) = ("starling_http_connections", "Open connections.");
        let mut samples = page.gauge(name, help);
        for api in APIS {
            let open = self.of(api).connections.open.get();
            samples = samples.of(&[("listener", api.name())], open);
        }
        let name = "starling_http_connections_refused_total";
        let help = "Connections that were closed because the listener had as many as it may have.";
        let mut samples = page.counter(name, help);
        for api in APIS {
            let refused = self.of(api).connections.refused.get();
            samples = samples.of(&[("listener", api.name())], refused);
        }
        let help = "Requests that are being answered, those included that wait for news.";
        let mut samples = page.gauge("starling_http_requests_in_flight", help);
        for api in APIS {
            samples = samples.of(&[("api", api.name())], self.of(api).in_flight.get());
        }
        self.write_requests(page);
        let Spans { sent, failed, dropped } = &*self.0.spans;
        let help =
            "Spans that ended, by what became of them on the way to the collector of traces.";
        page.counter("starling_trace_spans_total", help)
            .of(&[("outcome", "sent")], sent.get())
            .of(&[("outcome", "failed")], failed.get())
            .of(&[("outcome", "dropped")], dropped.get());
    }

    fn write_requests(&self, page: &mut Page) {
        let all = self.all();
        let help = "Requests that were answered.";
        let mut samples = page.counter("starling_http_requests_total", help);
        for Seen { api, method, route, of_route, place } in &all {
            let Some(figures) = of_route.0.get(*place).and_then(OnceLock::get) else { continue };
            for (place, counter) in figures.statuses.iter().enumerate() {
                let count = counter.get();
                if count > 0 {
                    let status = STATUSES.get(place).map_or(OTHER.to_owned(), u16::to_string);
                    let labels =
                        [("api", *api), ("method", method), ("route", route), ("status", &status)];
                    samples = samples.of(&labels, count);
                }
            }
        }
        let help =
            "How long requests took; those that waited for news took as long as they waited.";
        let mut samples = page.histogram("starling_http_request_duration_seconds", help);
        for Seen { api, method, route, of_route, place } in &all {
            let Some(figures) = of_route.0.get(*place).and_then(OnceLock::get) else { continue };
            let labels = [("api", *api), ("method", method), ("route", route)];
            samples = samples.spread(&labels, &figures.time.spread());
        }
    }

    /// Every route with every method with which it was asked, in the same order each time.
    fn all(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        for api in APIS {
            let routes = self.of(api).routes.read().unwrap_or_else(PoisonError::into_inner);
            for (route, of_route) in routes.iter() {
                all.extend(of_route.0.iter().enumerate().map(|(place, _)| Seen {
                    api: api.name(),
                    route: route.clone(),
                    method: METHODS.get(place).map_or(OTHER.to_owned(), ToString::to_string),
                    of_route: of_route.clone(),
                    place,
                }));
            }
        }
        all.sort_by(|a, b| (a.api, &a.route, a.place).cmp(&(b.api, &b.route, b.place)));
        all
    }
}

/// A route with a method.
struct Seen {
    api: &'static str,
    route: String,
    method: String,
    of_route: Arc<OfRoute>,
    place: usize,
}

impl OfApi {
    fn route(&self, route: &str) -> Arc<OfRoute> {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(route).cloned();
        known.unwrap_or_else(|| {
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            routes.entry(route.to_owned()).or_default().clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_cannot_make_new_series() {
        let traffic = Traffic::default();
        let invented = Method::from_bytes(b"INVENTED").unwrap();
        for method in [&Method::GET, &invented, &Method::TRACE] {
            let what = (Api::Client, method, "/a/{b}");
            traffic.count(what, StatusCode::OK, Duration::from_millis(3));
            traffic.count(what, StatusCode::IM_A_TEAPOT, Duration::from_millis(3));
        }
        let mut page = Page::default();
        traffic.write(&mut page);
        let page = page.finish();
        let requests = "starling_http_requests_total{api=\"client\",method=";
        for (line, count) in [("\"GET\"", 1), ("\"other\"", 2)] {
            for status in ["200", "other"] {
                let line =
                    format!("{requests}{line},route=\"/a/{{b}}\",status=\"{status}\"}} {count}\n");
                assert!(page.contains(&line), "{page}");
            }
        }
        assert!(!page.contains("INVENTED"));
        let time = "starling_http_request_duration_seconds_bucket\
                    {api=\"client\",method=\"GET\",route=\"/a/{b}\",le=\"0.0025\"} 0";
        assert!(page.contains(time), "{page}");
    }

    #[test]
    fn every_api_has_its_place() {
        for (place, api) in APIS.into_iter().enumerate() {
            assert_eq!(api as usize, place);
        }
    }
}
