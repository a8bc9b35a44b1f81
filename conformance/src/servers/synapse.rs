//! Synapse as a server under test: its configuration and its command line.
//!
//! Synapse cannot be told where a name is, so its own name and those of its peers are
//! `localhost:PORT`. It runs from `conformance/.venv` under an unprivileged account.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::{Map, Value, json};

use super::{SHARED_SECRET, Spec, give_to_unprivileged, unprivileged};
use crate::random;

/// Answers 200 as soon as the server can serve.
pub const READY_PATH: &str = "/health";

/// The limits that Synapse sets on how often something may happen; the suites are faster.
const RATE_LIMITS: [&str; 15] = [
    "rc_message",
    "rc_registration",
    "rc_registration_token_validity",
    "rc_admin_redaction",
    "rc_joins_per_room",
    "rc_key_requests",
    "rc_third_party_invite",
    "rc_media_create",
    "rc_remote_media_downloads",
    "rc_delayed_event_mgmt",
    "rc_room_creation",
    "rc_reports",
    "rc_user_directory",
    "rc_profile",
    "rc_3pid_validation",
];
const NESTED_RATE_LIMITS: [(&str, &[&str]); 4] = [
    ("rc_login", &["address", "account", "failed_attempts"]),
    ("rc_joins", &["local", "remote"]),
    ("rc_invites", &["per_room", "per_user", "per_issuer"]),
    ("rc_presence", &["per_user"]),
];

/// Writes the configuration files of a server into its directory and hands that directory over.
pub fn prepare(spec: &Spec, directory: &Path) -> Result<()> {
    let mut configuration = configuration(spec, directory);
    configuration.append(&mut rate_limits());
    // YAML contains JSON, so a JSON file is a configuration file.
    write(directory, "homeserver.yaml", &serde_json::to_string_pretty(&configuration)?)?;
    write(directory, "log.yaml", &serde_json::to_string_pretty(&logging())?)?;
    let seed = STANDARD_NO_PAD.encode(random::bytes::<32>()?);
    write(directory, "signing.key", &format!("ed25519 a_{} {seed}\n", random::suffix()?))?;
    std::fs::create_dir(directory.join("media"))?;
    give_to_unprivileged(directory)
}

/// The command that serves from a prepared directory.
pub fn command(directory: &Path) -> Result<Command> {
    let mut command = unprivileged(&python()?)?;
    command.args(["-m", "synapse.app.homeserver", "--config-path"]);
    command.arg(directory.join("homeserver.yaml")).current_dir(directory);
    Ok(command)
}

/// The interpreter of the Python peers.
///
/// Links are followed up to the environment but not beyond it: through `bin/python` itself the
/// system's interpreter would be run without the packages.
pub fn python() -> Result<PathBuf> {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv");
    let environment = environment.canonicalize().context(
        "the Python peers are not installed: run conformance/interop/setup.sh and try again",
    )?;
    Ok(environment.join("bin/python"))
}

fn configuration(spec: &Spec, directory: &Path) -> Map<String, Value> {
    let settings = json!({
        "server_name": spec.name,
        "public_baseurl": format!("http://127.0.0.1:{}/", spec.client_port),
        "pid_file": directory.join("server.pid"),
        "listeners": [
            listener(spec.client_port, false, "client"),
            listener(spec.federation_port, true, "federation"),
        ],
        "tls_certificate_path": directory.join("tls.crt"),
        "tls_private_key_path": directory.join("tls.key"),
        "federation_custom_ca_list": [directory.join("ca.crt")],
        "ip_range_blacklist": [],
        "trusted_key_servers": [],
        "suppress_key_server_warning": true,
        "database": {
            "name": "sqlite3",
            "args": { "database": directory.join("homeserver.db") },
        },
        "media_store_path": directory.join("media"),
        "signing_key_path": directory.join("signing.key"),
        "log_config": directory.join("log.yaml"),
        "report_stats": false,
        "registration_shared_secret": SHARED_SECRET,
        "macaroon_secret_key": "macaroon-secret-of-the-tests",
        "form_secret": "form-secret-of-the-tests",
        "enable_registration": true,
        "enable_registration_without_verification": true,
        "bcrypt_rounds": 4,
        "allow_public_rooms_over_federation": true,
        "allow_device_name_lookup_over_federation": true,
        // A peer that was away is tried again within seconds, not within minutes.
        "federation": {
            "client_timeout": "10s",
            "max_short_retries": 1,
            "max_long_retries": 1,
            "destination_min_retry_interval": "1s",
            "destination_retry_multiplier": 1,
            "destination_max_retry_interval": "1s",
        },
    });
    match settings {
        Value::Object(settings) => settings,
        _ => Map::new(),
    }
}

fn listener(port: u16, tls: bool, resource: &str) -> Value {
    json!({
        "port": port,
        "type": "http",
        "tls": tls,
        "bind_addresses": ["127.0.0.1"],
        "resources": [{ "names": [resource] }],
    })
}

fn rate_limits() -> Map<String, Value> {
    let open = json!({ "per_second": 1_000_000, "burst_count": 1_000_000 });
    let mut limits = Map::new();
    for name in RATE_LIMITS {
        limits.insert(name.to_owned(), open.clone());
    }
    for (name, parts) in NESTED_RATE_LIMITS {
        let parts = parts.iter().map(|&part| (part.to_owned(), open.clone())).collect();
        limits.insert(name.to_owned(), Value::Object(parts));
    }
    let federation =
        json!({ "sleep_limit": 1_000_000, "reject_limit": 1_000_000, "concurrent": 100 });
    limits.insert("rc_federation".to_owned(), federation);
    limits
}

fn logging() -> Value {
    json!({
        "version": 1,
        "formatters": { "line": {
            "format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s",
        } },
        "handlers": { "stderr": { "class": "logging.StreamHandler", "formatter": "line" } },
        "root": { "level": "INFO", "handlers": ["stderr"] },
        "disable_existing_loggers": false,
    })
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    std::fs::write(directory.join(name), text).with_context(|| format!("cannot write {name}"))
}
