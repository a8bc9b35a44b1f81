//! The way to the web: to addresses that strangers name.
//!
//! Names are looked up here and nowhere else, so a connection goes to an address that was looked at.

use std::{error::Error, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header;
use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use starling_engine::{
    outside::{FetchLimits, Fetched, OutsideError},
    remote::Limits,
};
use starling_federation::addresses::AddressFilter;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

/// How many redirects are followed.
const MOST_REDIRECTS: usize = 5;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// What web servers see in their logs.
const USER_AGENT: &str = concat!("Starling/", env!("CARGO_PKG_VERSION"), " (preview bot)");

/// The way to the web.
pub(super) struct Web {
    http: Client,
    filter: AddressFilter,
}

/// Looks names up, and leaves out the addresses that may not be asked.
#[derive(Clone)]
struct Filtered(AddressFilter);

impl Resolve for Filtered {
    fn resolve(&self, name: Name) -> Resolving {
        let filter = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| filter.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err("no address that may be asked".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

impl Web {
    /// # Errors
    ///
    /// When TLS cannot be set up.
    pub(super) fn new(allow_private: bool) -> anyhow::Result<Self> {
        let filter = AddressFilter { allow_private, ..AddressFilter::default() };
        let http = Client::builder()
            .connect_timeout(CONNECT)
            .dns_resolver(Filtered(filter.clone()))
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self { http, filter })
    }

    /// Gets what is at an address, following redirects.
    pub(super) async fn fetch(
        &self,
        url: &Url,
        limits: FetchLimits,
    ) -> Result<Fetched, OutsideError> {
        let until = Instant::now() + limits.timeout;
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            self.check(&url)?;
            let mut request = self.http.get(url.clone());
            if let Some(language) = &limits.language {
                request = request.header(header::ACCEPT_LANGUAGE, language);
            }
            let response = timeout_at(until, request.send()).await.map_err(|_| too_slow())?;
            let response = response.map_err(|error| failed(&error))?;
            let leads_on = response.headers().get(header::LOCATION);
            let leads_on = leads_on.filter(|_| response.status().is_redirection());
            let Some(place) = leads_on else {
                return Ok(fetched(url, response, limits.max_body, until));
            };
            let place = place.to_str().ok().and_then(|place| url.join(place).ok());
            url = place.ok_or_else(|| OutsideError("it leads to no address".to_owned()))?;
        }
        Err(OutsideError("it leads on too often".to_owned()))
    }

    /// Hands JSON to whoever is at an address, and gives back the answer. It leads nowhere else.
    pub(super) async fn post(
        &self,
        url: &Url,
        body: Bytes,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, OutsideError> {
        let until = Instant::now() + limits.timeout;
        self.check(url)?;
        let request = self.http.post(url.clone()).body(body);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let response = timeout_at(until, request.send()).await.map_err(|_| too_slow())?;
        // The address may hold what is the user's business alone.
        let response = response.map_err(|error| failed(&error.without_url()))?;
        let status = response.status();
        let most = u64::try_from(limits.max_body).unwrap_or(u64::MAX);
        let body: Vec<Bytes> =
            fetched(url.clone(), response, most, until).body.try_collect().await?;
        let mut answer = http::Response::new(Bytes::from(body.concat()));
        *answer.status_mut() = status;
        Ok(answer)
    }

    /// Addresses that are no names never reach the resolver.
    fn check(&self, url: &Url) -> Result<(), OutsideError> {
        let refused = |reason: &str| Err(OutsideError(reason.to_owned()));
        if !matches!(url.scheme(), "http" | "https") {
            return refused("only pages of the web are fetched");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("it names a user");
        }
        let allowed = match url.host() {
            Some(Host::Domain(name)) => !name.is_empty(),
            Some(Host::Ipv4(address)) => self.filter.allows(address.into()),
            Some(Host::Ipv6(address)) => self.filter.allows(address.into()),
            None => false,
        };
        match allowed {
            true => Ok(()),
            false => refused("no address that may be asked"),
        }
    }
}

fn fetched(url: Url, response: reqwest::Response, limit: u64, until: Instant) -> Fetched {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes_stream().boxed();
    let body = stream::try_unfold((body, 0_u64), move |(mut body, seen)| async move {
        let chunk = timeout_at(until, body.next()).await.map_err(|_| too_slow())?;
        let Some(chunk) = chunk else { return Ok(None) };
        let chunk = chunk.map_err(|error| failed(&error))?;
        let seen = seen.saturating_add(chunk.len() as u64);
        if seen > limit {
            return Err(OutsideError(format!("it is larger than {limit} bytes")));
        }
        Ok(Some((chunk, (body, seen))))
    });
    Fetched { url, status, headers, body: body.boxed() }
}

fn too_slow() -> OutsideError {
    OutsideError("it took too long".to_owned())
}

/// An error with its causes, for the log.
fn failed(error: &reqwest::Error) -> OutsideError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    OutsideError(text)
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, response::Redirect, routing::get};

    use super::*;

    const LIMITS: FetchLimits =
        FetchLimits { timeout: Duration::from_secs(20), max_body: 1_000, language: None };

    fn web(allow_private: bool) -> Web {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Web::new(allow_private).unwrap()
    }

    async fn serve(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn body(fetched: Fetched) -> Result<Vec<u8>, OutsideError> {
        let chunks: Vec<_> = fetched.body.try_collect().await?;
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn redirects_are_followed_a_few() {
        let router = Router::new()
            .route("/page", get(async || "hello"))
            .route("/once", get(async || Redirect::temporary("page")))
            .route("/round", get(async || Redirect::temporary("/round")));
        let base = serve(router).await;
        let fetch = async |path: &str| {
            web(true).fetch(&Url::parse(&format!("{base}{path}")).unwrap(), LIMITS).await
        };
        let fetched = fetch("/once").await.unwrap();
        assert!(fetched.url.path() == "/page" && fetched.status == 200);
        assert_eq!(body(fetched).await.unwrap(), b"hello");
        let error = fetch("/round").await.err().unwrap();
        assert!(error.0.contains("too often"), "{error}");
    }

    #[tokio::test]
    async fn what_is_posted_goes_where_it_is_sent_and_nowhere_else() {
        use axum::routing::post;
        let router = Router::new()
            .route("/echo", post(async |body: Bytes| body))
            .route("/round", post(async || Redirect::temporary("/echo")))
            .route("/large", post(async || "x".repeat(100)));
        let base = serve(router).await;
        let limits = Limits { timeout: Duration::from_secs(20), max_body: 50 };
        let post = async |private: bool, path: &str| {
            let url = Url::parse(&format!("{base}{path}")).unwrap();
            web(private).post(&url, Bytes::from("{}"), limits).await
        };
        let answer = post(true, "/echo").await.unwrap();
        assert_eq!((answer.status().as_u16(), &**answer.body()), (200, &b"{}"[..]));
        assert_eq!(post(true, "/round").await.unwrap().status(), 307);
        assert!(post(true, "/large").await.unwrap_err().0.contains("larger"));
        assert!(post(false, "/echo").await.is_err());
    }

    #[tokio::test]
    async fn private_addresses_are_not_asked_whatever_they_are_called() {
        let base = serve(Router::new().route("/", get(async || "secret"))).await;
        let port = base.rsplit(':').next().unwrap();
        for host in
            ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433"]
        {
            let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
            assert!(web(false).fetch(&url, LIMITS).await.is_err(), "{host}");
        }
        let url = Url::parse(&format!("http://localhost:{port}/")).unwrap();
        assert!(web(true).fetch(&url, LIMITS).await.is_ok());
        for other in ["file:///etc/passwd", "ftp://example.org/", "http://user:x@example.org/"] {
            let url = Url::parse(other).unwrap();
            assert!(web(true).fetch(&url, LIMITS).await.is_err(), "{other}");
        }
    }

    #[tokio::test]
    async fn what_does_not_end_is_cut_off() {
        let endless = async || {
            let chunk = Ok::<_, std::convert::Infallible>(vec![b'x'; 600]);
            Body::from_stream(stream::repeat(chunk).take(100))
        };
        let stuck = async || {
            Body::from_stream(stream::pending::<Result<Vec<u8>, std::convert::Infallible>>())
        };
        let router = Router::new().route("/endless", get(endless)).route("/stuck", get(stuck));
        let base = serve(router).await;
        let url = |path: &str| Url::parse(&format!("{base}{path}")).unwrap();
        let fetched = web(true).fetch(&url("/endless"), LIMITS).await.unwrap();
        assert!(body(fetched).await.unwrap_err().0.contains("larger"));
        let limits = FetchLimits { timeout: Duration::from_millis(300), ..LIMITS };
        let outcome = match web(true).fetch(&url("/stuck"), limits).await {
            Ok(fetched) => body(fetched).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(outcome.unwrap_err().0.contains("too long"));
    }
}
