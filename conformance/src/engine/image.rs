//! Images: a launcher, labels, and the files that a commit kept.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{BaseImage, network::hex};
use crate::random;

/// What Docker puts where no tag is given.
const DEFAULT_TAG: &str = ":latest";
const ID_PREFIX: &str = "sha256:";

/// An image. What it was made from has no say in it any more.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) id: String,
    /// `name:tag`.
    pub(super) reference: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) launcher: PathBuf,
    /// The directory with a container's files; base images have none.
    pub(super) root: Option<PathBuf>,
}

impl Image {
    /// An image that is there from the start.
    pub(super) fn base(base: BaseImage) -> Result<Self> {
        Ok(Self {
            id: new_id()?,
            reference: with_tag(&base.name),
            labels: BTreeMap::new(),
            launcher: base.launcher,
            root: None,
        })
    }

    /// An image of a container's files, which are still to be copied to [`Self::root`].
    pub(super) fn committed(
        reference: &str,
        labels: BTreeMap<String, String>,
        launcher: PathBuf,
        images: &Path,
    ) -> Result<Self> {
        let id = new_id()?;
        let root = images.join(short(&id));
        Ok(Self { id, reference: with_tag(reference), labels, launcher, root: Some(root) })
    }

    /// Whether a request means this image: by its id, or by its name, with or without the tag.
    pub(super) fn is_called(&self, name: &str) -> bool {
        name == self.id || name == short(&self.id) || with_tag(name) == self.reference
    }
}

/// The id without the name of the hash.
pub(super) fn short(id: &str) -> &str {
    id.strip_prefix(ID_PREFIX).unwrap_or(id)
}

fn new_id() -> Result<String> {
    Ok(format!("{ID_PREFIX}{}", hex(&random::bytes::<32>()?)))
}

/// The host of a registry may hold a colon too, before the last slash.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') { name.to_owned() } else { format!("{name}{DEFAULT_TAG}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_by_its_names() {
        let base = BaseImage { name: "localhost:5000/server".to_owned(), launcher: PathBuf::new() };
        let image = Image::base(base).unwrap();
        assert!(image.is_called("localhost:5000/server"));
        assert!(image.is_called("localhost:5000/server:latest"));
        assert!(!image.is_called("localhost:5000/server:other"));
        assert!(!image.is_called("server"));
        assert!(image.is_called(&image.id));
        assert!(image.is_called(short(&image.id)));
    }
}
