//! What the types of the settings cannot say: values that make no sense alone or together.

use ruma::ServerName;
use starling_engine::rooms::versions;

use super::{Config, Federation, Tls};

/// argon2 works on at least 8 KiB; above this one log-in would take the whole machine.
const PASSWORD_MEMORY_KIB: std::ops::RangeInclusive<u32> = 8..=4 * 1024 * 1024;

/// The first thing that is wrong, in one line that names the setting.
pub(super) fn validate(config: &Config) -> Result<(), String> {
    client(config)?;
    federation(&config.federation)?;
    database(config)?;
    config.registration.validate(config.email.smtp_host.is_some())?;
    config.email.validate(config.client.public_url.as_deref())?;
    password_hashing(config)?;
    rooms(config)?;
    config.turn.validate()?;
    config.rtc.validate()?;
    server_notices(config)?;
    retention(config)?;
    config.rate_limits.validate()?;
    if config.limits.connections == 0 {
        return Err("`limits.connections` must be at least 1".to_owned());
    }
    if config.limits.header_seconds == 0 {
        return Err("`limits.header_seconds` must be at least 1".to_owned());
    }
    if config.limits.body_seconds == 0 {
        return Err("`limits.body_seconds` must be at least 1".to_owned());
    }
    config.telemetry.validate()?;
    config.log.validate()
}

fn client(config: &Config) -> Result<(), String> {
    if config.client.listen.is_empty() {
        return Err("`client.listen` names no address".to_owned());
    }
    let keys = &config.client.policy_server_keys;
    if !keys.is_empty() && !keys.contains_key("ed25519") {
        return Err("`client.policy_server_keys` needs a key `ed25519`".to_owned());
    }
    let well_known = &config.client.well_known;
    if well_known.contains_key("m.homeserver") {
        return Err(
            "`client.well_known`: `m.homeserver` is made from `client.public_url`".to_owned()
        );
    }
    let Some(url) = &config.client.public_url else {
        return match well_known.is_empty() {
            true => Ok(()),
            false => Err("`client.well_known` needs `client.public_url`".to_owned()),
        };
    };
    let parsed: http::Uri =
        url.parse().map_err(|error| format!("`client.public_url` = {url:?}: {error}"))?;
    if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.query().is_some() {
        return Err(format!("`client.public_url` = {url:?} is not a plain http(s) address"));
    }
    Ok(())
}

fn federation(federation: &Federation) -> Result<(), String> {
    let nobody_answers = federation.listen.is_empty() && !federation.also_on_client_listener;
    if federation.enabled && nobody_answers {
        return Err("`federation.listen` names no address".to_owned());
    }
    if let Some(name) = &federation.public_name {
        ServerName::parse(name.as_str())
            .map_err(|error| format!("`federation.public_name` = {name:?}: {error}"))?;
    }
    match &federation.tls {
        Tls { certificate: Some(_), key: None, .. } => {
            Err("`federation.tls.certificate` needs `federation.tls.key`".to_owned())
        }
        Tls { certificate: None, key: Some(_), .. } => {
            Err("`federation.tls.key` needs `federation.tls.certificate`".to_owned())
        }
        _ => Ok(()),
    }
}

fn database(config: &Config) -> Result<(), String> {
    if !(2..=1000).contains(&config.database.connections) {
        return Err("`database.connections` must be between 2 and 1000".to_owned());
    }
    let known = ["sqlite:", "postgres://", "postgresql://"];
    match config.database.url.get() {
        Some(url) if !known.iter().any(|scheme| url.starts_with(scheme)) => {
            Err("`database.url` starts with none of `sqlite:`, `postgres://`".to_owned())
        }
        _ => Ok(()),
    }
}

fn rooms(config: &Config) -> Result<(), String> {
    let version = &config.rooms.default_version;
    if !versions::SUPPORTED.contains(version) {
        return Err(format!("`rooms.default_version` = \"{version}\" is not supported"));
    }
    Ok(())
}

fn server_notices(config: &Config) -> Result<(), String> {
    let Some(name) = &config.server_notices.localpart else { return Ok(()) };
    let is_legal = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._=-/+".contains(&c);
    match name.bytes().all(is_legal) && name.len() <= 100 {
        true => Ok(()),
        false => Err(format!("`server_notices.localpart` = {name:?} is not a user name")),
    }
}

fn retention(config: &Config) -> Result<(), String> {
    let retention = &config.retention;
    let bounded = retention.longest_days > 0;
    if bounded && retention.shortest_days > retention.longest_days {
        return Err("`retention.shortest_days` is more than `retention.longest_days`".to_owned());
    }
    Ok(())
}

fn password_hashing(config: &Config) -> Result<(), String> {
    let hashing = &config.accounts.password_hashing;
    if !PASSWORD_MEMORY_KIB.contains(&hashing.memory_kib) {
        let (low, high) = PASSWORD_MEMORY_KIB.into_inner();
        return Err(format!(
            "`accounts.password_hashing.memory_kib` must be between {low} and {high}"
        ));
    }
    if !(1..=1000).contains(&hashing.iterations) {
        return Err("`accounts.password_hashing.iterations` must be between 1 and 1000".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        validate(&toml::from_str(text).unwrap()).unwrap_err()
    }

    #[test]
    fn the_defaults_are_right() {
        validate(&Config::default()).unwrap();
    }

    #[test]
    fn refusals_name_the_setting() {
        for (text, setting) in [
            ("client.listen = []", "client.listen"),
            ("client.public_url = 'matrix.example.org'", "client.public_url"),
            ("client.public_url = 'https://matrix.example.org/?a'", "client.public_url"),
            ("client.well_known = { a = 1 }", "client.well_known"),
            ("client.well_known = { 'm.homeserver' = {} }", "client.public_url"),
            ("client.policy_server_keys = { a = 'b' }", "client.policy_server_keys"),
            ("turn.uris = ['turn.example.org']", "turn.uris"),
            ("rtc.livekit_urls = ['livekit.example.org']", "rtc.livekit_urls"),
            ("rtc.livekit_urls = ['http://livekit.example.org']", "rtc.livekit_urls"),
            ("turn.uris = ['turn:example.org']", "turn.shared_secret"),
            (
                "turn = { uris = ['turn:a.org'], shared_secret = 'a', username = 'b' }",
                "turn.username",
            ),
            (
                "turn = { uris = ['turn:a.org'], shared_secret = 'a', ttl_seconds = 0 }",
                "turn.ttl_seconds",
            ),
            ("federation.public_name = 'https://matrix.example.org'", "federation.public_name"),
            ("federation.listen = []", "federation.listen"),
            ("federation.tls.key = 'x'", "federation.tls.certificate"),
            ("federation.tls.certificate = 'x'", "federation.tls.key"),
            ("database.url = 'mysql://x'", "database.url"),
            ("database.connections = 1", "database.connections"),
            ("accounts.password_hashing.memory_kib = 7", "memory_kib"),
            ("accounts.password_hashing.iterations = 0", "iterations"),
            ("registration.recaptcha.site_key = 'x'", "registration.recaptcha"),
            ("registration.recaptcha.verify_url = 'ftp://x'", "recaptcha.verify_url"),
            ("registration.require_email = true", "registration.require_email"),
            ("email.smtp_host = 'localhost'", "client.public_url"),
            (
                "client.public_url = 'http://x'\nemail = { smtp_host = 'x', from = 'nobody' }",
                "email.from",
            ),
            (
                "client.public_url = 'http://x'\n\
                 email = { smtp_host = 'x', from = 'a@b', smtp_user = 'x' }",
                "email.smtp_password",
            ),
            ("limits.connections = 0", "limits.connections"),
            ("[rate_limits]\nsending = { burst = 1, per_second = 0 }", "rate_limits.sending"),
            ("limits.header_seconds = 0", "limits.header_seconds"),
            ("limits.body_seconds = 0", "limits.body_seconds"),
            ("rooms.default_version = '13'", "rooms.default_version"),
            ("server_notices.localpart = 'A b'", "server_notices.localpart"),
            ("retention = { shortest_days = 2, longest_days = 1 }", "retention.shortest_days"),
            ("log.level = 'starling=loud'", "log.level"),
        ] {
            let error = refused(text);
            assert!(error.contains(setting), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn federation_may_live_on_the_client_listener_alone() {
        let config = "federation = { listen = [], also_on_client_listener = true }";
        validate(&toml::from_str(config).unwrap()).unwrap();
    }

    #[test]
    fn a_wrong_database_url_does_not_show_its_password() {
        assert!(!refused("database.url = 'mysql://u:hunter2@h/d'").contains("hunter2"));
    }
}
