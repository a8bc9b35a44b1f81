//! Which servers may take part in a room, by its `m.room.server_acl` event. Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms>

use ruma::ServerName;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// The content of an `m.room.server_acl` event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAcl {
    allow: Vec<String>,
    deny: Vec<String>,
    allow_ip_literals: bool,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    allow: Value,
    #[serde(default)]
    deny: Value,
    #[serde(default)]
    allow_ip_literals: Value,
}

impl ServerAcl {
    /// Reads the content of the event. Anything that is not of the specified type counts as absent:
    /// no `allow` lets nobody in, no `allow_ip_literals` lets addresses in.
    #[must_use]
    pub fn from_content(content: &RawValue) -> Self {
        let content = serde_json::from_str::<Content>(content.get()).ok();
        let Some(Content { allow, deny, allow_ip_literals }) = content else {
            return Self { allow: Vec::new(), deny: Vec::new(), allow_ip_literals: true };
        };
        Self {
            allow: globs(&allow),
            deny: globs(&deny),
            allow_ip_literals: allow_ip_literals.as_bool().unwrap_or(true),
        }
    }

    /// Whether a server may take part. Its port does not matter.
    #[must_use]
    pub fn allows(&self, server: &ServerName) -> bool {
        if !self.allow_ip_literals && server.is_ip_literal() {
            return false;
        }
        let host = server.host().to_ascii_lowercase();
        let listed = |globs: &[String]| globs.iter().any(|glob| matches(glob, &host));
        !listed(&self.deny) && listed(&self.allow)
    }
}

pub(super) fn globs(list: &Value) -> Vec<String> {
    let strings = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    strings.map(str::to_lowercase).collect()
}

/// Whether `text` is as the glob says: `*` is any number of characters, `?` one. The time is at
/// most the product of the two lengths, whatever the glob.
pub(super) fn matches(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut g, mut t) = (0, 0);
    // Where to go on when what follows the last `*` does not fit here.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                retry = Some((g + 1, t));
                g += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(t) => {
                g += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, from)) = retry else { return false };
                retry = Some((after_star, from + 1));
                (g, t) = (after_star, from + 1);
            }
        }
    }
    glob.iter().skip(g).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn acl(content: &Value) -> ServerAcl {
        ServerAcl::from_content(&serde_json::value::to_raw_value(content).unwrap())
    }

    fn allows(content: &Value, server: &str) -> bool {
        acl(content).allows(<&ServerName>::try_from(server).unwrap())
    }

    #[test]
    fn deny_wins_over_allow_and_names_are_compared_without_case_and_port() {
        let content =
            json!({ "allow": ["*"], "deny": ["Evil.example", "*.Bad.example", "x?.org"] });
        for denied in
            ["evil.example", "EVIL.example", "evil.example:8448", "a.bad.example", "xy.org"]
        {
            assert!(!allows(&content, denied), "{denied}");
        }
        for allowed in ["good.example", "bad.example", "x.org", "1.2.3.4", "[::1]:8448"] {
            assert!(allows(&content, allowed), "{allowed}");
        }
    }

    #[test]
    fn address_literals_can_be_kept_out() {
        let content = json!({ "allow": ["*"], "allow_ip_literals": false });
        for denied in ["1.2.3.4", "1.2.3.4:8448", "[::1]", "[::1]:80"] {
            assert!(!allows(&content, denied), "{denied}");
        }
        assert!(allows(&content, "a.org"));
        let content = json!({ "allow": ["*"], "allow_ip_literals": "no" });
        assert!(allows(&content, "1.2.3.4"));
    }

    #[test]
    fn what_is_malformed_counts_as_absent() {
        for content in [json!({}), json!({ "allow": "*" }), json!({ "allow": [1, null] })] {
            assert!(!allows(&content, "a.org"), "{content}");
        }
        assert!(allows(&json!({ "allow": ["*", 7], "deny": "*" }), "a.org"));
    }

    #[test]
    fn globs_are_matched_in_bounded_time() {
        assert!(matches("a*b*c", "aXbYbZc") && !matches("a*b*c", "acb"));
        assert!(matches("*", "") && !matches("?", "") && matches("", ""));
        let glob = "*a".repeat(100) + "b";
        assert!(!matches(&glob, &"a".repeat(255)));
    }
}
