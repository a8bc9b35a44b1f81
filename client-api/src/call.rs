//! One request to one operation, as its route sees it.
//!
//! A route takes a [`Call`] and, in this order: finds out who asks ([`Call::authenticated`]), what
//! is asked ([`Call::parse`]), lets the engine do it, and answers.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use axum::{body::Body, extract::MatchedPath};
use bytes::Bytes;
use http::{Method, header, request::Parts};
use ruma::{
    OwnedUserId, UInt,
    api::{IncomingRequest, IncomingRequestExt as _},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use starling_engine::{
    Engine,
    accounts::{
        Session, devices,
        masquerade::{self, Mask},
        tokens,
    },
    appservices::ApplicationService,
};

use crate::{ClientIp, Door, body, error::Error, limits::Doing};

/// The user who asks, once that is known.
pub(crate) type Asker = Arc<OnceLock<OwnedUserId>>;

/// A request on its way through a route.
pub(crate) struct Call {
    /// The engine.
    pub(crate) engine: Engine,
    /// Settings and limits of this door.
    pub(crate) door: Door,
    parts: Parts,
    asker: Asker,
    path_args: Vec<String>,
    /// Never contended: a body cannot be shared between threads, and a call must be.
    body: Mutex<Body>,
    read: Option<Bytes>,
}

impl Call {
    pub(crate) fn new(
        door: Door,
        (parts, asker): (Parts, Asker),
        path_args: Vec<String>,
        body: Body,
    ) -> Self {
        Self {
            engine: door.engine.clone(),
            door,
            parts,
            asker,
            path_args,
            body: Mutex::new(body),
            read: None,
        }
    }

    /// Who asks: the session of the access token, which is no guest's.
    pub(crate) async fn authenticated(&self) -> Result<Session, Error> {
        not_a_guest(self.authenticated_or_guest().await?)
    }

    /// As [`Call::authenticated`], for what the specification allows to guests too.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#guest-access>
    pub(crate) async fn authenticated_or_guest(&self) -> Result<Session, Error> {
        let session = self.session().await?;
        match session.is_locked() {
            true => Err(Error::user_locked()),
            false => Ok(session),
        }
    }

    /// As [`Call::authenticated`], for what a suspended account must not do.
    pub(crate) async fn authenticated_to_act(&self) -> Result<Session, Error> {
        not_suspended(self.authenticated().await?)
    }

    /// As [`Call::authenticated_or_guest`], for what a suspended account must not do.
    pub(crate) async fn authenticated_or_guest_to_act(&self) -> Result<Session, Error> {
        not_suspended(self.authenticated_or_guest().await?)
    }

    /// As [`Call::authenticated`], but a locked account passes: it may still log out.
    pub(crate) async fn authenticated_or_locked(&self) -> Result<Session, Error> {
        not_a_guest(self.session().await?)
    }

    async fn session(&self) -> Result<Session, Error> {
        let token = self.access_token().ok_or_else(Error::missing_token)?;
        let session = match self.engine.config.appservices.by_token(&token) {
            Some(service) => self.masked(service).await?,
            None => {
                let session = tokens::authenticate(&self.engine, &token).await?;
                self.door.limits.heed(&session);
                session
            }
        };
        self.asker.get_or_init(|| session.user_id.clone());
        self.limit(Doing::Anything, &session)?;
        if session.device().is_some() {
            devices::note_seen(&self.engine, &session, self.client_ip(), self.user_agent());
        }
        Ok(session)
    }

    /// An application service that acts for one of its users.
    ///
    /// <https://spec.matrix.org/v1.19/application-service-api/#identity-assertion>
    async fn masked(&self, service: &Arc<ApplicationService>) -> Result<Session, Error> {
        #[derive(Deserialize)]
        struct Query {
            user_id: Option<String>,
            device_id: Option<String>,
            /// The name before the specification had one.
            #[serde(rename = "org.matrix.msc3202.device_id")]
            unstable_device_id: Option<String>,
        }
        self.engine.deliveries.spoke(&service.id);
        let query: Query = self.query_as()?;
        let device_id = query.device_id.or(query.unstable_device_id);
        let mask = Mask { user_id: query.user_id.as_deref(), device_id: device_id.as_deref() };
        Ok(masquerade::authenticate(&self.engine, service, mask).await?)
    }

    /// The application service that asks, whoever it acts for; `None` when the token is no application
    /// service's.
    pub(crate) fn appservice(&self) -> Result<Option<Arc<ApplicationService>>, Error> {
        let token = self.access_token().ok_or_else(Error::missing_token)?;
        let service = self.engine.config.appservices.by_token(&token);
        if let Some(service) = service {
            self.engine.deliveries.spoke(&service.id);
        }
        Ok(service.cloned())
    }

    /// The same, where nobody else can ask.
    pub(crate) fn required_appservice(&self) -> Result<Arc<ApplicationService>, Error> {
        self.appservice()?.ok_or_else(|| Error::unknown_token(false))
    }

    /// The time that an application service gives an event (`ts`); nobody else can.
    ///
    /// <https://spec.matrix.org/v1.19/application-service-api/#timestamp-massaging>
    pub(crate) fn massaged_ts(&self, session: &Session) -> Result<Option<i64>, Error> {
        #[derive(Deserialize)]
        struct Query {
            ts: Option<String>,
        }
        if session.appservice.is_none() {
            return Ok(None);
        }
        let Some(ts) = self.query_as::<Query>()?.ts else { return Ok(None) };
        let ts = ts.parse().ok().and_then(UInt::new);
        let ts =
            ts.ok_or_else(|| Error::invalid_param("`ts` is no time that an event can have"))?;
        Ok(Some(ts.into()))
    }

    /// Takes one from the allowance of who asks, if they have one.
    pub(crate) fn limit(&self, doing: Doing, session: &Session) -> Result<(), Error> {
        match session.is_limited() {
            true => self.door.limits.user(doing, &session.user_id),
            false => Ok(()),
        }
    }

    /// Who asks, who must administer this server. What administrators ask for is logged.
    pub(crate) async fn administrator(&self) -> Result<Session, Error> {
        self.as_administrator(self.authenticated().await?)
    }

    /// The same, when it is known who asks.
    pub(crate) fn as_administrator(&self, session: Session) -> Result<Session, Error> {
        if !session.is_admin() {
            return Err(Error::forbidden("You do not administer this server"));
        }
        let session = not_suspended(session)?;
        let operation = self.parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        tracing::info!(user.id = %session.user_id, method = %self.parts.method, operation,
            "an administrator asks");
        Ok(session)
    }

    /// Who asks, who must be the user that the path names in its parameter number `index`.
    pub(crate) async fn authenticated_as(&self, index: usize) -> Result<OwnedUserId, Error> {
        let session = self.authenticated().await?;
        if self.path_arg(index) != session.user_id.as_str() {
            return Err(Error::forbidden("This belongs to somebody else"));
        }
        Ok(session.user_id)
    }

    /// Who asks, where that may be anybody; a token that is given must be valid.
    pub(crate) async fn maybe_authenticated(&self) -> Result<Option<Session>, Error> {
        match self.maybe_guest().await? {
            Some(session) => not_a_guest(session).map(Some),
            None => Ok(None),
        }
    }

    /// As [`Call::maybe_authenticated`], for what the specification allows to guests too.
    pub(crate) async fn maybe_guest(&self) -> Result<Option<Session>, Error> {
        match self.access_token() {
            Some(_) => self.authenticated_or_guest().await.map(Some),
            None => self.anonymous().map(|()| None),
        }
    }

    /// Takes one from the allowance of who asks: the user's, or that of the address.
    pub(crate) fn take(&self, doing: Doing, session: Option<&Session>) -> Result<(), Error> {
        match session {
            Some(session) => self.limit(doing, session),
            None => self.door.limits.address(doing, self.client_ip()),
        }
    }

    /// Nobody in particular asks, who must not do so too often.
    pub(crate) fn anonymous(&self) -> Result<(), Error> {
        self.door.limits.address(Doing::Anything, self.client_ip())
    }

    /// The request as the specification's type. Can be called again: the body is kept.
    pub(crate) async fn parse<R: IncomingRequest>(&mut self) -> Result<R, Error> {
        let body = self.json_body().await?;
        Ok(R::try_from_http_request(self.request(&body), &self.path_args())?)
    }

    /// The request as the specification's type, with a body that stands in for the one received.
    pub(crate) fn parse_with<R: IncomingRequest>(&self, body: &[u8]) -> Result<R, Error> {
        Ok(R::try_from_http_request(self.request(body), &self.path_args())?)
    }

    /// The body as a type of our own.
    pub(crate) async fn body_as<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let body = self.json_body().await?;
        Ok(serde_json::from_slice(if body.is_empty() { b"{}" } else { &body })?)
    }

    /// The body of a form, or JSON as a client sends it, as a type of our own.
    pub(crate) async fn form_or_json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let kind = self.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return self.body_as().await;
        }
        let body = body::read(self.take_body(), body::LARGEST_FORM).await?;
        serde_html_form::from_bytes(&body).map_err(|error| Error::parameter(error.to_string()))
    }

    /// A header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// The body as an event's content; an empty body is `{}`.
    pub(crate) async fn content(&mut self) -> Result<Box<RawValue>, Error> {
        self.body_as().await
    }

    /// The body, bounded and checked to be a JSON object or empty.
    pub(crate) async fn json_body(&mut self) -> Result<Bytes, Error> {
        if let Some(body) = &self.read {
            return Ok(body.clone());
        }
        let body = body::read(self.take_body(), body::LARGEST_JSON).await?;
        if self.parts.method != Method::GET {
            body::require_object(&body)?;
        }
        self.read = Some(body.clone());
        Ok(body)
    }

    /// The value of the path's parameter number `index` (from 0), percent-decoded.
    pub(crate) fn path_arg(&self, index: usize) -> &str {
        self.path_args.get(index).map_or("", String::as_str)
    }

    /// The query as a type of our own.
    pub(crate) fn query_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_html_form::from_str(self.query()).map_err(|error| Error::parameter(error.to_string()))
    }

    /// The path's parameter number `index` (from 0) as an identifier.
    pub(crate) fn path_id<T: for<'a> TryFrom<&'a str>>(&self, index: usize) -> Result<T, Error> {
        T::try_from(self.path_arg(index))
            .map_err(|_| Error::invalid_param("The path has a malformed identifier"))
    }

    /// The query string as it was sent.
    pub(crate) fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// The address of the client; unspecified when the listener did not tell.
    pub(crate) fn client_ip(&self) -> IpAddr {
        self.parts
            .extensions
            .get::<ClientIp>()
            .map_or(Ipv4Addr::UNSPECIFIED.into(), |ClientIp(address)| *address)
    }

    /// The body as it comes in, for what is not JSON; empty when it was taken before.
    pub(crate) fn take_body(&mut self) -> Body {
        std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    fn user_agent(&self) -> Option<&str> {
        self.parts.headers.get(header::USER_AGENT)?.to_str().ok()
    }

    fn path_args(&self) -> Vec<&str> {
        self.path_args.iter().map(String::as_str).collect()
    }

    fn request<'b>(&self, body: &'b [u8]) -> http::Request<&'b [u8]> {
        http::Request::from_parts(self.parts.clone(), body)
    }

    /// Whether there is an access token at all.
    pub(crate) fn has_token(&self) -> bool {
        self.access_token().is_some()
    }

    fn access_token(&self) -> Option<String> {
        self.bearer().or_else(|| self.token_in_query()).filter(|token| !token.is_empty())
    }

    fn bearer(&self) -> Option<String> {
        let value = self.parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    }

    fn token_in_query(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Query {
            access_token: Option<String>,
        }
        serde_html_form::from_str::<Query>(self.query()).ok()?.access_token
    }
}

fn not_a_guest(session: Session) -> Result<Session, Error> {
    match session.is_guest() {
        true => Err(Error::guest_access_forbidden("Guests may not do this")),
        false => Ok(session),
    }
}

fn not_suspended(session: Session) -> Result<Session, Error> {
    match session.is_suspended() {
        true => Err(Error::user_suspended()),
        false => Ok(session),
    }
}
