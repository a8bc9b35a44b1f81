//! The trace that a request belongs to, as a proxy says (<https://www.w3.org/TR/trace-context/>).

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator as _},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// How long a header may be; longer ones are not looked at.
const LONGEST: usize = 512;

/// How long a `traceparent` is; a later version of the specification may add to it.
const SHORTEST: usize = 55;

/// The trace that a request belongs to. What cannot be read says nothing.
pub(crate) fn parent(headers: &HeaderMap) -> Option<Context> {
    let is_whole = headers.get("traceparent").is_some_and(|value| value.len() >= SHORTEST);
    if !is_whole {
        return None;
    }
    let propagator = TraceContextPropagator::new();
    let context = propagator.extract_with_context(&Context::new(), &Bounded(headers));
    let is_valid = context.span().span_context().is_valid();
    is_valid.then_some(context)
}

/// The headers of a request, of which those are left out that are long or come twice.
struct Bounded<'a>(&'a HeaderMap);

impl Extractor for Bounded<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        value.to_str().ok().filter(|value| value.len() <= LONGEST)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn trace(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("traceparent", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        parent(&headers).map(|context| context.span().span_context().trace_id().to_string())
    }

    #[test]
    fn a_trace_is_taken_over() {
        assert_eq!(trace(&[GOOD]).unwrap(), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn nonsense_says_nothing() {
        let endless = format!("{GOOD}{}", "-00".repeat(200));
        let none = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let short = "00-0af7-b7ad-01";
        for values in
            [&[][..], &[""], &["é"], &[none], &[short], &["----"], &[GOOD, GOOD], &[&*endless]]
        {
            assert_eq!(trace(values), None, "{values:?}");
        }
    }
}
