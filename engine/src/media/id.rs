//! The names of files.

use std::fmt;

use ruma::{OwnedServerName, ServerName};

/// How long the id of a file may be, in bytes.
const LONGEST: usize = 255;

/// `mxc://origin/media-id`, both parts of the form that they must have.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#matrix-content-mxc-uris>
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaId {
    origin: OwnedServerName,
    id: String,
}

impl MediaId {
    /// The file `id` of the server `origin`; `None` when one of the two can be no such name.
    #[must_use]
    pub fn new(origin: &str, id: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let valid = !id.is_empty() && id.len() <= LONGEST && id.bytes().all(allowed);
        let origin = ServerName::parse(origin).ok()?;
        valid.then(|| Self { origin, id: id.to_owned() })
    }

    /// The file of an `mxc://` URI.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        let (origin, id) = uri.strip_prefix("mxc://")?.split_once('/')?;
        Self::new(origin, id)
    }

    /// The server that has the file from its user.
    #[must_use]
    pub fn origin(&self) -> &ServerName {
        &self.origin
    }

    /// Its id there.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for MediaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mxc://{}/{}", self.origin, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_right_form_are_names() {
        for (origin, id) in [("a.example", "aZ09_-"), ("a.example:8448", "x"), ("[::1]:1", "x")] {
            let parsed = MediaId::new(origin, id).unwrap();
            assert_eq!(MediaId::from_uri(&parsed.to_string()), Some(parsed));
        }
        let long = "x".repeat(256);
        for (origin, id) in [
            ("a.example", ""),
            ("a.example", ".."),
            ("a.example", "a/b"),
            ("a.example", "a%2e"),
            ("a.example", "a\0"),
            ("a.example", "ä"),
            ("a.example", &long),
            ("../..", "x"),
            ("a/b", "x"),
            ("a b", "x"),
            ("", "x"),
        ] {
            assert_eq!(MediaId::new(origin, id), None, "{origin} {id}");
        }
        assert_eq!(MediaId::from_uri("https://a.example/x"), None);
    }
}
