//! Who sent a request: signing ours, verifying those of others.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header, request};
use ruma::{
    OwnedServerName, ServerName, SigningKeyAlgorithm,
    signatures::{Ed25519KeyPair, KeyPair as _, verify_canonical_json_bytes},
};
use starling_engine::{
    Engine,
    keys::{
        remote::{RemoteKeysError, server_keys},
        signing::key_id,
    },
};

use crate::{
    authorization::{XMatrix, XMatrixError},
    content::{ContentError, canonical},
};

/// How many signatures of one request are looked at.
const MAX_SIGNATURES: usize = 4;

/// Why a request is not believed to come from a server.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no `Authorization: X-Matrix` header.
    #[error("the request is not signed")]
    Missing,
    /// A header cannot be read.
    #[error("malformed Authorization header: {0}")]
    Malformed(#[from] XMatrixError),
    /// The headers disagree on who sent the request to whom.
    #[error("several Authorization headers that do not agree")]
    Contradictory,
    /// The request was made for another server.
    #[error("the request is for {0}")]
    OtherDestination(OwnedServerName),
    /// The body is not a JSON object.
    #[error("the body is not JSON that can be signed: {0}")]
    Content(#[from] ContentError),
    /// The key is not known, or not valid now, and the server does not tell otherwise.
    #[error("no valid key {key_id} of {origin} is known")]
    UnknownKey {
        /// Who claims to have sent the request.
        origin: OwnedServerName,
        /// With which key it claims to have signed.
        key_id: String,
    },
    /// The signature is wrong.
    #[error("the signature of {0} is wrong")]
    WrongSignature(OwnedServerName),
    /// The keys could not be looked up.
    #[error(transparent)]
    Internal(RemoteKeysError),
}

/// Signs a request: adds the `Authorization` header.
///
/// The request's URI must be the path with query as it will be sent, its body JSON or empty.
///
/// # Errors
///
/// [`ContentError`] when there is a body that is not a JSON object.
pub fn sign(
    request: &mut Request<Bytes>,
    origin: &ServerName,
    destination: &ServerName,
    key: &Ed25519KeyPair,
) -> Result<(), ContentError> {
    let content = content(request.body())?;
    let text = Signed { content, destination, origin, request: Target::of(request) }.text();
    let header = XMatrix {
        origin: origin.to_owned(),
        destination: Some(destination.to_owned()),
        key_id: key_id(key),
        signature: key.sign(text.as_bytes()).as_bytes().to_vec(),
    };
    // Server names, key IDs and base64 are all visible ASCII.
    if let Ok(value) = HeaderValue::from_str(&header.to_string()) {
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    Ok(())
}

/// The server that sent a request, proven by its signature.
///
/// `request` must have the URI as it was received, `body` all bytes of the body.
///
/// # Errors
///
/// See [`AuthError`]; all but [`AuthError::Content`] and [`AuthError::Internal`] mean that the sender
/// is not authenticated.
pub async fn authenticate(
    engine: &Engine,
    request: &request::Parts,
    body: &[u8],
) -> Result<OwnedServerName, AuthError> {
    let (first, others) = signatures(&request.headers)?;
    if let Some(other) = first.destination.as_ref().filter(|d| **d != engine.config.server_name) {
        return Err(AuthError::OtherDestination(other.clone()));
    }
    let text = Signed {
        content: content(body)?,
        destination: &engine.config.server_name,
        origin: &first.origin,
        request: Target { method: request.method.as_str(), uri: path_and_query(&request.uri) },
    }
    .text();
    let mut outcome = verify(engine, &first, &text).await;
    for signature in &others {
        if outcome.is_ok() {
            break;
        }
        outcome = verify(engine, signature, &text).await;
    }
    outcome.map(|()| first.origin)
}

/// The request's signatures: old servers send one header for each of their keys.
fn signatures(headers: &HeaderMap) -> Result<(XMatrix, Vec<XMatrix>), AuthError> {
    let mut found = Vec::new();
    for header in headers.get_all(header::AUTHORIZATION).iter().take(MAX_SIGNATURES) {
        let text = header.to_str().map_err(|_| XMatrixError::Malformed)?;
        match XMatrix::parse(text) {
            Ok(signature) => found.push(signature),
            Err(XMatrixError::OtherScheme) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut found = found.into_iter();
    let first = found.next().ok_or(AuthError::Missing)?;
    let others: Vec<_> = found.collect();
    let agrees =
        |other: &XMatrix| other.origin == first.origin && other.destination == first.destination;
    if others.iter().all(agrees) { Ok((first, others)) } else { Err(AuthError::Contradictory) }
}

async fn verify(engine: &Engine, signature: &XMatrix, text: &str) -> Result<(), AuthError> {
    let XMatrix { origin, key_id, .. } = signature;
    let now = engine.clock.now();
    let keys = server_keys(engine, origin, std::slice::from_ref(key_id), engine.clock.now_ms())
        .await
        .map_err(AuthError::Internal)?;
    let key = keys
        .get(key_id)
        .filter(|key| key.valid_until_ts >= now)
        .ok_or_else(|| AuthError::UnknownKey { origin: origin.clone(), key_id: key_id.clone() })?;
    verify_canonical_json_bytes(
        &SigningKeyAlgorithm::Ed25519,
        &key.public_key,
        &signature.signature,
        text.as_bytes(),
    )
    .map_err(|_| AuthError::WrongSignature(origin.clone()))
}

/// What a request asks for.
struct Target<'a> {
    method: &'a str,
    uri: &'a str,
}

impl<'a> Target<'a> {
    fn of<B>(request: &'a Request<B>) -> Self {
        Self { method: request.method().as_str(), uri: path_and_query(request.uri()) }
    }
}

/// What is signed.
struct Signed<'a> {
    content: Option<String>,
    destination: &'a ServerName,
    origin: &'a ServerName,
    request: Target<'a>,
}

impl Signed<'_> {
    /// Canonical JSON: the keys are in order.
    fn text(&self) -> String {
        let string = |text: &str| serde_json::Value::from(text).to_string();
        let content =
            self.content.as_ref().map_or(String::new(), |text| format!("\"content\":{text},"));
        format!(
            "{{{content}\"destination\":{},\"method\":{},\"origin\":{},\"uri\":{}}}",
            string(self.destination.as_str()),
            string(self.request.method),
            string(self.origin.as_str()),
            string(self.request.uri),
        )
    }
}

/// A request without body has no content, not an empty one.
fn content(body: &[u8]) -> Result<Option<String>, ContentError> {
    if body.is_empty() { Ok(None) } else { canonical(body).map(Some) }
}

fn path_and_query(uri: &http::Uri) -> &str {
    uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::{prelude::*, test_runner::TestRunner};
    use ruma::server_name;

    use starling_engine::testing::{TestClock, TestEngine};

    use super::*;
    use crate::test_peer::KeyNetwork;

    struct Setup {
        network: Arc<KeyNetwork>,
        us: TestEngine,
        them: TestEngine,
        clock: Arc<TestClock>,
    }

    impl Setup {
        async fn new() -> Self {
            let (network, clock) = (Arc::<KeyNetwork>::default(), Arc::default());
            let us = network.join("us.example", &clock).await;
            let them = network.join("them.example", &clock).await;
            Self { network, us, them, clock }
        }

        /// A request of theirs to us.
        fn signed(&self, method: &str, uri: &str, body: &str) -> Request<Bytes> {
            let body = Bytes::copy_from_slice(body.as_bytes());
            let mut request = Request::builder().method(method).uri(uri).body(body).unwrap();
            let key = self.them.engine.signing_keys.current();
            let (them, us) = (server_name!("them.example"), server_name!("us.example"));
            sign(&mut request, them, us, key).unwrap();
            request
        }

        async fn check(&self, request: Request<Bytes>) -> Result<OwnedServerName, AuthError> {
            let (parts, body) = request.into_parts();
            authenticate(&self.us.engine, &parts, &body).await
        }
    }

    const URI: &str = "/_matrix/federation/v1/x/%21a%3Ab?c=%2f&d=";

    fn header(request: &Request<Bytes>) -> String {
        request.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned()
    }

    /// The request with other `Authorization` headers.
    fn with(mut request: Request<Bytes>, headers: &[&str]) -> Request<Bytes> {
        request.headers_mut().remove(header::AUTHORIZATION);
        for text in headers {
            let value = HeaderValue::from_str(text).unwrap();
            request.headers_mut().append(header::AUTHORIZATION, value);
        }
        request
    }

    #[tokio::test]
    async fn a_signed_request_is_from_its_origin_whatever_its_body() {
        let setup = Setup::new().await;
        let bodies = ["", "{}", r#"{ "b":[1.50, 1e3, 9007199254740993], "a":"\u00e9" }"#];
        for body in bodies {
            let origin = setup.check(setup.signed("PUT", URI, body)).await;
            assert_eq!(origin.unwrap(), "them.example", "{body}");
        }
    }

    #[test]
    fn what_is_signed_is_what_the_specification_says() {
        let signed = Signed {
            content: content(br#"{"b":1,"a":"x"}"#).unwrap(),
            destination: server_name!("d.example"),
            origin: server_name!("o.example:1"),
            request: Target { method: "POST", uri: "/target?a=\"" },
        };
        let expected = concat!(
            r#"{"content":{"a":"x","b":1},"destination":"d.example","method":"POST","#,
            r#""origin":"o.example:1","uri":"/target?a=\""}"#
        );
        assert_eq!(signed.text(), expected);
        let without = Signed { content: content(b"").unwrap(), ..signed };
        assert!(without.text().starts_with(r#"{"destination""#));
    }

    #[tokio::test]
    async fn every_change_on_the_way_is_noticed() {
        let setup = Setup::new().await;
        let request = setup.signed("PUT", URI, "{}");
        let mut changed = vec![request.clone(); 5];
        *changed[0].method_mut() = http::Method::POST;
        // Another spelling of the same path is another request.
        *changed[1].uri_mut() = URI.replace("%3A", ":").parse().unwrap();
        *changed[2].uri_mut() = URI.replace("&d=", "").parse().unwrap();
        *changed[3].body_mut() = Bytes::from_static(b"{\"a\":1}");
        *changed[4].body_mut() = Bytes::new();
        for request in changed {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            let refused = setup.check(request).await;
            assert!(matches!(refused, Err(AuthError::WrongSignature(_))), "{method} {uri}");
        }
    }

    #[tokio::test]
    async fn a_request_for_another_server_is_refused() {
        let setup = Setup::new().await;
        let request = setup.signed("GET", URI, "");
        let text = header(&request).replace("us.example", "other.example");
        let refused = setup.check(with(request.clone(), &[&text])).await;
        assert!(
            matches!(refused, Err(AuthError::OtherDestination(name)) if name == "other.example")
        );
        // Old servers sign the destination and do not send it.
        let text = header(&request).replace(r#"destination="us.example","#, "");
        assert_eq!(setup.check(with(request, &[&text])).await.unwrap(), "them.example");
    }

    #[tokio::test]
    async fn nobody_signs_in_the_name_of_another() {
        let setup = Setup::new().await;
        let request = setup.signed("GET", URI, "");
        let text = header(&request).replace("them.example", "us.example");
        let refused = setup.check(with(request.clone(), &[&text])).await;
        assert!(matches!(refused, Err(AuthError::UnknownKey { .. })), "{refused:?}");
        let text = header(&request).replace("them.example", "gone.example");
        let refused = setup.check(with(request, &[&text])).await;
        assert!(matches!(refused, Err(AuthError::UnknownKey { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn of_several_headers_one_valid_signature_is_enough_if_they_agree() {
        let setup = Setup::new().await;
        let request = setup.signed("GET", URI, "");
        let valid = header(&request);
        let unknown = valid.replace("key=\"ed25519:", "key=\"ed25519:x");
        let other = valid.replace("them.example", "us.example");
        let accepted: [&[&str]; 3] =
            [&[&valid, &unknown], &[&unknown, &valid], &["Bearer abc", &valid]];
        for headers in accepted {
            let origin = setup.check(with(request.clone(), headers)).await;
            assert_eq!(origin.unwrap(), "them.example", "{headers:?}");
        }
        let refused = setup.check(with(request.clone(), &[&valid, &other])).await;
        assert!(matches!(refused, Err(AuthError::Contradictory)), "{refused:?}");
        let refused = setup.check(with(request, &[&unknown, &unknown])).await;
        assert!(matches!(refused, Err(AuthError::UnknownKey { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn unsigned_and_malformed_requests_are_refused() {
        let setup = Setup::new().await;
        let request = setup.signed("GET", URI, "");
        for headers in [&[][..], &["Bearer abc"]] {
            let refused = setup.check(with(request.clone(), headers)).await;
            assert!(matches!(refused, Err(AuthError::Missing)), "{refused:?}");
        }
        let refused = setup.check(with(request.clone(), &["X-Matrix origin=a"])).await;
        assert!(matches!(refused, Err(AuthError::Malformed(_))), "{refused:?}");
        let mut request = request;
        *request.body_mut() = Bytes::from_static(b"not json");
        assert!(matches!(setup.check(request).await, Err(AuthError::Content(_))));
    }

    #[tokio::test]
    async fn a_key_counts_only_as_long_as_its_server_says_so() {
        const DAYS: i64 = 24 * 60 * 60 * 1000;
        let setup = Setup::new().await;
        let request = setup.signed("GET", URI, "");
        assert!(setup.check(request.clone()).await.is_ok());
        // It was valid for a day; they publish it again when asked.
        setup.clock.advance(2 * DAYS);
        assert!(setup.check(request.clone()).await.is_ok());
        setup.network.leave("them.example");
        assert!(setup.check(request.clone()).await.is_ok());
        setup.clock.advance(2 * DAYS);
        let refused = setup.check(request).await;
        assert!(matches!(refused, Err(AuthError::UnknownKey { .. })), "{refused:?}");
    }

    #[test]
    fn a_body_that_is_no_json_object_is_not_signed() {
        let mut request = Request::put(URI).body(Bytes::from_static(b"[]")).unwrap();
        let key = key_pair();
        let server = server_name!("a.example");
        assert!(sign(&mut request, server, server, &key).is_err());
        assert!(request.headers().is_empty());
    }

    fn key_pair() -> Ed25519KeyPair {
        let document = Ed25519KeyPair::generate();
        Ed25519KeyPair::from_der(&document, "1".to_owned()).unwrap()
    }

    #[test]
    fn any_request_is_verified_as_it_was_signed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let setup = runtime.block_on(Setup::new());
        let path = "/[a-zA-Z0-9%:!$@._~/-]{0,40}";
        let query = proptest::option::of("[a-zA-Z0-9%:=&+?/-]{0,40}");
        TestRunner::default()
            .run(&(path, query, any::<String>()), |(path, query, text)| {
                let uri = query.map_or(path.clone(), |query| format!("{path}?{query}"));
                let body = serde_json::json!({ &text: [text, 1] }).to_string();
                let origin = runtime.block_on(setup.check(setup.signed("PUT", &uri, &body)));
                prop_assert_eq!(origin.unwrap(), "them.example");
                Ok(())
            })
            .unwrap();
    }
}
