//! A store of files that is not ours: the S3 service of SeaweedFS, from `conformance/.venv`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    ports,
    process::{self, Process},
};

/// The key that the service knows.
const KEY: &str = "key-of-the-tests";
const SECRET: &str = "secret-of-the-tests";

const READY_LIMIT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(50);

/// A service on free ports, with data of its own.
#[derive(Debug)]
pub struct Buckets {
    // Dropped from top to bottom: the process ends before its directory goes.
    process: Mutex<Option<Process>>,
    s3: u16,
    filer: u16,
    others: [u16; 6],
    directory: TempDir,
}

impl Buckets {
    /// Whether the service is installed; `conformance/interop/setup.sh` does that.
    pub fn are_installed() -> bool {
        program().is_file()
    }

    /// Starts the service and waits until it answers.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("starling-bucket-").tempdir()?;
        std::fs::create_dir(directory.path().join("data"))?;
        let identity = json!({
            "name": "starling",
            "credentials": [{ "accessKey": KEY, "secretKey": SECRET }],
            "actions": ["Admin", "Read", "Write", "List"],
        });
        let identities = json!({ "identities": [identity] }).to_string();
        std::fs::write(directory.path().join("s3.json"), identities)?;
        let mut others = [0; 6];
        for port in &mut others {
            *port = ports::free()?;
        }
        let (s3, filer) = (ports::free()?, ports::free()?);
        let service = Self { process: Mutex::new(None), s3, filer, others, directory };
        service.resume().await?;
        Ok(service)
    }

    /// The settings of a Starling whose files are in the bucket of that name, which is made when it
    /// is first written to.
    pub fn settings(&self, bucket: &str) -> Vec<(String, String)> {
        let setting = |name: &str, value: &str| (format!("MEDIA__S3__{name}"), value.to_owned());
        vec![
            setting("BUCKET", bucket),
            setting("REGION", "us-east-1"),
            setting("ENDPOINT", &self.url()),
            setting("ACCESS_KEY_ID", KEY),
            setting("SECRET_ACCESS_KEY", SECRET),
        ]
    }

    /// The address of the service.
    pub fn url(&self) -> String {
        format!("http://{}", ports::loopback(self.s3))
    }

    /// The names of all that is in a bucket.
    pub async fn names(&self, bucket: &str) -> Result<Vec<String>> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut directories = vec![format!("/buckets/{bucket}")];
        let mut names = Vec::new();
        while let Some(directory) = directories.pop() {
            let url = format!("http://{}{directory}/?limit=10000", ports::loopback(self.filer));
            let request = http.get(&url).header("Accept", "application/json");
            let answer = request.send().await?;
            if answer.status() == 404 {
                continue;
            }
            let list: Value = answer.error_for_status()?.json().await?;
            for entry in list["Entries"].as_array().into_iter().flatten() {
                let path = entry["FullPath"].as_str().context("an entry without a path")?;
                let mode = entry["Mode"].as_u64().context("an entry without a mode")?;
                // The bit that says that it is a directory.
                match mode & (1 << 31) {
                    0 => names.push(path.rsplit('/').next().unwrap_or_default().to_owned()),
                    _ => directories.push(path.to_owned()),
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// Ends the service at once.
    pub fn kill(&self) -> Result<()> {
        self.process().take().context("the service does not run")?.kill()
    }

    /// Starts the service again on the same data and ports.
    pub async fn resume(&self) -> Result<()> {
        let cleanup = format!("rm -rf '{}'", self.directory.path().display());
        let process = Process::spawn(self.command(), &self.log(), &cleanup)?;
        *self.process() = Some(process);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("{}/healthz", self.url());
        let begun = Instant::now();
        while begun.elapsed() < READY_LIMIT {
            if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(READY_POLL).await;
        }
        bail!("SeaweedFS is not ready after {READY_LIMIT:?}:\n{}", process::tail(&self.log()));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program());
        let directory = self.directory.path();
        command.arg("server").current_dir(directory);
        for (name, value) in [
            ("dir", directory.join("data").display().to_string()),
            ("ip", "127.0.0.1".to_owned()),
            ("ip.bind", "127.0.0.1".to_owned()),
            ("s3.config", directory.join("s3.json").display().to_string()),
            ("s3.port.iceberg", "0".to_owned()),
            ("s3.port.lance", "0".to_owned()),
            ("master.telemetry", "false".to_owned()),
            ("master.volumeSizeLimitMB", "64".to_owned()),
            ("volume.max", "100".to_owned()),
            // Else it takes nothing while less than one part in a hundred of the disk is free.
            ("volume.minFreeSpace", "1MiB".to_owned()),
        ] {
            command.arg(format!("-{name}={value}"));
        }
        let [master, master_grpc, volume, volume_grpc, filer_grpc, s3_grpc] = self.others;
        for (name, port) in [
            ("master.port", master),
            ("master.port.grpc", master_grpc),
            ("volume.port", volume),
            ("volume.port.grpc", volume_grpc),
            ("filer.port", self.filer),
            ("filer.port.grpc", filer_grpc),
            ("s3.port", self.s3),
            ("s3.port.grpc", s3_grpc),
        ] {
            command.arg(format!("-{name}={port}"));
        }
        command.args(["-filer", "-s3"]);
        command
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/weed")
}
