//! `starling` with arguments that do not start a server, and starts that fail.

use std::{fs, process::Output};

use rustix::process::Signal;

use crate::process::{Server, starling};

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = starling();
    command.args(arguments).envs(environment.iter().copied()).output().await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn assert_one_line(output: &Output, expected: &str) {
    let error = text(&output.stderr);
    assert!(!output.status.success());
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn it_says_its_version() {
    let output = run(&["--version"], &[]).await;
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), format!("starling {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn without_arguments_it_helps() {
    let output = run(&[], &[]).await;
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("serve"));
}

#[tokio::test]
async fn the_example_is_a_right_configuration() {
    let example = run(&["config", "example"], &[]).await.stdout;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &example).unwrap();
    let check = run(&["config", "check", "--config", file.path().to_str().unwrap()], &[]).await;
    assert!(check.status.success(), "{}", text(&check.stderr));
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_one_line() {
    let wrong = [("STARLING__REGISTRATION__MODE", "opne")];
    assert_one_line(&run(&["config", "check"], &wrong).await, "registration.mode");
    assert_one_line(&run(&["serve"], &wrong).await, "registration.mode");
    assert_one_line(&run(&["serve", "--config", "/nonexistent"], &[]).await, "/nonexistent");
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let server = Server::start(&[]).await;
    let address = server.client.trim_start_matches("http://");
    let directory = tempfile::tempdir().unwrap();
    let settings = [
        ("STARLING__CLIENT__LISTEN", address),
        ("STARLING__DATA_DIR", directory.path().to_str().unwrap()),
    ];
    assert_one_line(&run(&["serve"], &settings).await, address);
}

#[tokio::test]
async fn a_database_in_use_is_refused() {
    let server = Server::start(&[]).await;
    let data = server.path("data");
    let settings = [("STARLING__DATA_DIR", data.to_str().unwrap())];
    assert_one_line(&run(&["serve"], &settings).await, "database");
}

#[tokio::test]
async fn a_database_keeps_its_server_name() {
    let mut server = Server::start(&[]).await;
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code().await, Some(0));
    let data = server.path("data").to_str().unwrap().to_owned();
    let settings = [("STARLING__DATA_DIR", &*data), ("STARLING__SERVER_NAME", "other.test")];
    assert_one_line(&run(&["serve"], &settings).await, "localhost:8448");
}
