//! `event_fields`: leaving of an event only what a client asked for. Pure.
//!
//! <https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths>

use serde_json::{Map, Value, value::RawValue};

/// Wanted fields, each a path of keys.
#[derive(Clone, Debug)]
pub struct Fields(Vec<Vec<String>>);

impl Fields {
    /// Reads dotted paths; `\.` is a dot in a key and `\\` a backslash.
    #[must_use]
    pub fn new(paths: &[String]) -> Self {
        Self(paths.iter().map(|path| keys(path)).collect())
    }

    /// The event with the wanted fields only.
    ///
    /// # Errors
    ///
    /// When the event is not a JSON object.
    pub fn pick(&self, event: &RawValue) -> Result<Box<RawValue>, serde_json::Error> {
        let event: Map<String, Value> = serde_json::from_str(event.get())?;
        let mut picked = Map::new();
        for path in &self.0 {
            copy(&event, &mut picked, path);
        }
        serde_json::value::to_raw_value(&picked)
    }
}

fn keys(path: &str) -> Vec<String> {
    let (mut keys, mut key) = (Vec::new(), String::new());
    let mut letters = path.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '.' => keys.push(std::mem::take(&mut key)),
            '\\' => key.push(letters.next_if(|next| matches!(next, '.' | '\\')).unwrap_or('\\')),
            _ => key.push(letter),
        }
    }
    keys.push(key);
    keys
}

fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, path: &[String]) {
    let Some((key, rest)) = path.split_first() else { return };
    let Some(value) = from.get(key) else { return };
    if rest.is_empty() {
        to.insert(key.clone(), value.clone());
        return;
    }
    let Value::Object(inner) = value else { return };
    let mut part = match to.remove(key) {
        Some(Value::Object(part)) => part,
        _ => Map::new(),
    };
    copy(inner, &mut part, rest);
    if !part.is_empty() {
        to.insert(key.clone(), part.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn picked(paths: &[&str]) -> Value {
        let event = json!({
            "type": "m.x", "sender": "@a:x",
            "content": { "body": "hi", "m.relates_to": { "a": 1 }, "a\\b": 2, "deep": { "er": 3 } },
        });
        let event = serde_json::value::to_raw_value(&event).unwrap();
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        serde_json::from_str(Fields::new(&paths).pick(&event).unwrap().get()).unwrap()
    }

    #[test]
    fn only_wanted_fields_are_left() {
        assert_eq!(picked(&[]), json!({}));
        assert_eq!(
            picked(&["type", "content.body", "content.deep.er", "nothing", "type.x"]),
            json!({ "type": "m.x", "content": { "body": "hi", "deep": { "er": 3 } } })
        );
        assert_eq!(picked(&["content.missing"]), json!({}));
        assert_eq!(
            picked(&[r"content.m\.relates_to", r"content.a\\b"]),
            json!({ "content": { "m.relates_to": { "a": 1 }, "a\\b": 2 } })
        );
        assert_eq!(picked(&["content.body", "content"])["content"]["deep"]["er"], 3);
    }
}
