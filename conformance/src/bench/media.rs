//! Files: uploading and downloading them.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::Method;

use super::{
    Scenario,
    measure::{self, Series},
    stage::Stage,
};
use crate::{
    client::{Answer, User, path, text},
    random,
};

/// Files of one size go up and come down.
#[derive(Debug)]
pub(super) struct Media {
    name: String,
    size: usize,
    files: usize,
    user: Option<User>,
    contents: Vec<Bytes>,
    downloaded: Vec<(usize, Bytes)>,
}

impl Media {
    /// So many files of so many bytes.
    pub(super) fn new(name: String, size: usize, files: usize) -> Self {
        Self { name, size, files, user: None, contents: Vec::new(), downloaded: Vec::new() }
    }
}

impl Scenario for Media {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.user = Some(stage.user("photographer").await?);
            for _ in 0..self.files {
                // No two files are the same, and none is what a server would look into.
                let begin = random::bytes::<32>()?;
                self.contents.push(begin.iter().copied().cycle().take(self.size).collect());
            }
            Ok(())
        })
    }

    fn play<'a>(&'a mut self, stage: &'a Stage) -> LocalBoxFuture<'a, Result<Vec<Series>>> {
        Box::pin(async {
            let user = self.user.as_ref().context("nobody has files")?;
            let at_once = stage.concurrency.min(4);
            let files = self.contents.iter().enumerate();
            let (upload, uploaded) =
                measure::each("upload", at_once, files, |(number, content)| async move {
                    Ok((number, upload(user, content).await?))
                })
                .await?;
            let (download, downloaded) =
                measure::each("download", at_once, &uploaded, |(number, uri)| async move {
                    Ok((*number, download(user, uri).await?))
                })
                .await?;
            self.downloaded = downloaded;
            Ok(vec![upload, download])
        })
    }

    fn verify<'a>(&'a mut self, _: &'a Stage) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            ensure!(self.downloaded.len() == self.contents.len(), "a file is lost");
            for (number, bytes) in &self.downloaded {
                ensure!(self.contents.get(*number) == Some(bytes), "file {number} is another");
            }
            Ok(())
        })
    }
}

async fn upload(user: &User, content: &Bytes) -> Result<String> {
    let (target, kind) = ("/_matrix/media/v3/upload", "application/octet-stream");
    let answer = user.api.raw(Method::POST, target, kind, content.clone()).await?.ok()?;
    Ok(text(&answer, "/content_uri")?.to_owned())
}

async fn download(user: &User, uri: &str) -> Result<Bytes> {
    let parts = uri.strip_prefix("mxc://").and_then(|rest| rest.split_once('/'));
    let (server, id) = parts.with_context(|| format!("{uri} is no content URI"))?;
    let target = path("/_matrix/client/v1/media/download/{}/{}", &[server, id]);
    let request = user.api.builder(Method::GET, &target);
    Ok(Answer::read(format!("GET {target}"), request).await?.expect_status(200)?.bytes)
}
