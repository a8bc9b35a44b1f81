//! The stand-in for a container engine, spoken to as Complement's client does: over its socket.
//!
//! Images have a launcher that becomes this program again, as a small HTTP server ([`server`]).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod server;
mod support;

use std::{fs, path::Path, process::Command, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use support::{Engine, gone, until};

#[tokio::test]
async fn the_version_is_negotiated() {
    let engine = Engine::start().await;
    let answer = engine.request(Method::HEAD, "/_ping").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["api-version"], "1.45");
    assert_eq!(answer.headers()["ostype"], "linux");
    assert_eq!(engine.get("/v1.45/containers/json").await, json!([]));
}

#[tokio::test]
async fn a_container_runs_and_keeps_its_ports_over_stop_and_start() {
    server::run_if_launched().await;
    let engine = Engine::start().await;
    let container = engine.create("one", "hs1", &json!({})).await;
    engine.upload(&container, "/complement/ca/ca.crt", "certificate").await;
    engine.start_container(&container).await;

    let ports = engine.ports(&container).await;
    let environment = engine.ask(ports.client, "/environment").await;
    assert_eq!(environment["SERVER_NAME"], "hs1");
    assert_eq!(environment["SHARED"], "a=b");
    let root = environment["CONTAINER_ROOT"].as_str().unwrap();
    let uploaded = fs::read_to_string(Path::new(root).join("complement/ca/ca.crt")).unwrap();
    assert_eq!(uploaded, "certificate");

    let stop = format!("/containers/{container}/stop?t=10");
    assert_eq!(engine.post(&stop).await, StatusCode::NO_CONTENT);
    assert_eq!(engine.post(&stop).await, StatusCode::NOT_MODIFIED);
    let state = engine.inspect(&container).await["State"].clone();
    assert_eq!((&state["Status"], &state["Running"]), (&json!("exited"), &json!(false)));

    engine.start_container(&container).await;
    assert_eq!(engine.ports(&container).await, ports);
    assert_eq!(engine.ask(ports.client, "/environment").await["CONTAINER_ROOT"], root);
}

#[tokio::test]
async fn the_log_tells_output_and_errors_apart() {
    let engine = Engine::start().await;
    let container = engine.create("one", "hs1", &json!({})).await;
    engine.start_container(&container).await;
    let error = b"\x02\0\0\0\0\0\0\x17the server writes this\n";
    let frames = engine.bytes(&format!("/containers/{container}/logs?stdout=1&stderr=1")).await;
    assert!(frames.windows(error.len()).any(|window| window == error));
    let errors = engine.bytes(&format!("/containers/{container}/logs?stderr=1")).await;
    assert!(errors.starts_with(error), "{}", String::from_utf8_lossy(&errors));
}

#[tokio::test]
async fn an_image_of_a_container_has_its_files_and_labels() {
    let engine = Engine::start().await;
    let original = engine.create("original", "hs1", &json!({ "pkg": "x" })).await;
    engine.start_container(&original).await;
    let client = engine.ports(&original).await.client;
    assert_eq!(engine.ask(client, "/remember/this").await, json!("this"));
    engine.post(&format!("/containers/{original}/stop")).await;
    let change = "LABEL%20%22access_token_@a:hs1%22=%22secret%22";
    let commit =
        format!("/commit?container={original}&repo=localhost/c&tag=x.hs1&changes={change}");
    let image = engine.post_json(&commit, &json!({})).await["Id"].as_str().unwrap().to_owned();

    let filter = "/images/json?filters=%7B%22label%22:%7B%22pkg=x%22:true%7D%7D";
    let images = engine.get(filter).await;
    assert_eq!(images[0]["Id"], *image);
    assert_eq!(images[0]["RepoTags"], json!(["localhost/c:x.hs1"]));

    let copy = engine.create_from(&image, "copy", "hs1", &json!({})).await;
    engine.start_container(&copy).await;
    let client = engine.ports(&copy).await.client;
    assert_eq!(engine.ask(client, "/recall").await, json!("this"));
    let labels = engine.inspect(&copy).await["Config"]["Labels"].clone();
    assert_eq!(labels, json!({ "pkg": "x", "access_token_@a:hs1": "secret" }));

    for path in [format!("/containers/{copy}?force=1"), format!("/images/{image}?force=1")] {
        assert!(engine.delete(&path).await.is_success());
    }
    assert_eq!(engine.get(filter).await, json!([]));
    let image = image.strip_prefix("sha256:").unwrap();
    assert_eq!(
        engine.launched(),
        [
            format!("start {original}"),
            format!("commit sha256:{image}"),
            format!("start {copy}"),
            format!("remove {copy}"),
            format!("remove sha256:{image}"),
        ]
    );
}

#[tokio::test]
async fn a_paused_container_stands_still_until_it_is_unpaused() {
    let engine = Engine::start().await;
    let container = engine.create("one", "hs1", &json!({})).await;
    engine.start_container(&container).await;
    let pid = engine.inspect(&container).await["State"]["Pid"].as_u64().unwrap();
    let stands = || process_state(pid) == "T";

    assert_eq!(
        engine.post(&format!("/containers/{container}/pause")).await,
        StatusCode::NO_CONTENT
    );
    until("the process stands still", stands).await;
    assert_eq!(engine.inspect(&container).await["State"]["Paused"], true);

    let unpause = format!("/containers/{container}/unpause");
    assert_eq!(engine.post(&unpause).await, StatusCode::NO_CONTENT);
    until("the process goes on", || !stands()).await;
    assert_eq!(engine.post(&unpause).await, StatusCode::CONFLICT);
    engine.ask(engine.ports(&container).await.client, "/environment").await;
}

#[tokio::test]
async fn containers_of_a_network_reach_each_other_by_name() {
    let engine = Engine::start().await;
    let first = engine.create("one", "hs1", &json!({})).await;
    let second = engine.create("two", "hs2", &json!({})).await;
    for container in [&first, &second] {
        engine.start_container(container).await;
    }
    let addresses = [engine.address(&first).await, engine.address(&second).await];
    assert_ne!(addresses[0], addresses[1]);
    let client = engine.ports(&first).await.client;
    let environment = engine.ask(client, "/environment").await;
    let peers: Vec<_> = environment["CONTAINER_PEERS"].as_str().unwrap().split(' ').collect();
    for (name, address) in [("hs1", &addresses[0]), ("hs2", &addresses[1])] {
        assert!(peers.contains(&format!("{name}={address}").as_str()), "{peers:?}");
    }
    assert!(peers.contains(&"host.docker.internal=127.0.0.1"), "{peers:?}");
    if support::is_root() {
        let hosts = engine.ask(client, "/hosts").await;
        let hosts = hosts.as_str().unwrap();
        assert!(hosts.contains(&format!("{} hs2\n", addresses[1])), "{hosts}");
    }
}

#[tokio::test]
async fn networks_are_found_by_their_labels_and_kept_while_something_runs_there() {
    let engine = Engine::start().await;
    let network = engine.get("/networks").await[0]["Id"].as_str().unwrap().to_owned();
    let found = "/networks?filters=%7B%22label%22:%7B%22kind=test%22:true%7D%7D";
    assert_eq!(engine.get(found).await[0]["Id"], *network);
    let container = engine.create("one", "hs1", &json!({})).await;
    engine.start_container(&container).await;
    let path = format!("/networks/{network}");
    assert_eq!(engine.delete(&path).await, StatusCode::CONFLICT);
    assert!(engine.delete(&format!("/containers/{container}?force=1")).await.is_success());
    assert_eq!(engine.delete(&path).await, StatusCode::NO_CONTENT);
    assert_eq!(engine.get(found).await, json!([]));
}

#[tokio::test]
async fn what_is_not_there_or_taken_is_refused() {
    let engine = Engine::start().await;
    engine.create("one", "hs1", &json!({})).await;
    let create = |image: &str| json!({ "Image": image });
    let taken = engine.request(Method::POST, "/containers/create?name=one");
    let taken = taken.json(&create("server")).send().await.unwrap();
    assert_eq!(taken.status(), StatusCode::CONFLICT);
    let unknown = engine.request(Method::POST, "/containers/create?name=two");
    let unknown = unknown.json(&create("unknown")).send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let message: Value = unknown.json().await.unwrap();
    assert_eq!(message["message"], "No such image: unknown");
    assert_eq!(engine.post("/containers/two/start").await, StatusCode::NOT_FOUND);
    assert_eq!(engine.post("/containers/one/kill?signal=KILL").await, StatusCode::CONFLICT);
}

#[tokio::test]
async fn nothing_outlives_an_engine_that_is_killed() {
    let mut engine = Engine::start().await;
    let container = engine.create("one", "hs1", &json!({})).await;
    engine.start_container(&container).await;
    let environment = engine.ask(engine.ports(&container).await.client, "/environment").await;
    let root = environment["CONTAINER_ROOT"].as_str().unwrap().to_owned();
    let pid = engine.inspect(&container).await["State"]["Pid"].as_u64().unwrap();
    engine.kill();
    until("the server is gone", || gone(pid)).await;
    until("its files are gone", || !Path::new(&root).exists()).await;
}

#[tokio::test]
async fn an_engine_that_is_asked_to_end_clears_up() {
    let mut engine = Engine::start().await;
    let container = engine.create("one", "hs1", &json!({})).await;
    engine.start_container(&container).await;
    let pid = engine.inspect(&container).await["State"]["Pid"].as_u64().unwrap();
    assert!(engine.terminate().success());
    assert!(gone(pid));
    assert_eq!(engine.launched(), [format!("start {container}"), format!("remove {container}")]);
}

#[test]
fn a_command_is_told_where_the_engine_is_and_its_failure_is_passed_on() {
    let run = |script: &str| {
        let mut command = Command::new(support::BINARY);
        command.args(["engine", "--image", "server=/bin/true", "--", "sh", "-c", script]);
        command.output().unwrap()
    };
    let output = run("test -S \"${DOCKER_HOST#unix://}\" && echo socket");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "socket\n");
    assert!(output.status.success());
    assert!(!run("exit 3").status.success());
}

/// `R`, `S`, `T` and so on, as `/proc` has it after the program's name.
fn process_state(pid: u64) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').next());
    state.unwrap_or_default().to_owned()
}

/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_secs(60);
