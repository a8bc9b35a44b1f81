//! How a launcher is called, and what it is told.
//!
//! A launcher is a program with one argument:
//!
//! * `start`: become the server of a container;
//! * `commit`: a container's files were copied and now belong to an image; what lies outside them,
//!   such as a database, needs a copy too;
//! * `remove`: a container or an image goes; clear away what lies outside its files.
//!
//! Its environment is this process's, the container's own, and the variables that are named here.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use super::{container::Container, image::Image, names::NameServer};

/// The id of the container or image.
const ID: &str = "CONTAINER_ID";
/// The directory that stands for the root of its file system: uploaded files and `data`.
const ROOT: &str = "CONTAINER_ROOT";
/// The address on which the server listens, with the ports of the API.
const ADDRESS: &str = "CONTAINER_ADDRESS";
/// `name=address` of all that the container can reach, with spaces between.
const PEERS: &str = "CONTAINER_PEERS";

/// The directory below [`ROOT`] that a server's data goes to.
pub(super) const DATA: &str = "data";

/// Gives the process names of its own, then becomes the launcher.
const WITH_NAMES: &str = r#"
mount --bind "$1" /etc/hosts
mount --bind "$2" /etc/resolv.conf
shift 2
exec "$@"
"#;

/// The command that becomes a container's server.
pub(super) async fn start(container: &Container, names: Option<&NameServer>) -> Result<Command> {
    let peers = container.peers();
    let mut command = match names {
        Some(server) => {
            let hosts = container.directory.join("hosts");
            let resolv_conf = container.directory.join("resolv.conf");
            tokio::fs::write(&hosts, hosts_file(&peers)).await?;
            tokio::fs::write(&resolv_conf, server.resolv_conf()).await?;
            let mut command = Command::new("unshare");
            command.args(["--mount", "--", "sh", "-ec", WITH_NAMES, "launcher"]);
            command.arg(hosts).arg(resolv_conf).arg(&container.image.launcher);
            command
        }
        None => Command::new(&container.image.launcher),
    };
    let peers: Vec<String> =
        peers.into_iter().map(|(name, address)| format!("{name}={address}")).collect();
    command
        .arg("start")
        .current_dir(container.root())
        .envs(container.environment.iter().map(|(name, value)| (name, value)))
        .env(ID, &container.id)
        .env(ROOT, container.root())
        .env(ADDRESS, container.address.to_string())
        .env(PEERS, peers.join(" "));
    Ok(command)
}

/// Tells the launcher that an image got its files.
pub(super) async fn commit(image: &Image) -> Result<()> {
    match &image.root {
        Some(root) => call("commit", &image.launcher, &image.id, root).await,
        None => Ok(()),
    }
}

/// Tells the launcher that a container or an image goes.
pub(super) async fn remove(launcher: &Path, id: &str, root: &Path) -> Result<()> {
    call("remove", launcher, id, root).await
}

async fn call(task: &str, launcher: &Path, id: &str, root: &Path) -> Result<()> {
    let mut command = Command::new(launcher);
    command.arg(task).current_dir(root).env(ID, id).env(ROOT, root).kill_on_drop(true);
    let output = command.output().await.context("cannot start the launcher")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{} {task}: {}: {error}", launcher.display(), output.status);
    }
    Ok(())
}

fn hosts_file(peers: &[(String, String)]) -> String {
    let lines = peers.iter().map(|(name, address)| format!("{address} {name}\n"));
    format!("127.0.0.1 localhost\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_line_in_the_hosts_file() {
        let peers = [("hs1".to_owned(), "127.9.1.1".to_owned())];
        assert_eq!(hosts_file(&peers), "127.0.0.1 localhost\n127.9.1.1 hs1\n");
    }
}
