//! The engine, made from the configuration and the database.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ruma::ServerName;
use starling_engine::{
    Config as EngineConfig, Engine, Parts,
    accounts::masquerade,
    appservices::ApplicationServices,
    clock::{Clock, SystemClock},
    config::{
        DelayedEvents, Email, PasswordHashing, Presence, Push, Registration,
        RegistrationMode as EngineRegistrationMode, Retention, ServerNotices, UserDirectory,
    },
    keys::SigningKeys,
    remote::{Limits, Transport, TransportError},
    state::store::Secret,
};
use starling_federation::{config::FederationConfig, transport::HttpTransport};
use starling_storage::{
    Storage,
    blobs::{Blobs, S3},
};

use crate::{
    config::{Config, RegistrationMode},
    outside::World,
};

/// Makes the engine. A deployment that starts for the first time gets its keys here.
///
/// # Errors
///
/// When the keys cannot be read or made, or the way to other servers cannot be set up.
pub(crate) async fn start(config: &Config, storage: Storage) -> anyhow::Result<Engine> {
    let clock = Arc::new(SystemClock);
    let signing_keys = Arc::new(SigningKeys::load_or_create(&storage, &*clock).await?);
    let trie_secret = Secret::load(&storage).await?;
    let transport = transport(config, signing_keys.clone(), clock.clone())?;
    let outside = Arc::new(World::new(config)?);
    let blobs = blobs(config)?;
    let appservices = config.appservices.load(&config.server_name)?;
    let config = EngineConfig { appservices, ..engine_config(config) };
    let engine = Engine::new(Parts {
        config,
        storage,
        blobs,
        clock,
        transport,
        outside,
        signing_keys,
        trie_secret,
    });
    masquerade::make_senders(&engine).await?;
    Ok(engine)
}

/// A minute in milliseconds.
const MINUTE_MS: i64 = 60 * 1_000;

fn engine_config(config: &Config) -> EngineConfig {
    let hashing = &config.accounts.password_hashing;
    EngineConfig {
        server_name: config.server_name.clone(),
        public_url: config.client.public_url.clone(),
        default_room_version: config.rooms.default_version.clone(),
        forget_upon_leave: config.rooms.forget_upon_leave,
        registration: Registration {
            mode: match config.registration.mode {
                RegistrationMode::Closed => EngineRegistrationMode::Closed,
                RegistrationMode::Token => EngineRegistrationMode::Token,
                RegistrationMode::Open => EngineRegistrationMode::Open,
            },
            guests: config.registration.guests,
            shared_secret: config.registration.shared_secret.get().map(str::to_owned),
        },
        email: config.email.smtp_host.as_ref().map(|_| Email {
            app_name: match &config.email.app_name {
                Some(name) => name.clone(),
                None => config.server_name.to_string(),
            },
            tell_whether_known: config.email.tell_whether_known,
            next_link_hosts: config.email.next_link_hosts.clone(),
            allowed_domains: lower_case(&config.email.allowed_domains),
            notify_after_ms: i64::from(config.email.notify_after_minutes) * MINUTE_MS,
            notify_again_ms: i64::from(config.email.notify_again_minutes) * MINUTE_MS,
        }),
        password_hashing: PasswordHashing {
            memory_kib: hashing.memory_kib,
            iterations: hashing.iterations,
        },
        trusted_notaries: config.federation.trusted_notaries.clone(),
        presence: Presence { enabled: config.presence.enabled },
        user_directory: UserDirectory {
            enabled: config.user_directory.enabled,
            search_all_users: config.user_directory.search_all_users,
        },
        profiles: config.profiles.settings(),
        server_notices: server_notices(config),
        retention: retention(config),
        media: config.media.settings(),
        delayed_events: DelayedEvents {
            enabled: config.delayed_events.enabled,
            longest_ms: i64::from(config.delayed_events.longest_seconds) * 1_000,
            most_per_user: i64::from(config.delayed_events.most_per_user),
        },
        push: Push {
            follow_threads: config.push.follow_threads,
            allow_private_addresses: config.push.allow_private_addresses,
        },
        appservices: ApplicationServices::default(),
        cache_bytes: config.memory_budget.bytes(),
    }
}

fn lower_case(domains: &[String]) -> Vec<String> {
    domains.iter().map(|domain| domain.to_lowercase()).collect()
}

/// The bytes of files: in a bucket, or in a directory.
pub(crate) fn blobs(config: &Config) -> anyhow::Result<Blobs> {
    let media = &config.media;
    Ok(match &media.s3.bucket {
        Some(bucket) => Blobs::s3(S3 {
            bucket: bucket.clone(),
            region: media.s3.region.clone(),
            endpoint: media.s3.endpoint.clone(),
            access_key_id: media.s3.access_key_id.clone(),
            secret_access_key: media.s3.secret_access_key.get().unwrap_or_default().to_owned(),
            redirect: media.s3.redirect,
        })?,
        None => {
            let usual = || config.data_dir.join("media");
            Blobs::local(&media.directory.clone().unwrap_or_else(usual))?
        }
    })
}

/// Says in the log if the store of files cannot be used. The rest of the server does not wait for it.
pub(crate) async fn check_store(blobs: Blobs) {
    if let Err(error) = blobs.check().await {
        tracing::error!(%error, "the store of files cannot be used; see `starling doctor`");
    }
}

fn server_notices(config: &Config) -> Option<ServerNotices> {
    let notices = &config.server_notices;
    Some(ServerNotices {
        localpart: notices.localpart.clone()?,
        display_name: notices.display_name.clone(),
        avatar_url: notices.avatar_url.clone(),
        room_name: notices.room_name.clone(),
    })
}

fn retention(config: &Config) -> Retention {
    let ms = |days: u32| (days > 0).then(|| i64::from(days) * 24 * 60 * 60 * 1_000);
    Retention {
        default_ms: ms(config.retention.default_days),
        shortest_ms: ms(config.retention.shortest_days),
        longest_ms: ms(config.retention.longest_days),
    }
}

fn transport(
    config: &Config,
    signing_keys: Arc<SigningKeys>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn Transport>> {
    if !config.federation.enabled {
        return Ok(Arc::new(NoFederation));
    }
    Ok(Arc::new(HttpTransport::new(&federation(config), signing_keys, clock)?))
}

/// How other servers are reached.
pub(crate) fn federation(config: &Config) -> FederationConfig {
    FederationConfig {
        trusted_ca_files: config.federation.trusted_ca_files.clone(),
        allow_private_addresses: config.federation.allow_private_addresses,
        resolve_overrides: config.federation.resolve_overrides.clone(),
        ..FederationConfig::new(config.server_name.clone())
    }
}

/// The way to other servers when `federation.enabled` is off: there is none.
struct NoFederation;

#[async_trait]
impl Transport for NoFederation {
    async fn send(
        &self,
        destination: &ServerName,
        _: http::Request<Bytes>,
        _: Limits,
    ) -> Result<http::Response<Bytes>, TransportError> {
        let reason = "federation is switched off".to_owned();
        Err(TransportError::Discovery { server: destination.to_string(), reason })
    }
}
