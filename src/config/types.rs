//! The types of settings that are not plain strings, numbers or lists.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use ruma::{OwnedServerName, server_name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address to listen on, written `address:port` or `unix:/path`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum ListenAddress {
    /// An IP address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// The path of a socket in the file system.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(path) => Err(format!("the socket's path `{path}` does not start with `/`")),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                format!("`{text}` is neither an IP address with a port nor `unix:/path`")
            }),
        }
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

/// An amount of memory, written with its unit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Memory {
    mib: u32,
}

impl Memory {
    /// So many times 2^20 bytes.
    pub(crate) const fn mib(mib: u32) -> Self {
        Self { mib }
    }

    /// The amount in bytes.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.mib) << 20
    }
}

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a number of MiB or GiB, such as `512 MiB`");
        let (number, factor) = match text.strip_suffix("MiB") {
            Some(number) => (number, 1),
            None => (text.strip_suffix("GiB").ok_or_else(wrong)?, 1024),
        };
        let number: u32 = number.trim().parse().map_err(|_| wrong())?;
        number.checked_mul(factor).map(Self::mib).ok_or_else(wrong)
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        format!("{} MiB", memory.mib)
    }
}

/// A text that never appears in logs. An empty one is no secret at all.
#[derive(Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret, unless it is empty.
    pub(crate) fn get(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|secret| !secret.is_empty())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(none)" } else { "Secret(…)" })
    }
}

/// Who may make an account.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum RegistrationMode {
    /// Nobody: accounts are made by the administrator.
    Closed,
    /// Whoever holds a registration token.
    Token,
    /// Everybody.
    Open,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum LogFormat {
    /// One line of text for people.
    Readable,
    /// One JSON object a line.
    Json,
}

/// The server name for trying Starling out on one machine.
pub(super) fn default_server_name() -> OwnedServerName {
    server_name!("localhost:8448").to_owned()
}

/// Optional settings are written as texts, and an empty text means that there is none. So every
/// setting has a value that can be shown, and an environment variable can take one away.
pub(super) mod empty_is_none {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serializer};

    /// What can be written as one text.
    pub(in super::super) trait Text: Sized {
        fn as_text(&self) -> &str;
        fn from_text(text: String) -> Self;
    }

    impl Text for String {
        fn as_text(&self) -> &str {
            self
        }

        fn from_text(text: String) -> Self {
            text
        }
    }

    impl Text for PathBuf {
        fn as_text(&self) -> &str {
            Path::to_str(self).unwrap_or_default()
        }

        fn from_text(text: String) -> Self {
            text.into()
        }
    }

    pub(in super::super) fn serialize<T: Text, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.as_ref().map_or("", Text::as_text))
    }

    pub(in super::super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(if text.is_empty() { None } else { Some(T::from_text(text)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_survive_writing_and_reading() {
        for text in ["127.0.0.1:8008", "[::1]:0", "unix:/run/starling/client.sock"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_listen_addresses_say_what_is_expected() {
        for text in ["", "8008", "localhost:8008", "127.0.0.1", "127.0.0.1:65536", "unix:socket"] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(error.contains('`'), "{text}: {error}");
        }
    }

    #[test]
    fn memory_has_a_unit() {
        let memory = |text: &str| Memory::try_from(text.to_owned());
        assert_eq!(memory("256 MiB"), Ok(Memory::mib(256)));
        assert_eq!(memory("2GiB").map(Memory::bytes), Ok(2 << 30));
        for text in ["256", "-1 MiB", "1.5 GiB", "MiB", "4194304 GiB", "1 TiB"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let secret = Secret("hunter2".to_owned());
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.get(), Some("hunter2"));
        assert_eq!(Secret::default().get(), None);
    }
}
