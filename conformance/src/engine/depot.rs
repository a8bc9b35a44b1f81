//! What the engine holds: images, networks and containers.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use futures_util::future::join_all;
use rustix::process::Signal;
use tempfile::TempDir;

use super::{
    BaseImage, archive,
    container::{Container, Wanted},
    image::{Image, short},
    launcher,
    names::NameServer,
    network::{Network, Range, hex},
    watchdog::Watchdog,
};
use crate::random;

/// The network of containers that name none.
const DEFAULT_NETWORK: &str = "bridge";

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum DepotError {
    /// It is not there.
    #[error("No such {kind}: {name}")]
    Missing {
        /// Image, network or container.
        kind: &'static str,
        /// As it was asked for.
        name: String,
    },
    /// Its name is taken, or it is in use, or it is not in the right state.
    #[error("{0}")]
    Conflict(String),
    /// Anything else.
    #[error("{0:#}")]
    Internal(#[from] anyhow::Error),
}

impl DepotError {
    fn missing(kind: &'static str, name: &str) -> Self {
        Self::Missing { kind, name: name.to_owned() }
    }
}

#[derive(Debug, Default)]
struct Contents {
    images: BTreeMap<String, Arc<Image>>,
    networks: BTreeMap<u8, Arc<Network>>,
    /// By name; a name is taken before the container is complete.
    containers: BTreeMap<String, Option<Arc<Container>>>,
}

/// Everything of one engine.
#[derive(Debug)]
pub(super) struct Depot {
    range: Range,
    names: Option<NameServer>,
    contents: Mutex<Contents>,
    watchdog: Arc<Watchdog>,
    directory: TempDir,
}

impl Depot {
    /// A depot with these images. As root, its containers get names of their own.
    pub(super) async fn new(bases: Vec<BaseImage>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("starling-engine-").tempdir()?;
        // Servers that give up root's rights must get through to their own directories.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o711))?;
        for part in ["images", "containers"] {
            fs::create_dir(directory.path().join(part))?;
        }
        let range = Range::take()?;
        let names = match NameServer::start(range.name_server()).await {
            Ok(names) => Some(names),
            Err(error) => {
                tracing::warn!("{error}: containers share this machine's names, run as root");
                None
            }
        };
        let mut contents = Contents::default();
        for base in bases {
            let image = Image::base(base)?;
            contents.images.insert(image.id.clone(), Arc::new(image));
        }
        let watchdog = Arc::new(Watchdog::start(directory.path())?);
        Ok(Self { range, names, contents: Mutex::new(contents), watchdog, directory })
    }

    /// All images.
    pub(super) fn images(&self) -> Vec<Arc<Image>> {
        self.contents().images.values().cloned().collect()
    }

    /// The image with this name or id.
    pub(super) fn image(&self, name: &str) -> Result<Arc<Image>, DepotError> {
        let images = self.images();
        let found = images.into_iter().find(|image| image.is_called(name));
        found.ok_or_else(|| DepotError::missing("image", name))
    }

    /// Makes an image of a container.
    pub(super) async fn commit(
        &self,
        container: &Container,
        reference: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<Arc<Image>, DepotError> {
        let mut all = container.labels.clone();
        all.extend(labels);
        let launcher = container.image.launcher.clone();
        let image = Image::committed(reference, all, launcher, &self.part("images"))?;
        if let Some(root) = &image.root {
            archive::copy(&container.root(), root).await?;
        }
        launcher::commit(&image).await?;
        let image = Arc::new(image);
        self.contents().images.insert(image.id.clone(), image.clone());
        Ok(image)
    }

    /// Removes an image. Containers keep what they were made of.
    pub(super) async fn remove_image(&self, image: &Image) {
        if self.contents().images.remove(&image.id).is_some()
            && let Some(root) = &image.root
        {
            clear_away(&image.launcher, &image.id, root, root).await;
        }
    }

    /// All networks.
    pub(super) fn networks(&self) -> Vec<Arc<Network>> {
        self.contents().networks.values().cloned().collect()
    }

    /// The network with this name or id.
    pub(super) fn network(&self, name: &str) -> Result<Arc<Network>, DepotError> {
        let networks = self.networks();
        let found = networks.into_iter().find(|network| network.name == name || network.id == name);
        found.ok_or_else(|| DepotError::missing("network", name))
    }

    /// Makes a network. Like Docker, it does not mind another one of the same name.
    pub(super) fn create_network(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<Arc<Network>, DepotError> {
        let mut contents = self.contents();
        let number = (1..u8::MAX).find(|number| !contents.networks.contains_key(number));
        let full = || DepotError::Conflict("there are too many networks".to_owned());
        let number = number.ok_or_else(full)?;
        let network = Arc::new(Network::new(&self.range, number, name.to_owned(), labels)?);
        contents.networks.insert(number, network.clone());
        Ok(network)
    }

    /// Removes a network in which nothing runs.
    pub(super) async fn remove_network(&self, network: &Network) -> Result<(), DepotError> {
        for container in self.containers() {
            if container.network.id == network.id && container.status().await.is_running() {
                let reason = format!("network {} has active endpoints", network.name);
                return Err(DepotError::Conflict(reason));
            }
        }
        self.contents().networks.retain(|_, other| other.id != network.id);
        Ok(())
    }

    /// All containers that are complete.
    pub(super) fn containers(&self) -> Vec<Arc<Container>> {
        self.contents().containers.values().flatten().cloned().collect()
    }

    /// The container with this name or id.
    pub(super) fn container(&self, name: &str) -> Result<Arc<Container>, DepotError> {
        let containers = self.containers();
        let found = containers.into_iter().find(|one| one.id == name || one.name == name);
        found.ok_or_else(|| DepotError::missing("container", name))
    }

    /// Makes a container of an image in a network.
    pub(super) async fn create_container(
        &self,
        image: Arc<Image>,
        network: Option<&str>,
        wanted: Wanted,
    ) -> Result<Arc<Container>, DepotError> {
        let network = match network {
            Some(name) => self.network(name)?,
            None => self.default_network()?,
        };
        let name = wanted.name.clone();
        if self.contents().containers.contains_key(&name) {
            return Err(DepotError::Conflict(format!("the name {name} is in use")));
        }
        self.contents().containers.insert(name.clone(), None);
        let created = self.create(image, network, wanted).await;
        let mut contents = self.contents();
        match created {
            Ok(container) => {
                let container = Arc::new(container);
                contents.containers.insert(name, Some(container.clone()));
                Ok(container)
            }
            Err(error) => {
                contents.containers.remove(&name);
                Err(error.into())
            }
        }
    }

    async fn create(
        &self,
        image: Arc<Image>,
        network: Arc<Network>,
        wanted: Wanted,
    ) -> Result<Container> {
        let mut in_use = Vec::new();
        for other in self.containers() {
            if other.network.id == network.id && other.status().await.is_running() {
                in_use.push(other.address);
            }
        }
        let address = network.address(&wanted.alias, &in_use)?;
        let id = hex(&random::bytes::<32>()?);
        let place = (network, address);
        Container::create(id, image, place, wanted, &self.part("containers")).await
    }

    /// Starts a container. Tells whether it did not run already.
    pub(super) async fn start(&self, container: &Container) -> Result<bool, DepotError> {
        Ok(container.start(self.names.as_ref(), self.watchdog.clone()).await?)
    }

    /// Removes a container; one that runs is killed first.
    pub(super) async fn remove_container(&self, container: &Container) {
        container.signal(Signal::KILL).await;
        if self.contents().containers.remove(&container.name).is_some() {
            let launcher = &container.image.launcher;
            clear_away(launcher, &container.id, &container.root(), &container.directory).await;
        }
    }

    /// Removes everything.
    pub(super) async fn clear(&self) {
        let containers = self.containers();
        join_all(containers.iter().map(|container| self.remove_container(container))).await;
        for image in self.images() {
            self.remove_image(&image).await;
        }
    }

    fn default_network(&self) -> Result<Arc<Network>, DepotError> {
        match self.network(DEFAULT_NETWORK) {
            Err(DepotError::Missing { .. }) => {
                self.create_network(DEFAULT_NETWORK, BTreeMap::new())
            }
            found => found,
        }
    }

    fn part(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What cannot be cleared away now is, at the latest, when the machine's temporary files are.
async fn clear_away(launcher: &Path, id: &str, root: &Path, directory: &Path) {
    if let Err(error) = launcher::remove(launcher, id, root).await {
        tracing::warn!(id = short(id), "the launcher cannot clear up: {error:#}");
    }
    if let Err(error) = tokio::fs::remove_dir_all(directory).await {
        tracing::warn!(id = short(id), %error, "the files cannot be removed");
    }
}
