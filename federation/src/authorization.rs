//! The `Authorization: X-Matrix` header: reading and writing its text. Pure.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use std::fmt;

use ruma::{
    OwnedServerName,
    serde::{Base64, base64::Standard},
};

/// The name of the scheme.
const SCHEME: &str = "X-Matrix";

/// One signature of a request by the server that sent it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct XMatrix {
    /// Who signed.
    pub origin: OwnedServerName,
    /// For whom; old servers do not say.
    pub destination: Option<OwnedServerName>,
    /// `ed25519:…`
    pub key_id: String,
    /// The signature's bytes.
    pub signature: Vec<u8>,
}

/// Why a header is not read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum XMatrixError {
    /// It is of another scheme.
    #[error("not of the scheme X-Matrix")]
    OtherScheme,
    /// It is not a list of `name=value`.
    #[error("malformed parameters")]
    Malformed,
    /// A parameter is there twice.
    #[error("the parameter {0} is there twice")]
    Duplicate(&'static str),
    /// A parameter is missing.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter has a value that it cannot have.
    #[error("the parameter {0} is invalid")]
    Invalid(&'static str),
}

impl XMatrix {
    /// Reads a header's value.
    ///
    /// # Errors
    ///
    /// See [`XMatrixError`]. Unknown parameters are none.
    pub fn parse(header: &str) -> Result<Self, XMatrixError> {
        let (scheme, rest) = header.trim_start().split_once([' ', '\t']).unwrap_or((header, ""));
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(XMatrixError::OtherScheme);
        }
        let mut found = Found::default();
        for parameter in Parameters(rest) {
            let (name, value) = parameter?;
            found.take(name, value)?;
        }
        found.finish()
    }
}

/// As old servers like it: one space after the scheme, lower-case names, quoted values, no
/// whitespace, and no backslash, which none of the values can contain.
impl fmt::Display for XMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME} origin=\"{}\",", self.origin)?;
        if let Some(destination) = &self.destination {
            write!(f, "destination=\"{destination}\",")?;
        }
        let signature = Base64::<Standard, _>::new(self.signature.as_slice());
        write!(f, "key=\"{}\",sig=\"{signature}\"", self.key_id)
    }
}

/// The parameters that were read so far.
#[derive(Default)]
struct Found {
    origin: Option<String>,
    destination: Option<String>,
    key: Option<String>,
    sig: Option<String>,
}

impl Found {
    fn take(&mut self, name: &str, value: String) -> Result<(), XMatrixError> {
        let (place, name) = match name.to_ascii_lowercase().as_str() {
            "origin" => (&mut self.origin, "origin"),
            "destination" => (&mut self.destination, "destination"),
            "key" => (&mut self.key, "key"),
            "sig" => (&mut self.sig, "sig"),
            _ => return Ok(()),
        };
        match place.replace(value) {
            Some(_) => Err(XMatrixError::Duplicate(name)),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<XMatrix, XMatrixError> {
        use XMatrixError::{Invalid, Missing};
        let origin = self.origin.ok_or(Missing("origin"))?;
        let key_id = self.key.ok_or(Missing("key"))?;
        let signature = self.sig.ok_or(Missing("sig"))?;
        Ok(XMatrix {
            origin: origin.try_into().map_err(|_| Invalid("origin"))?,
            destination: self
                .destination
                .map(|name| name.try_into().map_err(|_| Invalid("destination")))
                .transpose()?,
            key_id: Some(key_id).filter(|id| is_key_id(id)).ok_or(Invalid("key"))?,
            signature: Base64::<Standard>::parse(signature)
                .map_err(|_| Invalid("sig"))?
                .into_inner(),
        })
    }
}

/// An algorithm and a version; "the version must have characters matching the regular expression
/// `[a-zA-Z0-9_]`", to which existing keys add a few.
fn is_key_id(id: &str) -> bool {
    let part = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    id.len() <= 255
        && id.split_once(':').is_some_and(|(algorithm, version)| part(algorithm) && part(version))
}

/// Takes a list of `name=value` apart; the text that is left is the state.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(&'a str, String), XMatrixError>;

    fn next(&mut self) -> Option<Self::Item> {
        // Lists may have empty elements (RFC 9110, section 5.6.1.2).
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
        if self.0.is_empty() {
            return None;
        }
        let parameter = self.parameter();
        if parameter.is_none() {
            self.0 = "";
        }
        Some(parameter.ok_or(XMatrixError::Malformed))
    }
}

impl<'a> Parameters<'a> {
    fn parameter(&mut self) -> Option<(&'a str, String)> {
        let (name, rest) = self.0.split_once('=')?;
        let name = name.trim_end_matches([' ', '\t']);
        if name.is_empty() || name.contains([' ', '\t', ',', '"']) {
            return None;
        }
        let rest = rest.trim_start_matches([' ', '\t']);
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => unquoted(rest)?,
        };
        let rest = rest.trim_start_matches([' ', '\t']);
        if !(rest.is_empty() || rest.starts_with(',')) {
            return None;
        }
        self.0 = rest;
        Some((name, value))
    }
}

/// "A backslash-character pair is replaced by the character that follows the backslash."
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

/// More than a token may hold: "the recipient should allow colons to be included in values without
/// requiring the value to be enclosed in quotes", and base64 has `/`, `+` and `=`.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end)?;
    (!value.is_empty() && !value.contains(['"', '\\'])).then(|| (value.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expected() -> XMatrix {
        XMatrix {
            origin: "a.example:8448".try_into().unwrap(),
            destination: Some("b.example".try_into().unwrap()),
            key_id: "ed25519:k_1".to_owned(),
            signature: vec![0xfb, 0xff, 0xfe, 1],
        }
    }

    #[test]
    fn is_written_as_old_servers_like_it() {
        let text = r#"X-Matrix origin="a.example:8448",destination="b.example",key="ed25519:k_1",sig="+//+AQ""#;
        assert_eq!(expected().to_string(), text);
    }

    #[test]
    fn every_spelling_is_read() {
        let spellings = [
            r#"X-Matrix origin="a.example:8448",destination="b.example",key="ed25519:k_1",sig="+//+AQ""#,
            r#"x-matrix origin="a.example:8448",destination="b.example",key="ed25519:k_1",sig="+//+AQ==""#,
            r#"X-MATRIX    ORIGIN="a.example:8448",Destination="b.example",KEY="ed25519:k_1",sIg="+//+AQ""#,
            "X-Matrix origin=a.example:8448,destination=b.example,key=ed25519:k_1,sig=+//+AQ",
            "X-Matrix origin=a.example:8448,destination=b.example,key=ed25519:k_1,sig=+//+AQ==",
            "X-Matrix sig=+//+AQ \t,\t key = ed25519:k_1 , destination= b.example,origin =a.example:8448 ",
            r#"X-Matrix origin="a.ex\ample:8448",destination="\b\.example",key="ed25519:k_1",sig="+//+AQ""#,
            r#"X-Matrix ,,origin=a.example:8448,,destination=b.example, ,key=ed25519:k_1,sig=+//+AQ,"#,
            r#"X-Matrix a="x,\"y=z",origin=a.example:8448,destination=b.example,key=ed25519:k_1,sig=+//+AQ,b=c"#,
            "\u{20}X-Matrix origin=a.example:8448,destination=b.example,key=ed25519:k_1,sig=+//+AQ",
        ];
        for spelling in spellings {
            assert_eq!(XMatrix::parse(spelling), Ok(expected()), "{spelling}");
        }
        let old = r#"X-Matrix origin="a.example:8448",key="ed25519:k_1",sig="+//+AQ""#;
        assert_eq!(XMatrix::parse(old), Ok(XMatrix { destination: None, ..expected() }));
    }

    #[test]
    fn what_is_wrong_is_told() {
        use XMatrixError::{Duplicate, Invalid, Malformed, Missing, OtherScheme};
        let table = [
            ("", OtherScheme),
            ("Bearer abc", OtherScheme),
            ("X-Matrixorigin=a", OtherScheme),
            ("X-Matrix", Missing("origin")),
            ("X-Matrix ,, ,", Missing("origin")),
            ("X-Matrix origin=a,sig=AAAA", Missing("key")),
            ("X-Matrix origin=a,key=ed25519:1", Missing("sig")),
            ("X-Matrix key=ed25519:1,sig=AAAA", Missing("origin")),
            ("X-Matrix origin=a,ORIGIN=a,key=ed25519:1,sig=AAAA", Duplicate("origin")),
            ("X-Matrix origin=a,key=ed25519:1,key=ed25519:1,sig=AAAA", Duplicate("key")),
            ("X-Matrix origin=a,key=ed25519:1,sig=AAAA,sig=AAAA", Duplicate("sig")),
            ("X-Matrix origin=a,destination=b,destination=b", Duplicate("destination")),
            ("X-Matrix origin=a/b,key=ed25519:1,sig=AAAA", Invalid("origin")),
            ("X-Matrix origin=\"a b\",key=ed25519:1,sig=AAAA", Invalid("origin")),
            ("X-Matrix origin=a,destination=\"\",key=ed25519:1,sig=AAAA", Invalid("destination")),
            ("X-Matrix origin=a,key=ed25519,sig=AAAA", Invalid("key")),
            ("X-Matrix origin=a,key=ed25519:,sig=AAAA", Invalid("key")),
            ("X-Matrix origin=a,key=\"ed25519:a b\",sig=AAAA", Invalid("key")),
            ("X-Matrix origin=a,key=ed25519:1,sig=A!AA", Invalid("sig")),
            ("X-Matrix origin", Malformed),
            ("X-Matrix origin=", Malformed),
            ("X-Matrix =a", Malformed),
            ("X-Matrix origin=\"a", Malformed),
            ("X-Matrix origin=\"a\\", Malformed),
            ("X-Matrix origin=\"a\"b,key=ed25519:1,sig=AAAA", Malformed),
            ("X-Matrix origin=a key=ed25519:1,sig=AAAA", Malformed),
            ("X-Matrix origin=a\"b,key=ed25519:1,sig=AAAA", Malformed),
        ];
        for (header, error) in table {
            assert_eq!(XMatrix::parse(header), Err(error), "{header}");
        }
    }

    fn spaces() -> impl Strategy<Value = String> {
        "[ \t]{0,3}"
    }

    fn quote(value: &str, escape: bool) -> String {
        let escaped = |character: char| {
            if escape { format!("\\{character}") } else { character.to_string() }
        };
        format!("\"{}\"", value.chars().map(escaped).collect::<String>())
    }

    proptest! {
        #[test]
        fn nothing_panics(header in "(X-Matrix )?.{0,80}") {
            let _ = XMatrix::parse(&header);
        }

        #[test]
        fn what_is_written_is_read(
            origin in "[a-z0-9.-]{1,20}(:[0-9]{1,4})?",
            destination in proptest::option::of("\\[::[0-9a-f]{1,4}\\](:[0-9]{1,4})?"),
            version in "[a-zA-Z0-9_]{1,10}",
            signature in proptest::collection::vec(any::<u8>(), 0..70),
        ) {
            let written = XMatrix {
                origin: origin.try_into().unwrap(),
                destination: destination.map(|name| name.try_into().unwrap()),
                key_id: format!("ed25519:{version}"),
                signature,
            };
            prop_assert_eq!(XMatrix::parse(&written.to_string()), Ok(written));
        }

        #[test]
        fn order_space_and_quotes_do_not_matter(
            order in Just(vec![0_usize, 1, 2, 3, 4]).prop_shuffle(),
            spaces in proptest::collection::vec(spaces(), 20),
            forms in proptest::collection::vec(0..3_u8, 5),
        ) {
            let pairs = [
                ("origin", "a.example:8448"),
                ("destination", "b.example"),
                ("key", "ed25519:k_1"),
                ("sig", "+//+AQ"),
                ("unknown", "x"),
            ];
            let mut spaces = spaces.into_iter().cycle();
            let mut space = move || spaces.next().unwrap_or_default();
            let parameters: Vec<_> = order.into_iter().map(|index| {
                let (name, value) = pairs[index];
                let value = match forms[index] {
                    0 => value.to_owned(),
                    form => quote(value, form == 1),
                };
                format!("{}{name}{}={}{value}{}", space(), space(), space(), space())
            }).collect();
            let header = format!("X-Matrix {}", parameters.join(","));
            prop_assert_eq!(XMatrix::parse(&header), Ok(expected()), "{}", header);
        }
    }
}
