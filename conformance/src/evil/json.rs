//! JSON as a malicious server writes it: canonical, save for pieces of text that no parser gave.
//!
//! A piece of raw text travels through [`Value`]s and ruma's canonical JSON as a marked string and
//! is put into the text that is sent, hashed and signed. So a number with a fraction, one beyond
//! 2^53 or a key that is there twice is signed like everything else, and nothing but itself is wrong
//! with the event.

use anyhow::{Context as _, Result};
use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde_json::Value;

/// A character of the private use area that no test has another use for.
const MARK: char = '\u{f8ff}';

/// This text, in place of a value: `raw("1.5")`, `raw("-0")`, `raw(r#"1,"body":2"#)`.
pub fn raw(text: &str) -> Value {
    Value::String(format!("{MARK}{text}{MARK}"))
}

/// Canonical JSON of a value, raw text included.
///
/// # Errors
///
/// When ruma cannot write the value as canonical JSON, which does not happen to what `json!` makes.
pub fn render(value: &Value) -> Result<String> {
    Ok(render_canonical(&canonical(value)?))
}

/// The canonical form of an object; numbers that have no place in it become raw text.
///
/// # Errors
///
/// When the value is no object.
pub(super) fn canonical_object(value: &Value) -> Result<CanonicalJsonObject> {
    match canonical(value)? {
        CanonicalJsonValue::Object(object) => Ok(object),
        _ => anyhow::bail!("not an object: {value}"),
    }
}

/// The text of an object with its raw pieces put in.
pub(super) fn render_object(object: &CanonicalJsonObject) -> String {
    render_canonical(&CanonicalJsonValue::Object(object.clone()))
}

fn canonical(value: &Value) -> Result<CanonicalJsonValue> {
    ruma::canonical_json::to_canonical_value(with_odd_numbers_raw(value)).context("not canonical")
}

fn with_odd_numbers_raw(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(integer) if integer.unsigned_abs() < 1 << 53 => value.clone(),
            _ => raw(&number.to_string()),
        },
        Value::Array(items) => items.iter().map(with_odd_numbers_raw).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| (key.clone(), with_odd_numbers_raw(member)))
            .collect(),
        other => other.clone(),
    }
}

fn render_canonical(value: &CanonicalJsonValue) -> String {
    let text = value.to_string();
    let (open, close) = (format!("\"{MARK}"), format!("{MARK}\""));
    let mut rendered = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(&open) {
        rendered.push_str(before);
        let Some((quoted, after)) = after.split_once(&close) else { break };
        rendered.push_str(&unquoted(quoted));
        rest = after;
    }
    rendered.push_str(rest);
    rendered
}

/// Takes back the escapes that writing the marked string put in.
fn unquoted(quoted: &str) -> String {
    serde_json::from_str(&format!("\"{quoted}\"")).unwrap_or_else(|_| quoted.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_and_odd_numbers_stay() {
        let value = json!({ "b": 1.5, "a": [9_007_199_254_740_992_u64, -1], "c": "é\n" });
        assert_eq!(render(&value).unwrap(), r#"{"a":[9007199254740992,-1],"b":1.5,"c":"é\n"}"#);
    }

    #[test]
    fn raw_text_is_put_in_as_it_is() {
        let value = json!({ "a": raw(r#"1,"a":"\ud800""#), "b": raw("1E400"), "c": raw("-0") });
        assert_eq!(render(&value).unwrap(), r#"{"a":1,"a":"\ud800","b":1E400,"c":-0}"#);
    }
}
