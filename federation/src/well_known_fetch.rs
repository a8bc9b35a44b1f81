//! `.well-known/matrix/server`: asking a host over HTTPS.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header, uri::Authority};
use ruma::OwnedServerName;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use starling_engine::{clock::Clock, remote::Limits};
use url::Url;

use crate::{
    client::{HttpClient, Route},
    lookup::{Lookup, unbracketed},
    well_known::{DEFAULT_LIFETIME, Delegation, WellKnownSource},
};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;
/// Bytes of the document.
const MAX_BODY: usize = 50 * 1024;

/// Fetches the document; every host on the way is looked up and filtered like any other.
pub struct HttpsWellKnown {
    /// With a short connect timeout: most servers have no such document, many not even the port.
    pub client: HttpClient,
    /// Where connections may go.
    pub lookup: Arc<Lookup>,
    /// For `Expires` in answers without `Date`.
    pub clock: Arc<dyn Clock>,
    /// For the whole fetch with its redirects.
    pub timeout: Duration,
}

#[async_trait]
impl WellKnownSource for HttpsWellKnown {
    async fn fetch(&self, host: &str) -> Result<Delegation, String> {
        tokio::time::timeout(self.timeout, self.follow(host))
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

impl HttpsWellKnown {
    async fn follow(&self, host: &str) -> Result<Delegation, String> {
        let mut url = Url::parse(&format!("https://{host}/.well-known/matrix/server"))
            .map_err(|error| error.to_string())?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get(&url).await?;
            match redirect(&url, &response)? {
                Some(next) => url = next,
                None => return delegation(&response, self.clock.now_ms()),
            }
        }
        Err("too many redirects".to_owned())
    }

    async fn get(&self, url: &Url) -> Result<Response<Bytes>, String> {
        let route = self.route(url).await?;
        let path_and_query = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let request = Request::get(path_and_query)
            .header(header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let limits = Limits { timeout: self.timeout, max_body: MAX_BODY };
        self.client.send(&route, request, limits).await.map_err(|error| error.to_string())
    }

    async fn route(&self, url: &Url) -> Result<Route, String> {
        let host = url.host_str().ok_or("a URL without host")?;
        let port = url.port_or_known_default().ok_or("a URL without port")?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Route {
            addresses: self.lookup.addresses(host, port).await.map_err(|e| e.to_string())?,
            host: Authority::try_from(authority).map_err(|error| error.to_string())?,
            tls_name: ServerName::try_from(unbracketed(host).to_owned())
                .map_err(|error| error.to_string())?,
        })
    }
}

/// The delegation that the response gives.
///
/// # Errors
///
/// Why it gives none, for the log.
pub fn delegation(response: &Response<Bytes>, now_ms: i64) -> Result<Delegation, String> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "m.server")]
        server: OwnedServerName,
    }
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()));
    }
    // "servers parsing the response should assume that the body is JSON regardless of type"
    let document: Document =
        serde_json::from_slice(response.body()).map_err(|error| error.to_string())?;
    let lifetime = lifetime(response.headers(), now_ms);
    Ok(Delegation { server: document.server, lifetime: lifetime.unwrap_or(DEFAULT_LIFETIME) })
}

/// Where the response sends us, if it is a redirect.
///
/// # Errors
///
/// Why we do not go there, for the log.
pub fn redirect(url: &Url, response: &Response<Bytes>) -> Result<Option<Url>, String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or("a redirect without location")?;
    let next = url.join(location).map_err(|error| error.to_string())?;
    if next.scheme() != "https" {
        return Err(format!("a redirect to {}", next.scheme()));
    }
    Ok(Some(next))
}

/// How long the response may be cached by its headers (RFC 9111, section 5.2.2 and 5.3).
fn lifetime(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(control) = text(header::CACHE_CONTROL) {
        let directives = || control.split(',').map(|part| part.trim().to_ascii_lowercase());
        if directives().any(|part| part == "no-store" || part == "no-cache") {
            return Some(Duration::ZERO);
        }
        let max_age = directives().find_map(|part| {
            let seconds = part.strip_prefix("max-age=")?.trim_matches('"').parse().ok()?;
            Some(Duration::from_secs(seconds))
        });
        if max_age.is_some() {
            return max_age;
        }
    }
    let expires = text(header::EXPIRES)?;
    // "A cache recipient MUST interpret invalid date formats, especially the value "0", as
    // representing a time in the past"
    let Ok(expires) = httpdate::parse_http_date(expires) else { return Some(Duration::ZERO) };
    let sent = text(header::DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
    let sent = sent.unwrap_or(std::time::SystemTime::UNIX_EPOCH + now);
    Some(expires.duration_since(sent).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, net::SocketAddr};

    use axum::{Router, body::Body, response::Redirect, routing::get};
    use futures_util::stream;

    use starling_engine::testing::TestClock;

    use super::*;
    use crate::{
        config::FederationConfig, dns::SystemDns, test_server::Authority as Ca, tls::client_config,
    };

    const PATH: &str = "/.well-known/matrix/server";

    /// Fetches the document of `a.example` from a world of hosts that listen on port 443.
    async fn fetch(ca: &Ca, hosts: &[(&str, SocketAddr)]) -> Result<Delegation, String> {
        let dir = tempfile::tempdir().unwrap();
        let mut config = FederationConfig::new("us.example".try_into().unwrap());
        config.resolve_overrides = hosts
            .iter()
            .map(|(host, address)| (format!("{host}:443").try_into().unwrap(), *address))
            .collect();
        let tls = client_config(&[ca.file(&dir)]).unwrap();
        let source = HttpsWellKnown {
            client: HttpClient::new(tls, config.well_known_connect_timeout),
            lookup: Arc::new(Lookup::new(Arc::new(SystemDns::new().unwrap()), &config)),
            clock: Arc::new(TestClock::default()),
            timeout: config.well_known_timeout,
        };
        source.fetch("a.example").await
    }

    fn answering<R>(answer: R) -> Router
    where
        R: axum::response::IntoResponse + Clone + Send + Sync + 'static,
    {
        Router::new().route(PATH, get(move || async move { answer }))
    }

    async fn fetch_answer<R>(answer: R) -> Result<Delegation, String>
    where
        R: axum::response::IntoResponse + Clone + Send + Sync + 'static,
    {
        let ca = Ca::new();
        let address = ca.serve(&["a.example"], answering(answer));
        fetch(&ca, &[("a.example", address)]).await
    }

    #[tokio::test]
    async fn a_valid_document_is_read_whatever_its_type() {
        let answer = ([("content-type", "text/plain")], r#"{"m.server":"b.example:1","x":[]}"#);
        let delegation = fetch_answer(answer).await.unwrap();
        assert_eq!(delegation.server, "b.example:1");
        assert_eq!(delegation.lifetime, DEFAULT_LIFETIME);
    }

    #[tokio::test]
    async fn invalid_documents_are_no_delegation() {
        for body in ["", "{}", "[]", "{\"m.server\":5}", r#"{"m.server":"not a name"}"#, "\u{0}"] {
            assert!(fetch_answer(body).await.is_err(), "{body}");
        }
        let not_found = (StatusCode::NOT_FOUND, r#"{"m.server":"b.example"}"#);
        assert!(fetch_answer(not_found).await.is_err());
        let large = format!(r#"{{"m.server":"b.example","x":"{}"}}"#, "x".repeat(MAX_BODY));
        assert!(fetch_answer(large).await.unwrap_err().contains("larger"));
    }

    #[tokio::test]
    async fn an_endless_document_is_no_delegation() {
        let ca = Ca::new();
        let endless = || async {
            let chunk = || Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b' '; 1024]));
            Body::from_stream(stream::repeat_with(chunk))
        };
        let address = ca.serve(&["a.example"], Router::new().route(PATH, get(endless)));
        assert!(fetch(&ca, &[("a.example", address)]).await.unwrap_err().contains("larger"));
    }

    #[tokio::test]
    async fn redirects_are_followed_to_hosts_with_a_certificate_of_their_own() {
        let ca = Ca::new();
        let last = Router::new().route("/x", get(|| async { r#"{"m.server":"c.example"}"# }));
        let hosts = [
            ("a.example", ca.serve(&["a.example"], answering(Redirect::permanent("/y")))),
            ("b.example", ca.serve(&["b.example"], last)),
        ];
        assert!(fetch(&ca, &hosts).await.unwrap_err().contains("404"));

        let hop = Redirect::temporary("https://b.example/x?y=z");
        let hosts = [("a.example", ca.serve(&["a.example"], answering(hop))), hosts[1]];
        assert_eq!(fetch(&ca, &hosts).await.unwrap().server, "c.example");

        let impostor = ("b.example", ca.serve(&["evil.example"], answering("")));
        assert!(fetch(&ca, &[hosts[0], impostor]).await.unwrap_err().contains("cannot connect"));
    }

    #[tokio::test]
    async fn redirects_lead_neither_in_circles_nor_to_plain_http() {
        let circle = fetch_answer(Redirect::temporary(PATH)).await;
        assert_eq!(circle, Err("too many redirects".to_owned()));
        let plain = fetch_answer(Redirect::temporary("http://a.example/")).await;
        assert_eq!(plain, Err("a redirect to http".to_owned()));
    }

    #[tokio::test]
    async fn a_redirect_to_an_address_of_our_own_network_is_not_followed() {
        let targets = [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://localhost/",
        ];
        for target in targets {
            let refused = fetch_answer(Redirect::temporary(target)).await.unwrap_err();
            assert!(refused.contains("no address that may be contacted"), "{target}: {refused}");
        }
    }

    #[test]
    fn cache_headers_are_respected() {
        let now = TestClock::default().now_ms();
        let lifetime_of = |pairs: &[(&str, &str)]| {
            let headers: HashMap<_, _> =
                pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            lifetime(&HeaderMap::try_from(&headers).unwrap(), now).map(|found| found.as_secs())
        };
        let date = ("date", "Tue, 01 Sep 2026 10:00:00 GMT");
        let expires = ("expires", "Tue, 01 Sep 2026 11:00:00 GMT");
        assert_eq!(lifetime_of(&[]), None);
        assert_eq!(lifetime_of(&[date, expires]), Some(3600));
        assert_eq!(lifetime_of(&[("expires", "0")]), Some(0));
        assert_eq!(lifetime_of(&[("cache-control", "public, Max-Age=17"), expires]), Some(17));
        assert_eq!(lifetime_of(&[("cache-control", "max-age=\"17\"")]), Some(17));
        assert_eq!(lifetime_of(&[("cache-control", "no-store, max-age=17")]), Some(0));
        assert_eq!(lifetime_of(&[("cache-control", "max-age=-1")]), None);
        // Without `Date` it is our clock that counts: 2026-09-21 14:13:20.
        assert_eq!(lifetime_of(&[expires]), Some(0));
        assert_eq!(lifetime_of(&[("expires", "Mon, 21 Sep 2026 14:13:30 GMT")]), Some(10));
    }
}
