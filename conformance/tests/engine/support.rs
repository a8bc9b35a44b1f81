//! An engine for a test, and requests to it.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    time::Instant,
};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_starling-conformance");

/// The test whose process becomes the server of a container.
const SERVING_TEST: &str = "a_container_runs_and_keeps_its_ports_over_stop_and_start";

/// A running engine with one image, `server`, and one network, `net`.
pub(crate) struct Engine {
    process: Child,
    http: Client,
    web: Client,
    directory: TempDir,
}

/// The mapped ports of a container.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Ports {
    pub(crate) client: u16,
    pub(crate) federation: u16,
}

impl Engine {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let launcher = directory.path().join("launcher.sh");
        let launched = directory.path().join("launched");
        let script = format!(
            "#!/bin/sh\necho \"$1 $CONTAINER_ID\" >>'{}'\n\
             [ \"$1\" != start ] || exec '{}' --exact {SERVING_TEST} --nocapture\n",
            launched.display(),
            env::current_exe().unwrap().display(),
        );
        fs::write(&launcher, script).unwrap();
        fs::set_permissions(&launcher, fs::Permissions::from_mode(0o755)).unwrap();
        let socket = directory.path().join("engine.sock");
        let process = Command::new(BINARY)
            .args(["engine", "--socket"])
            .arg(&socket)
            .arg(format!("--image=server={}", launcher.display()))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until("the engine listens", || socket.exists()).await;
        let http = Client::builder().unix_socket(socket.as_path()).build().unwrap();
        let web = Client::builder().no_proxy().build().unwrap();
        let engine = Self { process, http, web, directory };
        let network = json!({ "Name": "net", "Labels": { "kind": "test" } });
        engine.post_json("/networks/create", &network).await;
        engine
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://engine{path}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        answer.error_for_status().unwrap().bytes().await.unwrap().to_vec()
    }

    pub(crate) async fn post(&self, path: &str) -> StatusCode {
        self.request(Method::POST, path).send().await.unwrap().status()
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Value {
        let answer = self.request(Method::POST, path).json(body).send().await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> StatusCode {
        self.request(Method::DELETE, path).send().await.unwrap().status()
    }

    /// Creates a container and returns its id.
    pub(crate) async fn create(&self, name: &str, alias: &str, labels: &Value) -> String {
        self.create_from("server", name, alias, labels).await
    }

    pub(crate) async fn create_from(
        &self,
        image: &str,
        name: &str,
        alias: &str,
        labels: &Value,
    ) -> String {
        let body = json!({
            "Image": image,
            "Env": [format!("SERVER_NAME={alias}"), "SHARED=a=b"],
            "Labels": labels,
            "HostConfig": { "ExtraHosts": ["host.docker.internal:host-gateway"] },
            "NetworkingConfig": { "EndpointsConfig": { "net": { "Aliases": [alias] } } },
        });
        let answer = self.post_json(&format!("/containers/create?name={name}"), &body).await;
        answer["Id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn upload(&self, container: &str, path: &str, text: &str) {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(text.len() as u64);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, text.as_bytes()).unwrap();
        let archive = builder.into_inner().unwrap();
        let request = self.request(Method::PUT, &format!("/containers/{container}/archive?path=/"));
        assert_eq!(request.body(archive).send().await.unwrap().status(), StatusCode::OK);
    }

    /// Starts a container and waits until its server answers.
    pub(crate) async fn start_container(&self, container: &str) {
        let started = self.post(&format!("/containers/{container}/start")).await;
        assert_eq!(started, StatusCode::NO_CONTENT);
        let url = format!("http://127.0.0.1:{}/environment", self.ports(container).await.client);
        let begun = Instant::now();
        while self.web.get(&url).send().await.is_err() {
            assert!(begun.elapsed() < crate::LIMIT, "the server of {container} does not answer");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn inspect(&self, container: &str) -> Value {
        self.get(&format!("/containers/{container}/json")).await
    }

    pub(crate) async fn ports(&self, container: &str) -> Ports {
        let all = self.inspect(container).await["NetworkSettings"]["Ports"].clone();
        let port = |name: &str| all[name][0]["HostPort"].as_str().unwrap().parse().unwrap();
        Ports { client: port("8008/tcp"), federation: port("8448/tcp") }
    }

    pub(crate) async fn address(&self, container: &str) -> String {
        let networks = self.inspect(container).await["NetworkSettings"]["Networks"].clone();
        networks["net"]["IPAddress"].as_str().unwrap().to_owned()
    }

    /// Asks the server behind a mapped port.
    pub(crate) async fn ask(&self, port: u16, path: &str) -> Value {
        let answer = self.web.get(format!("http://127.0.0.1:{port}{path}")).send().await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    /// What the launcher was called for.
    pub(crate) fn launched(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("launched")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Ends the engine so that it can do nothing about it.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks the engine to end and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        self.process.wait().unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended already; its watchdog does the rest.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < crate::LIMIT, "waited in vain: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Whether a process has ended; one that nobody waited for counts.
pub(crate) fn gone(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout.trim_ascii() == b"0"
}
