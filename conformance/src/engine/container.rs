//! A container: its files, its address, and the process that runs, or does not, in it.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use rustix::process::Signal;
use tokio::sync::Mutex;

use super::{
    archive, image::Image, launcher, log::Log, names::NameServer, network::Network, ports::Ports,
    process::Run, watchdog::Watchdog,
};

/// What a request to create a container says.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) environment: Vec<(String, String)>,
    /// The name by which the network knows it.
    pub(super) alias: String,
    pub(super) extra_hosts: Vec<String>,
}

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) image: Arc<Image>,
    /// Those of the image, and its own above them.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) network: Arc<Network>,
    pub(super) alias: String,
    pub(super) address: Ipv4Addr,
    pub(super) ports: Ports,
    pub(super) directory: PathBuf,
    pub(super) log: Arc<Log>,
    extra_hosts: Vec<String>,
    run: Mutex<Option<Run>>,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Status {
    /// It has never been started.
    Created,
    /// It runs.
    Running,
    /// It runs, but is frozen.
    Paused,
    /// It has ended, with this code.
    Exited(i32),
}

impl Status {
    /// The API's word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited(_) => "exited",
        }
    }

    /// A paused container counts as running, as it does for Docker.
    pub(super) fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl Container {
    /// Makes a container's directory from the image, and the ports that lead to its address.
    pub(super) async fn create(
        id: String,
        image: Arc<Image>,
        (network, address): (Arc<Network>, Ipv4Addr),
        wanted: Wanted,
        containers: &Path,
    ) -> Result<Self> {
        let directory = containers.join(&id);
        tokio::fs::create_dir(&directory).await?;
        let root = directory.join("root");
        match &image.root {
            Some(files) => archive::copy(files, &root).await?,
            None => tokio::fs::create_dir_all(root.join(launcher::DATA)).await?,
        }
        let mut labels = image.labels.clone();
        labels.extend(wanted.labels);
        Ok(Self {
            id,
            name: wanted.name,
            image,
            labels,
            environment: wanted.environment,
            network,
            alias: wanted.alias,
            address,
            ports: Ports::map(address).await?,
            log: Arc::new(Log::open(&directory.join("log")).await?),
            directory,
            extra_hosts: wanted.extra_hosts,
            run: Mutex::default(),
        })
    }

    /// The directory that stands for the root of its file system.
    pub(super) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// The names that it can reach, and their addresses. Its own name is itself, whoever has it too.
    pub(super) fn peers(&self) -> Vec<(String, String)> {
        let mut peers = self.network.peers(&self.extra_hosts);
        for (name, address) in &mut peers {
            if *name == self.alias {
                *address = self.address.to_string();
            }
        }
        peers
    }

    /// Where it is in its life.
    pub(super) async fn status(&self) -> Status {
        match &*self.run.lock().await {
            None => Status::Created,
            Some(run) => match run.ended() {
                Some(code) => Status::Exited(code),
                None if run.is_paused() => Status::Paused,
                None => Status::Running,
            },
        }
    }

    /// The process id, while it runs.
    pub(super) async fn pid(&self) -> Option<i32> {
        self.running().await.map(|run| run.pid())
    }

    /// Starts the server. Tells whether it did not run already.
    pub(super) async fn start(
        &self,
        names: Option<&NameServer>,
        watchdog: Arc<Watchdog>,
    ) -> Result<bool> {
        let mut run = self.run.lock().await;
        if run.as_ref().is_some_and(|run| run.ended().is_none()) {
            return Ok(false);
        }
        let command = launcher::start(self, names).await?;
        *run = Some(Run::start(command, self.log.clone(), watchdog)?);
        Ok(true)
    }

    /// Asks the server to end, and kills it when it has not within the time. Tells whether it ran.
    pub(super) async fn stop(&self, limit: Duration) -> bool {
        let Some(run) = self.running().await else { return false };
        run.stop(limit).await;
        true
    }

    /// Sends a signal, and for SIGKILL waits for the end. Tells whether it ran.
    pub(super) async fn signal(&self, signal: Signal) -> bool {
        let Some(run) = self.running().await else { return false };
        if signal == Signal::KILL {
            run.kill().await
        } else {
            run.signal(signal)
        }
        true
    }

    /// Freezes the server. Tells whether it ran.
    pub(super) async fn pause(&self) -> bool {
        self.running().await.is_some_and(|run| {
            run.pause();
            true
        })
    }

    /// Lets the server go on. Tells whether it was frozen.
    pub(super) async fn unpause(&self) -> bool {
        self.running().await.filter(Run::is_paused).is_some_and(|run| {
            run.unpause();
            true
        })
    }

    async fn running(&self) -> Option<Run> {
        self.run.lock().await.clone().filter(|run| run.ended().is_none())
    }
}
