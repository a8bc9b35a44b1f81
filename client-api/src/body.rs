//! Reading a request's body: bounded, and checked to be a JSON object.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::IgnoredAny;

use crate::error::Error;

/// How large a JSON body may be, in bytes.
pub(crate) const LARGEST_JSON: usize = 1024 * 1024;

/// How large the body of a form may be, in bytes.
pub(crate) const LARGEST_FORM: usize = 64 * 1024;

/// How many arrays and objects may stand inside each other.
const DEEPEST_JSON: usize = 100;

/// The whole body, if it has at most `limit` bytes.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, Error> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::too_large(format!("The body is larger than {limit} bytes")))
        }
        Err(_) => Err(Error::not_json("The body was cut off")),
    }
}

/// Refuses what is neither empty nor one JSON object.
pub(crate) fn require_object(body: &[u8]) -> Result<(), Error> {
    if body.is_empty() {
        return Ok(());
    }
    let text = str::from_utf8(body).map_err(|_| Error::not_json("The body is not UTF-8"))?;
    if depth(body) > DEEPEST_JSON {
        return Err(Error::bad_json(format!("More than {DEEPEST_JSON} levels of JSON")));
    }
    serde_json::from_str::<IgnoredAny>(text)?;
    if !text.trim_start().starts_with('{') {
        return Err(Error::bad_json("The body is not a JSON object"));
    }
    Ok(())
}

/// How deep arrays and objects stand inside each other. A text that is not JSON has some depth too.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errcode(body: &[u8]) -> String {
        match require_object(body) {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.errcode_and_message()["errcode"].as_str().unwrap().to_owned(),
        }
    }

    #[test]
    fn only_json_objects_pass() {
        assert_eq!(errcode(b""), "ok");
        assert_eq!(errcode(b" {\"a\":[\"}}]]\\\"\"]} "), "ok");
        assert_eq!(errcode(b"{nope"), "M_NOT_JSON");
        assert_eq!(errcode(b"{} {}"), "M_NOT_JSON");
        assert_eq!(errcode(b"{\"a\":\"\xff\"}"), "M_NOT_JSON");
        assert_eq!(errcode(b"[]"), "M_BAD_JSON");
        assert_eq!(errcode(b"null"), "M_BAD_JSON");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(errcode(nested(99).as_bytes()), "ok");
        assert_eq!(errcode(nested(100).as_bytes()), "M_BAD_JSON");
        assert_eq!(errcode(nested(100_000).as_bytes()), "M_BAD_JSON");
        assert_eq!(errcode(format!("{{\"a\":\"{}\"}}", "[".repeat(200)).as_bytes()), "ok");
    }
}
