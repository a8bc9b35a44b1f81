//! The doors, opened: a router for each API.

use axum::Router;
use starling_client_api::{Contact, Policy, Settings, Support};
use starling_engine::Engine;

use crate::{
    admin,
    config::Config,
    http,
    metrics::{self, Traffic},
    overload::Overload,
};

/// What the listeners answer with.
pub(crate) struct Doors {
    /// `/health/…`, on the client listeners.
    pub(crate) health: Router,
    /// The client API, with an answer for every address there is.
    pub(crate) client: Router,
    /// The same with the API of administrators.
    pub(crate) client_and_admin: Router,
    /// The server API, with an answer for every address there is.
    pub(crate) federation: Router,
    /// `/metrics`, on listeners of its own.
    pub(crate) metrics: Router,
    /// `starling admin`, on a socket in the data directory.
    pub(crate) admin: Router,
}

impl Doors {
    /// Opens them to an engine.
    pub(crate) fn open(
        engine: &Engine,
        config: &Config,
        (traffic, overload): (&Traffic, &Overload),
    ) -> Self {
        let servers = starling_federation::Options {
            allow_public_rooms: config.federation.allow_public_rooms,
            requests: config.rate_limits.requests_by_server(),
            invites: config.rate_limits.invites_by_server(),
        };
        let servers = starling_federation::Door::new(engine.clone(), servers);
        let settings = client_api_settings(config);
        Self {
            health: http::health(engine.clone()),
            client: starling_client_api::router(engine.clone(), settings.clone()),
            client_and_admin: starling_client_api::router_with_admin(engine.clone(), settings),
            federation: starling_federation::router(servers),
            metrics: metrics::router(engine.clone(), traffic.clone(), overload.clone()),
            admin: admin::router(engine.clone()),
        }
    }
}

fn client_api_settings(config: &Config) -> Settings {
    let contacts = config.client.support_contacts.iter().map(|contact| Contact {
        role: contact.role.clone(),
        matrix_id: contact.matrix_id.clone(),
        email_address: contact.email_address.clone(),
    });
    let support =
        Support { contacts: contacts.collect(), support_page: config.client.support_page.clone() };
    let policies = config.registration.terms.iter().map(|terms| Policy {
        id: terms.id.clone(),
        version: terms.version.clone(),
        name: terms.name.clone(),
        url: terms.url.clone(),
        translations: terms
            .translations
            .iter()
            .map(|(language, it)| (language.clone(), (it.name.clone(), it.url.clone())))
            .collect(),
    });
    Settings {
        rate_limits: config.rate_limits.enabled,
        allowances: config.rate_limits.allowances(),
        policies: policies.collect(),
        login_tokens: config.accounts.login_tokens,
        turn: config.turn.settings(),
        rtc_transports: config.rtc.transports(),
        well_known: config.client.well_known.clone().into_iter().collect(),
        policy_server_keys: config.client.policy_server_keys.clone(),
        require_email: config.registration.require_email,
        captcha_site_key: config.registration.recaptcha.site_key.clone(),
        federation_name: config.federation.public_name.clone(),
        support: (!support.contacts.is_empty() || support.support_page.is_some())
            .then_some(support),
    }
}
