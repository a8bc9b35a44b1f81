//! The events of a large answer, each a stretch of its body: they are read when it is their turn, so
//! that an answer costs its own size and not several times that.

use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;

/// The texts of events.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    body: Bytes,
    stretches: Vec<Range<usize>>,
}

impl Texts {
    /// The values of a list, which were read from `body` without being copied.
    #[must_use]
    pub fn of(body: &Bytes, values: &[&RawValue]) -> Self {
        let start = body.as_ptr() as usize;
        let stretch = |value: &&RawValue| {
            let text = value.get();
            let at = (text.as_ptr() as usize).wrapping_sub(start);
            at..at.wrapping_add(text.len())
        };
        Self { body: body.clone(), stretches: values.iter().map(stretch).collect() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stretches.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// One of them; empty where there is none.
    #[must_use]
    pub fn get(&self, index: usize) -> &str {
        let stretch = self.stretches.get(index).cloned();
        let text = stretch.and_then(|stretch| self.body.get(stretch));
        text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_stands_in_the_body() {
        let body = Bytes::from_static(br#"{"state":[{"a":1}, "b",{"c":"\u00e4"}]}"#);
        #[derive(serde::Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            state: Vec<&'a RawValue>,
        }
        let answer: Answer<'_> = serde_json::from_slice(&body).unwrap();
        let texts = Texts::of(&body, &answer.state);
        assert_eq!((texts.len(), texts.get(0), texts.get(1)), (3, r#"{"a":1}"#, r#""b""#));
        assert_eq!((texts.get(2), texts.get(3)), (r#"{"c":"\u00e4"}"#, ""));
    }
}
