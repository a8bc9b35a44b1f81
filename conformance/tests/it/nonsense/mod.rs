//! Random requests to every endpoint that is routed: whatever they say, no answer is a failure of
//! the server, every refusal is a Matrix error, and others are served as before.
//!
//! The endpoints are read from the tables of the doors, so that a new one is tried without being
//! named here. Most requests are nearly right, for nonsense alone gets no further than the parser.
//!
//! A failure names the request and the seed: `STARLING_TEST_SEED=N` makes the same requests again,
//! `STARLING_TEST_CASES=N` makes more or less than usual for each endpoint.

mod client;
pub(crate) mod endpoints;
mod federation;
mod values;

use std::env;

use rand::{SeedableRng as _, rngs::StdRng};
use starling_conformance::{client::Answer, random};

/// How many requests each endpoint gets.
const CASES: usize = 20;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().unwrap())
}

fn cases() -> usize {
    number("STARLING_TEST_CASES").map_or(CASES, |cases| cases.try_into().unwrap())
}

fn seed() -> u64 {
    number("STARLING_TEST_SEED").unwrap_or_else(|| random::seed().unwrap())
}

/// A generator for one endpoint, the same for the same seed whatever the others do meanwhile.
fn generator(seed: u64, endpoint: usize) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(endpoint as u64))
}

/// What is wrong with an answer, if anything is. 502 says that *another* server did not help, which
/// random server names bring about; 401 can ask for user-interactive authentication; 431 comes from
/// the HTTP library, before there is a route.
fn complaint(answer: &Answer, body: &str, seed: u64) -> Option<String> {
    let says = &answer.body;
    let is_error = says["errcode"].is_string() && says["error"].is_string();
    let asks = answer.status == 401 && says["flows"].is_array();
    let failed = answer.status >= 500 && answer.status != 502;
    let is_told = is_error || asks || is_page(answer) || answer.status == 431;
    let is_bad = failed || (answer.status >= 400 && !is_told);
    is_bad.then(|| {
        let (request, body) = (beginning(&answer.request), beginning(body));
        let text = beginning(&String::from_utf8_lossy(&answer.bytes));
        format!("{request} with {body}\n  was answered {} {text} (seed {seed})", answer.status)
    })
}

/// Pages for people say in words what is wrong.
fn is_page(answer: &Answer) -> bool {
    let kind = answer.headers.get("content-type").and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/html"))
        && answer.headers.contains_key("content-security-policy")
}

fn beginning(text: &str) -> String {
    text.chars().take(1_000).collect()
}
