//! Canonical JSON: what peers and clients send is parsed once, here, and refused where it is not.
//!
//! Since room version 6 JSON is strict: integers within ±(2^53−1) and no floats. Before, floats are
//! legal. `ruma`'s [`CanonicalJsonObject`] has no place for them, so it holds a null where a float
//! stands and [`Canonical`] remembers the float's text beside it: the bytes that were hashed and
//! signed come out again.
//!
//! <https://spec.matrix.org/v1.19/appendices/#canonical-json>

use std::{collections::BTreeMap, fmt};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, Int,
    canonical_json::{RedactingSerializer, redact_in_place},
    room_version_rules::{RedactionRules, RoomVersionRules},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// How deep objects and arrays may be nested.
pub const MAX_DEPTH: usize = 100;

/// Why a text is not canonical JSON.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The text is not JSON at all; a lone surrogate counts as that.
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// The text is JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// An object has the same key twice, which different parsers read differently.
    #[error("duplicate key {0:?}")]
    DuplicateKey(String),
    /// Objects and arrays are nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A number that canonical JSON does not have: a float, `-0`, or an integer out of range. Where
    /// floats are legal, one that is out of range.
    #[error("number {0} is not an integer between ±(2^53−1)")]
    Number(String),
}

/// A JSON object of which the canonical text is known, floats included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Canonical {
    object: CanonicalJsonObject,
    floats: BTreeMap<Vec<Step>, String>,
}

/// One step on the way from the root to a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Index(usize),
}

/// Parses the text of an object strictly: what room versions 6 and later demand.
///
/// # Errors
///
/// Each variant of [`CanonicalError`].
pub fn parse_strict(json: &str) -> Result<CanonicalJsonObject, CanonicalError> {
    Ok(Canonical::parse_with(json, false)?.object)
}

impl Canonical {
    /// Parses the text of an object as the given room version reads JSON.
    ///
    /// # Errors
    ///
    /// Each variant of [`CanonicalError`]; floats only where the room version is strict.
    pub fn parse(json: &str, rules: &RoomVersionRules) -> Result<Self, CanonicalError> {
        Self::parse_with(json, !rules.authorization.strict_canonical_json)
    }

    fn parse_with(json: &str, allow_floats: bool) -> Result<Self, CanonicalError> {
        let raw: &RawValue = serde_json::from_str(json)?;
        let mut parser = Parser { allow_floats, path: Vec::new(), floats: BTreeMap::new() };
        match parser.value(raw.get())? {
            CanonicalJsonValue::Object(object) => Ok(Self { object, floats: parser.floats }),
            _ => Err(CanonicalError::NotAnObject),
        }
    }

    /// The object; a float shows as null.
    #[must_use]
    pub fn object(&self) -> &CanonicalJsonObject {
        &self.object
    }

    /// The object, to be changed. Floats stay in the places that are not touched.
    pub fn object_mut(&mut self) -> &mut CanonicalJsonObject {
        &mut self.object
    }

    /// The canonical text.
    #[must_use]
    pub fn to_text(&self) -> String {
        if self.floats.is_empty() {
            return text(&self.object);
        }
        let mut out = String::new();
        self.write_object(&self.object, &mut Vec::new(), &mut out);
        out
    }

    /// The canonical text of one top-level field.
    #[must_use]
    pub fn field_text(&self, field: &str) -> Option<String> {
        let value = self.object.get(field)?;
        let mut out = String::new();
        self.write(value, &mut vec![Step::Key(field.to_owned())], &mut out);
        Some(out)
    }

    /// The canonical text after redaction (if rules are given) and without some top-level fields.
    ///
    /// # Errors
    ///
    /// When it is to be redacted and has no `type`.
    pub fn text_without(
        &self,
        redaction: Option<&RedactionRules>,
        fields: &[&str],
    ) -> Result<String, serde_json::Error> {
        if self.floats.is_empty() {
            let mut serializer = RedactingSerializer::new().custom_redacted_root_fields(fields);
            if let Some(rules) = redaction {
                serializer = serializer.rules(rules);
            }
            return serializer.serialize(&self.object);
        }
        let mut copy = self.clone();
        if let Some(rules) = redaction {
            redact_in_place(&mut copy.object, rules, None).map_err(serde::de::Error::custom)?;
        }
        copy.object.retain(|key, _| !fields.contains(&key.as_str()));
        Ok(copy.to_text())
    }

    fn write(&self, value: &CanonicalJsonValue, path: &mut Vec<Step>, out: &mut String) {
        match value {
            CanonicalJsonValue::Object(object) => self.write_object(object, path, out),
            CanonicalJsonValue::Array(array) => self.write_array(array, path, out),
            CanonicalJsonValue::Null => {
                out.push_str(self.floats.get(path).map_or("null", String::as_str));
            }
            scalar => out.push_str(&text(scalar)),
        }
    }

    fn write_object(&self, object: &CanonicalJsonObject, path: &mut Vec<Step>, out: &mut String) {
        out.push('{');
        for (index, (key, value)) in object.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(&text(key));
            out.push(':');
            path.push(Step::Key(key.clone()));
            self.write(value, path, out);
            path.pop();
        }
        out.push('}');
    }

    fn write_array(&self, array: &[CanonicalJsonValue], path: &mut Vec<Step>, out: &mut String) {
        out.push('[');
        for (index, value) in array.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            path.push(Step::Index(index));
            self.write(value, path, out);
            path.pop();
        }
        out.push(']');
    }
}

impl From<CanonicalJsonObject> for Canonical {
    fn from(object: CanonicalJsonObject) -> Self {
        Self { object, floats: BTreeMap::new() }
    }
}

/// `serde_json` escapes as canonical JSON does, and these types cannot fail to serialise.
fn text<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Takes a text apart level by level; each level is checked by `serde_json` before it is entered.
struct Parser {
    allow_floats: bool,
    /// Where the parser stands; kept only where floats are allowed, as only they need it.
    path: Vec<Step>,
    floats: BTreeMap<Vec<Step>, String>,
}

impl Parser {
    fn value(&mut self, json: &str) -> Result<CanonicalJsonValue, CanonicalError> {
        self.nested(json, 0)
    }

    fn nested(&mut self, json: &str, depth: usize) -> Result<CanonicalJsonValue, CanonicalError> {
        match json.as_bytes().first() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => Err(CanonicalError::TooDeep),
            Some(b'{') => self.object(json, depth + 1),
            Some(b'[') => self.array(json, depth + 1),
            Some(b'"') => Ok(CanonicalJsonValue::String(serde_json::from_str(json)?)),
            Some(b't' | b'f') => Ok(CanonicalJsonValue::Bool(serde_json::from_str(json)?)),
            Some(b'n') => Ok(CanonicalJsonValue::Null),
            _ => self.number(json),
        }
    }

    fn object(&mut self, json: &str, depth: usize) -> Result<CanonicalJsonValue, CanonicalError> {
        let Entries(entries) = serde_json::from_str(json)?;
        let mut object = CanonicalJsonObject::new();
        for (key, raw) in entries {
            if object.contains_key(&key) {
                return Err(CanonicalError::DuplicateKey(key));
            }
            let step = self.allow_floats.then(|| Step::Key(key.clone()));
            let value = self.at(step, raw.get(), depth)?;
            object.insert(key, value);
        }
        Ok(CanonicalJsonValue::Object(object))
    }

    fn array(&mut self, json: &str, depth: usize) -> Result<CanonicalJsonValue, CanonicalError> {
        let items: Vec<&RawValue> = serde_json::from_str(json)?;
        let mut array = Vec::with_capacity(items.len());
        for (index, raw) in items.into_iter().enumerate() {
            let step = self.allow_floats.then_some(Step::Index(index));
            array.push(self.at(step, raw.get(), depth)?);
        }
        Ok(CanonicalJsonValue::Array(array))
    }

    fn at(
        &mut self,
        step: Option<Step>,
        json: &str,
        depth: usize,
    ) -> Result<CanonicalJsonValue, CanonicalError> {
        let steps = self.path.len();
        self.path.extend(step);
        let value = self.nested(json, depth);
        self.path.truncate(steps);
        value
    }

    fn number(&mut self, token: &str) -> Result<CanonicalJsonValue, CanonicalError> {
        let refused = || CanonicalError::Number(token.chars().take(40).collect());
        if token.contains(['.', 'e', 'E']) {
            // One beyond what a double holds breaks the parsers of others, clients included.
            let finite = token.parse::<f64>().is_ok_and(f64::is_finite);
            if !self.allow_floats || !finite {
                return Err(refused());
            }
            self.floats.insert(self.path.clone(), token.to_owned());
            return Ok(CanonicalJsonValue::Null);
        }
        // Where JSON is not strict, `-0` is the integer zero, as the servers of that time read it.
        if token == "-0" && !self.allow_floats {
            return Err(refused());
        }
        let integer = token.parse::<i64>().ok().and_then(|integer| Int::try_from(integer).ok());
        integer.map(CanonicalJsonValue::Integer).ok_or_else(refused)
    }
}

/// The entries of an object in their order, duplicates included.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry::<String, &RawValue>()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lenient(json: &str) -> Result<Canonical, CanonicalError> {
        Canonical::parse(json, &RoomVersionRules::V5)
    }

    fn strict(json: &str) -> Result<Canonical, CanonicalError> {
        Canonical::parse(json, &RoomVersionRules::V6)
    }

    #[test]
    fn sorts_by_code_point_and_escapes_shortest() {
        let json =
            r#" { "\ud83d\ude00":1, "\uff21" : "\u0041\u000a\/\u001F\u007f", "b":[ ],"a":null } "#;
        let canonical = strict(json).unwrap().to_text();
        assert_eq!(
            canonical,
            "{\"a\":null,\"b\":[],\"\u{ff21}\":\"A\\n/\\u001f\u{7f}\",\"\u{1f600}\":1}"
        );
    }

    #[test]
    fn numbers_at_the_edges() {
        assert!(strict(r#"{"a":9007199254740991,"b":-9007199254740991}"#).is_ok());
        for number in ["9007199254740992", "-9007199254740992", "99999999999999999999999", "-1e400"]
        {
            let json = format!(r#"{{"a":{number}}}"#);
            assert!(matches!(strict(&json), Err(CanonicalError::Number(_))), "{number}");
            assert!(matches!(lenient(&json), Err(CanonicalError::Number(_))), "{number}");
        }
        for number in ["1.0", "1e3", "1E3", "-0", "-0.0", "0.1"] {
            let json = format!(r#"{{"a":{number}}}"#);
            assert!(matches!(strict(&json), Err(CanonicalError::Number(_))), "{number}");
            assert!(lenient(&json).is_ok(), "{number}");
        }
    }

    #[test]
    fn floats_keep_their_text() {
        let json = r#"{"z":{"y":[1,1.50,{"x":-2.5E-3}]},"a":1e3,"n":null}"#;
        let canonical = lenient(json).unwrap();
        assert_eq!(canonical.to_text(), r#"{"a":1e3,"n":null,"z":{"y":[1,1.50,{"x":-2.5E-3}]}}"#);
        assert_eq!(canonical.field_text("z").unwrap(), r#"{"y":[1,1.50,{"x":-2.5E-3}]}"#);
        assert_eq!(canonical.object().get("a"), Some(&CanonicalJsonValue::Null));
    }

    #[test]
    fn redaction_keeps_the_floats_that_it_keeps() {
        let json = r#"{"type":"m.room.power_levels","content":{"ban":50.5,"x":1.5},"y":2.5}"#;
        let canonical = lenient(json).unwrap();
        assert_eq!(
            canonical.text_without(Some(&RedactionRules::V1), &["type"]).unwrap(),
            r#"{"content":{"ban":50.5}}"#
        );
    }

    #[test]
    fn refuses_what_parsers_disagree_about() {
        assert!(matches!(strict(r#"{"a":1,"\u0061":2}"#), Err(CanonicalError::DuplicateKey(_))));
        assert!(matches!(lenient(r#"{"b":{"a":1,"a":1}}"#), Err(CanonicalError::DuplicateKey(_))));
        for json in [r#"{"a":"\ud800"}"#, r#"{"\udc00":1}"#, "{", "", "{} {}", "{\"a\":01}"] {
            assert!(matches!(strict(json), Err(CanonicalError::NotJson(_))), "{json}");
        }
        assert!(matches!(strict("[]"), Err(CanonicalError::NotAnObject)));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| {
            format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
        };
        assert!(strict(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(strict(&nested(MAX_DEPTH + 1)), Err(CanonicalError::TooDeep)));
        assert!(matches!(strict(&nested(100_000)), Err(CanonicalError::TooDeep)));
    }

    fn json_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (-(1_i64 << 53) + 1..1_i64 << 53).prop_map(Into::into),
            ".*".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        /// The text means the same, and canonicalising it again changes nothing.
        #[test]
        fn canonical_text_is_a_fixed_point(value in json_value()) {
            let json = serde_json::json!({ "v": value });
            let text = strict(&serde_json::to_string_pretty(&json).unwrap()).unwrap().to_text();
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&text).unwrap(), &json);
            prop_assert_eq!(&strict(&text).unwrap().to_text(), &text);
            prop_assert_eq!(&lenient(&text).unwrap().to_text(), &text);
        }

        /// No text makes the parser panic.
        #[test]
        fn survives_any_text(text in ".*") {
            let _ = strict(&text);
            let _ = lenient(&text);
        }
    }
}
