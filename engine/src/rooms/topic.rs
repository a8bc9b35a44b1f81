//! What a room is about. Pure.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#mroomtopic>

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::events::pdu::content_str;

/// The topic without markup: that of `m.topic` when there is one, as its events mean it.
#[must_use]
pub fn plain(content: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.topic")]
        block: Block,
    }
    #[derive(Deserialize)]
    struct Block {
        #[serde(rename = "m.text")]
        texts: Vec<Text>,
    }
    #[derive(Deserialize)]
    struct Text {
        body: String,
        mimetype: Option<String>,
    }
    let block = serde_json::from_str::<Content>(content.get()).ok();
    let mut texts = block.into_iter().flat_map(|content| content.block.texts);
    let is_plain = |text: &Text| text.mimetype.as_deref().is_none_or(|it| it == "text/plain");
    let plain = texts.find(is_plain).map(|text| text.body);
    plain.or_else(|| content_str(content, "topic")).filter(|topic| !topic.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;

    #[test]
    fn the_plain_text_is_preferred() {
        let of = |content: Value| plain(&to_raw_value(&content).unwrap());
        let block = |texts: Value| json!({ "topic": "short", "m.topic": { "m.text": texts } });
        let html = json!({ "mimetype": "text/html", "body": "<b>long</b>" });
        assert_eq!(of(block(json!([html, { "body": "long" }]))).as_deref(), Some("long"));
        assert_eq!(of(block(json!([html]))).as_deref(), Some("short"));
        assert_eq!(of(block(json!({}))).as_deref(), Some("short"));
        assert_eq!(of(json!({ "topic": "" })), None);
        assert_eq!(of(json!([])), None);
    }
}
