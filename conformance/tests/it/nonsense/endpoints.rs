//! The endpoints that the doors route, read from their tables.

use std::{fs, path::Path};

use http::Method;
use rand::{RngExt as _, rngs::StdRng};
use starling_conformance::client::encode;

use super::values::Known;

/// An operation and its path with `{parameters}`.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    pub(crate) path: String,
}

/// The operations of a door, which is the folder of its crate.
pub(crate) fn of(door: &str) -> Vec<Endpoint> {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(door).join("src/lib.rs");
    let text = fs::read_to_string(table).unwrap();
    text.lines().filter_map(line).collect()
}

/// A line of a table, such as `get("/_matrix/client/versions", routes::versions::get),`.
fn line(line: &str) -> Option<Endpoint> {
    let (method, rest) = line.trim().split_once("(\"/")?;
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).ok()?;
    let (path, _) = rest.split_once('"')?;
    Some(Endpoint { method, path: format!("/{path}") })
}

impl Endpoint {
    /// The path with something put in for each parameter, most often something that fits.
    pub(super) fn target(&self, rng: &mut StdRng, known: &Known) -> String {
        let mut target = String::new();
        let mut rest = self.path.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap();
            target.push_str(before);
            target.push_str(&match rng.random_ratio(1, 40) {
                true => "%ff%00".to_owned(),
                false => encode(&known.parameter(rng, name)),
            });
            rest = after;
        }
        target + rest
    }
}

#[test]
fn the_tables_are_read() {
    let (client, federation) = (of("client-api"), of("federation"));
    assert!(client.len() > 60 && federation.len() > 15, "{client:?} {federation:?}");
    for (door, method, path) in [
        (&client, Method::PUT, "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}"),
        (&client, Method::GET, "/_matrix/client/v3/sync"),
        (&federation, Method::PUT, "/_matrix/federation/v1/send/{txnId}"),
    ] {
        assert!(door.iter().any(|it| it.method == method && it.path == path), "{path}");
    }
}
