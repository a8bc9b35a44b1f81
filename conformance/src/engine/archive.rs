//! Files that come into a container's directory, and copies of such directories.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use tokio::process::Command;

/// Unpacks a tar archive below `root`, at the container's path `at`.
pub(super) async fn unpack(archive: Bytes, root: PathBuf, at: PathBuf) -> Result<()> {
    tokio::task::spawn_blocking(move || unpack_now(&archive, &root, &at)).await?
}

fn unpack_now(archive: &[u8], root: &Path, at: &Path) -> Result<()> {
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = root.join(inside(at)?).join(inside(&entry.path()?)?);
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            std::fs::create_dir_all(&path)?;
        } else if kind.is_file() {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            let mut file = std::fs::File::create(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            std::io::copy(&mut entry, &mut file)?;
        } else {
            bail!("{} is neither a file nor a directory", path.display());
        }
    }
    Ok(())
}

/// A container's path, seen from its root. No links are ever unpacked, so `..` is all that could
/// lead out.
fn inside(path: &Path) -> Result<PathBuf> {
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                bail!("{} leads out of the container", path.display());
            }
        }
    }
    Ok(inside)
}

/// Copies a directory with owners, modes and times to a path that does not exist.
pub(super) async fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("cp");
    command.args(["--archive", "--reflink=auto", "--"]).arg(from).arg(to);
    let output = command.output().await.context("cannot start cp")?;
    if !output.status.success() {
        bail!("cp failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(name: &str, kind: tar::EntryType) -> Bytes {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        // Written into the field: the builder would refuse the names that matter here.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(4);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, &b"text"[..]).unwrap();
        builder.into_inner().unwrap().into()
    }

    #[test]
    fn an_absolute_path_is_unpacked_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let archive = archive("/complement/ca/ca.crt", tar::EntryType::Regular);
        unpack_now(&archive, root.path(), Path::new("/")).unwrap();
        let text = std::fs::read_to_string(root.path().join("complement/ca/ca.crt")).unwrap();
        assert_eq!(text, "text");
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        let parent = archive("../../outside", tar::EntryType::Regular);
        assert!(unpack_now(&parent, &deep, Path::new("/")).is_err());
        let harmless = archive("file", tar::EntryType::Regular);
        assert!(unpack_now(&harmless, &deep, Path::new("/../..")).is_err());
        let link = archive("link", tar::EntryType::Symlink);
        assert!(unpack_now(&link, &deep, Path::new("/")).is_err());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
