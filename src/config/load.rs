//! Puts the configuration together: defaults, then the file, then the environment.

use std::{collections::HashMap, fs, path::Path};

use figment::{
    Error as FigmentError, Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::Serialized,
    value::{Dict, Map, Value},
};

use super::{Config, document, validate};

/// Environment variables of the configuration start with this.
pub(super) const ENVIRONMENT_PREFIX: &str = "STARLING__";

/// Why there is no configuration, in one line that names the setting and where it was made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(String);

/// Reads the file, if one is named, and what `environment` says, and checks the result.
///
/// # Errors
///
/// The first thing found that is wrong: an unreadable file, text that is not TOML, a setting that
/// does not exist, a value of the wrong type or one that makes no sense.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    // The defaults are a layer too, so that of a table of settings some can be given.
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(path) = file {
        figment = figment.merge(read_file(path)?);
    }
    for (name, text) in environment {
        if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
            figment = figment.merge(read_variable(&name, key, &text)?);
        }
    }
    let config = figment.extract().map_err(|error| explain(&error))?;
    validate::validate(&config).map_err(ConfigError)?;
    Ok(config)
}

/// Settings that come from one place, with the place's name for error messages.
struct Layer {
    source: String,
    settings: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, FigmentError> {
        Ok(Map::from([(Profile::Default, self.settings.clone())]))
    }
}

fn read_file(path: &Path) -> Result<Layer, ConfigError> {
    let source = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("cannot read {source}: {error}")))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| line_number(&text, span.start));
        ConfigError(format!("{source}, line {line}: {}", one_line(error.message())))
    })?;
    Ok(Layer { settings: dict(&table)?, source })
}

/// One variable becomes a tree with one leaf. The type of the setting decides how the text is
/// read, so that a secret of digits only stays a text and lists may do without brackets.
fn read_variable(name: &str, key: &str, text: &str) -> Result<Layer, ConfigError> {
    let keys: Vec<String> = key.split("__").map(str::to_lowercase).collect();
    let value = match document::kind_of(&keys) {
        document::Kind::Text => toml::Value::String(text.to_owned()),
        document::Kind::List if !text.trim_start().starts_with('[') => comma_separated(text),
        document::Kind::Other => toml_value(text).unwrap_or_else(|_| text.into()),
        _ => toml_value(text).map_err(|message| ConfigError(format!("{name}: {message}")))?,
    };
    let tree = keys.iter().rev().fold(value, |inner, key| {
        toml::Value::Table(toml::Table::from_iter([(key.clone(), inner)]))
    });
    let toml::Value::Table(table) = tree else {
        return Err(ConfigError(format!("{name} names no setting")));
    };
    Ok(Layer { settings: dict(&table)?, source: format!("the environment variable {name}") })
}

fn comma_separated(text: &str) -> toml::Value {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    toml::Value::Array(items.map(|item| toml::Value::String(item.to_owned())).collect())
}

fn toml_value(text: &str) -> Result<toml::Value, String> {
    let mut table: toml::Table =
        toml::from_str(&format!("value = {text}")).map_err(|error| one_line(error.message()))?;
    table.remove("value").ok_or_else(|| "no value".to_owned())
}

fn dict(table: &toml::Table) -> Result<Dict, ConfigError> {
    match Value::serialize(table).map_err(|error| explain(&error))? {
        Value::Dict(_, dict) => Ok(dict),
        other => Err(ConfigError(format!("{:?} is not a table", other.to_actual()))),
    }
}

fn explain(error: &FigmentError) -> ConfigError {
    let source = error.metadata.as_ref().map_or("the configuration", |source| &*source.name);
    let path = error.path.join(".");
    ConfigError(match &error.kind {
        Kind::UnknownField(field, _) => match error.path.split_last() {
            Some((last, _)) if last == field => format!("{source}: there is no setting `{path}`"),
            Some(_) => format!("{source}: there is no setting `{path}.{field}`"),
            None => format!("{source}: there is no setting `{field}`"),
        },
        Kind::Message(message) => format!("{source}: `{path}`: {}", one_line(message)),
        kind => format!("{source}: `{path}`: {}", one_line(&kind.to_string())),
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line_number(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The environment without what is not valid UTF-8, which no setting can be.
pub(crate) fn process_environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::RegistrationMode;

    fn from_file(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(Some(file.path()), []).map_err(|error| error.to_string())
    }

    fn from_environment(variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        load(None, variables).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_gives_the_defaults() {
        let config = from_environment(&[("HOME", "/root"), ("STARLING_OTHER", "x")]).unwrap();
        assert_eq!(config.server_name, "localhost:8448");
        assert_eq!(config.registration.mode, RegistrationMode::Token);
    }

    #[test]
    fn of_a_table_of_settings_some_can_be_given() {
        let limits = from_file("[rate_limits.sending]\nburst = 3").unwrap().rate_limits;
        let usual = Config::default().rate_limits;
        assert_eq!(limits.sending.burst, 3);
        assert_eq!(limits.sending.per_second, usual.sending.per_second);
    }

    #[test]
    fn the_environment_wins_over_the_file_and_reads_by_type() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"server_name = 'a.test'\n[log]\nformat = 'json'\nlevel = 'warn'").unwrap();
        let variables = [
            ("STARLING__SERVER_NAME", "b.test"),
            ("STARLING__REGISTRATION__SHARED_SECRET", "0123"),
            ("STARLING__CLIENT__LISTEN", "127.0.0.1:1, unix:/x"),
            ("STARLING__CLIENT__TRUSTED_PROXIES", "['10.0.0.0/8']"),
            ("STARLING__FEDERATION__ENABLED", "false"),
            ("STARLING__FEDERATION__RESOLVE_OVERRIDES", "{ 'c.test:8448' = '127.0.0.1:9' }"),
            ("STARLING__ACCOUNTS__PASSWORD_HASHING__MEMORY_KIB", "64"),
            ("STARLING__LOG__LEVEL", "debug"),
            (
                "STARLING__REGISTRATION__TERMS",
                "[{ id = 'a', version = '1', name = 'A', url = 'https://a.test' }]",
            ),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = load(Some(file.path()), variables).unwrap();
        assert_eq!(config.server_name, "b.test");
        assert_eq!(config.registration.shared_secret.get(), Some("0123"));
        assert_eq!(config.client.listen.len(), 2);
        assert_eq!(config.client.trusted_proxies.len(), 1);
        assert!(!config.federation.enabled);
        assert_eq!(config.federation.resolve_overrides.len(), 1);
        assert_eq!(config.accounts.password_hashing.memory_kib, 64);
        assert_eq!(config.log.level, "debug");
        assert_eq!(config.registration.terms.len(), 1);
        assert_eq!(config.log.format, crate::config::LogFormat::Json);
    }

    #[test]
    fn an_empty_text_takes_an_optional_setting_away() {
        assert_eq!(from_file("[client]\npublic_url = ''").unwrap().client.public_url, None);
    }

    #[test]
    fn wrong_files_are_explained_in_one_line_that_names_the_setting() {
        for (text, expected) in [
            ("[client]\nlistne = []", "no setting `client.listne`"),
            ("servername = 'x'", "no setting `servername`"),
            ("[federation.tls]\nciphers = 'x'", "no setting `federation.tls.ciphers`"),
            ("[client]\nlisten = 5", "`client.listen`"),
            ("[client]\nlisten = ['127.0.0.1:8008', 'nowhere']", "`nowhere`"),
            ("[registration]\nmode = 'opne'", "`registration.mode`"),
            ("server_name = 'not a name'", "`server_name`"),
            ("server_name = 'a.test'\nx = [", "line 2"),
            ("[limits]\nconnections = -1", "`limits.connections`"),
        ] {
            let error = from_file(text).unwrap_err();
            assert!(error.contains(expected), "{text:?} gives {error:?}, without {expected:?}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn wrong_variables_are_named() {
        for (name, value) in [
            ("STARLING__CLIENT__LISTNE", "127.0.0.1:1"),
            ("STARLING__FEDERATION__ENABLED", "maybe"),
            ("STARLING__LIMITS__CONNECTIONS", "'many'"),
            ("STARLING__", "x"),
        ] {
            let error = from_environment(&[(name, value)]).unwrap_err();
            assert!(error.contains(name), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let error = load(Some(Path::new("/nonexistent.toml")), []).unwrap_err().to_string();
        assert!(error.contains("/nonexistent.toml"), "{error}");
    }
}
