//! The body of a request in the form in which it is signed. Pure.
//!
//! That form is canonical JSON, but laxer than what events have to be. One odd event in a
//! transaction (with an integer beyond 2^53, a float, or deep nesting) must not make the whole
//! transaction unverifiable, which its sender would then repeat for ever: numbers are taken as they
//! are written. And as this runs before the sender is known, it takes linear time.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

/// How deep a body may be nested; the parts that matter are held to less later.
const MAX_DEPTH: usize = 1000;

/// Why a body cannot be part of what is signed.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It is not JSON, or not UTF-8.
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// It is something else than an object.
    #[error("not an object")]
    NotAnObject,
    /// An object has this key twice, which different parsers read differently.
    #[error("duplicate key {0:?}")]
    DuplicateKey(String),
    /// Objects and arrays are nested too deep.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// The body as canonical JSON: no space, keys in the order of their code points, shortest escapes.
///
/// # Errors
///
/// See [`ContentError`].
pub fn canonical(body: &[u8]) -> Result<String, ContentError> {
    // Checks the syntax of everything, so that what follows only has to find its way.
    let json: &RawValue = serde_json::from_slice(body)?;
    match parse(json.get())? {
        node @ Node::Object(_) => {
            let mut out = String::with_capacity(body.len());
            node.write(&mut out);
            Ok(out)
        }
        _ => Err(ContentError::NotAnObject),
    }
}

/// A value, with scalars in their canonical text.
enum Node<'a> {
    Scalar(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(BTreeMap<Cow<'a, str>, Node<'a>>),
}

/// An object or array that has begun; an object may have a key that waits for its value.
enum Open<'a> {
    Array(Vec<Node<'a>>),
    Object(BTreeMap<Cow<'a, str>, Node<'a>>, Option<Cow<'a, str>>),
}

impl<'a> Open<'a> {
    fn add(&mut self, node: Node<'a>) -> Result<(), ContentError> {
        match self {
            Self::Array(array) => array.push(node),
            Self::Object(object, key) => {
                let key = key.take().unwrap_or_default();
                if object.contains_key(&key) {
                    return Err(ContentError::DuplicateKey(key.into_owned()));
                }
                object.insert(key, node);
            }
        }
        Ok(())
    }

    fn close(self) -> Node<'a> {
        match self {
            Self::Array(array) => Node::Array(array),
            Self::Object(object, _) => Node::Object(object),
        }
    }
}

/// Parses valid JSON without recursion.
fn parse(json: &str) -> Result<Node<'_>, ContentError> {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut rest = json;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', ',', ':']);
        let Some(first) = rest.bytes().next() else { return Err(ContentError::NotAnObject) };
        let (token, after) = rest.split_at_checked(token_length(rest)).unwrap_or((rest, ""));
        rest = after;
        let node = match first {
            b'{' | b'[' if open.len() >= MAX_DEPTH => return Err(ContentError::TooDeep),
            b'{' => {
                open.push(Open::Object(BTreeMap::new(), None));
                continue;
            }
            b'[' => {
                open.push(Open::Array(Vec::new()));
                continue;
            }
            b'}' | b']' => match open.pop() {
                Some(closed) => closed.close(),
                None => return Err(ContentError::NotAnObject),
            },
            b'"' => match open.last_mut() {
                Some(Open::Object(_, key @ None)) => {
                    *key = Some(unescaped(token)?);
                    continue;
                }
                _ => Node::Scalar(string(token)?),
            },
            // An integer to every parser, and this is how all write it.
            _ if token == "-0" => Node::Scalar("0".into()),
            _ => Node::Scalar(token.into()),
        };
        match open.last_mut() {
            Some(parent) => parent.add(node)?,
            None => return Ok(node),
        }
    }
}

/// How many bytes the token at the beginning has.
fn token_length(json: &str) -> usize {
    match json.bytes().next() {
        Some(b'"') => string_length(json),
        Some(b'{' | b'}' | b'[' | b']') => 1,
        _ => json.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(json.len()),
    }
}

/// The length of a string with both its quotes.
fn string_length(json: &str) -> usize {
    let mut escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(json.len(), |end| end + 2)
}

/// The canonical text of a string: without escapes it is that already.
fn string(token: &str) -> Result<Cow<'_, str>, ContentError> {
    if token.contains('\\') {
        let text: String = serde_json::from_str(token)?;
        return Ok(serde_json::to_string(&text)?.into());
    }
    Ok(token.into())
}

fn unescaped(token: &str) -> Result<Cow<'_, str>, ContentError> {
    if token.contains('\\') {
        return Ok(serde_json::from_str::<String>(token)?.into());
    }
    Ok(token.trim_matches('"').into())
}

impl Node<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Self::Scalar(text) => out.push_str(text),
            Self::Array(array) => {
                out.push('[');
                for (index, value) in array.iter().enumerate() {
                    separate(index, out);
                    value.write(out);
                }
                out.push(']');
            }
            Self::Object(object) => {
                out.push('{');
                for (index, (key, value)) in object.iter().enumerate() {
                    separate(index, out);
                    out.push_str(&serde_json::Value::from(key.as_ref()).to_string());
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn separate(index: usize, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::CanonicalJsonValue;
    use serde_json::Value;

    use super::*;

    fn text(json: &str) -> String {
        canonical(json.as_bytes()).unwrap()
    }

    #[test]
    fn order_space_and_escapes_are_made_canonical() {
        let json = " {\n\"b\" : [ ] , \"a\":\t{ \"\\u00e9\": \"\\u0041\\/\\u001F\\n\" },\"\":\"\\\\\\\"\" }\r";
        assert_eq!(text(json), r#"{"":"\\\"","a":{"é":"A/\u001f\n"},"b":[]}"#);
        // By code point: U+FF21 comes before U+1F600, unlike in UTF-16.
        assert_eq!(text(r#"{"\ud83d\ude00":1,"\uff21":2}"#), "{\"\u{ff21}\":2,\"\u{1f600}\":1}");
    }

    #[test]
    fn numbers_are_taken_as_they_are_written() {
        let json = r#"{"a":[1.0,1e5,-0,9007199254740993,-1,0.10],"b":true,"c":null}"#;
        assert_eq!(text(json), json.replace("-0", "0"));
    }

    #[test]
    fn what_is_ambiguous_or_no_object_is_refused() {
        for json in ["", "{", "{}}", "{\"a\":01}", "{a:1}", "{\"a\":\"\n\"}", "{\"a\" 1}"] {
            let refused = canonical(json.as_bytes());
            assert!(matches!(refused, Err(ContentError::NotJson(_))), "{json}: {refused:?}");
        }
        for json in ["[]", "1", "\"{}\"", "null"] {
            assert!(matches!(canonical(json.as_bytes()), Err(ContentError::NotAnObject)), "{json}");
        }
        let twice = canonical(br#"{"a":{"b":1,"\u0062":1}}"#);
        assert!(matches!(twice, Err(ContentError::DuplicateKey(key)) if key == "b"));
        assert!(matches!(canonical(b"{\"a\":\"\\ud800\"}"), Err(ContentError::NotJson(_))));
        assert!(matches!(canonical(b"{\"a\":\"\xff\"}"), Err(ContentError::NotJson(_))));
    }

    #[test]
    fn depth_is_bounded_without_using_the_stack_up() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(text(&nested(999)), nested(999));
        for depth in [1000, 1_000_000] {
            let refused = canonical(nested(depth).as_bytes());
            assert!(matches!(refused, Err(ContentError::TooDeep)), "{refused:?}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53) + 1..1 << 53).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_strict_canonical_json(value in json(), pretty in any::<bool>()) {
            let object = serde_json::json!({ "x": value });
            let written = if pretty { format!("{object:#}") } else { object.to_string() };
            let strict: CanonicalJsonValue = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(canonical(written.as_bytes()).unwrap(), strict.to_string());
        }

        #[test]
        fn nothing_panics(body in proptest::collection::vec(any::<u8>(), 0..60), json in "[\\[\\]{}\",:0-9a\\\\ ]{0,40}") {
            let _ = canonical(&body);
            let _ = canonical(json.as_bytes());
        }
    }
}
