//! The servers and users of the tests.

use std::{env, path::Path, process::Command, sync::OnceLock, time::Duration};

use starling_conformance::{
    client::{Api, User},
    evil::Peer,
    servers::{Kind, Server, Spec, TestCa, starling},
};
use tokio::{sync::OnceCell, time::timeout};

/// The server that all tests share. It ends with the test run.
pub(crate) async fn server() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER.get_or_init(async || start(spec()).await).await
}

/// Two servers that federate with each other, shared by all tests.
#[allow(dead_code, reason = "for the tests that are to come")]
pub(crate) async fn pair() -> &'static (Server, Server) {
    static PAIR: OnceCell<(Server, Server)> = OnceCell::const_new();
    PAIR.get_or_init(async || (start(spec()).await, start(spec()).await)).await
}

/// What a server for a test of its own is made from: change it, then [`start`] it.
pub(crate) fn spec() -> Spec {
    let kind = kind();
    if kind == Kind::Starling {
        build();
    }
    Spec::new(kind).unwrap()
}

/// Starts a server; it ends when the value is dropped.
pub(crate) async fn start(spec: Spec) -> Server {
    spec.start(ca()).await.unwrap()
}

/// Requests to the shared server without an access token.
pub(crate) async fn anonymous() -> Api {
    Api::new(server().await).unwrap()
}

/// A new account on the shared server whose name begins with `name`.
pub(crate) async fn user(name: &str) -> User {
    User::register(server().await, name).await.unwrap()
}

/// A new account on the shared server that administers it.
pub(crate) async fn admin() -> User {
    User::admin(server().await, "admin").await.unwrap()
}

/// A server of a test's own with these settings, by their environment names.
pub(crate) async fn server_with(settings: &[(&str, &str)]) -> Server {
    let mut spec = spec();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    spec.settings.extend(settings.iter().map(owned));
    start(spec).await
}

/// A server of the test's own, which does what the test tells it.
pub(crate) async fn peer() -> Peer {
    Peer::start(ca()).await.unwrap()
}

/// The authority that all servers of the run trust.
pub(crate) fn ca() -> &'static TestCa {
    static CA: OnceLock<TestCa> = OnceLock::new();
    CA.get_or_init(|| TestCa::new().unwrap())
}

fn kind() -> Kind {
    match env::var("STARLING_TEST_SERVER").as_deref() {
        Err(_) | Ok("" | "starling") => Kind::Starling,
        Ok("synapse") => Kind::Synapse,
        Ok(other) => panic!("STARLING_TEST_SERVER is '{other}'"),
    }
}

/// Cargo builds the binary of another package for no test, so the tests do, once.
fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        if env::var_os(starling::BINARY).is_some() {
            return;
        }
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--package", "starling", "--bin", "starling"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(cargo.current_dir(manifest).status().unwrap().success(), "the build failed");
    });
}

/// Asks until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async { while !is_so().await {} };
    assert!(timeout(Duration::from_secs(60), asking).await.is_ok(), "{what}");
}
