//! A container's log, kept in the framing in which it is handed out.
//!
//! A frame is one byte for the stream (1 standard output, 2 standard error), three zero bytes, the
//! length as four bytes, most significant first, and the text.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    sync::Mutex,
};

/// Standard output.
pub(super) const OUTPUT: u8 = 1;
/// Standard error.
pub(super) const ERROR: u8 = 2;

const HEAD: usize = 8;
const MOST: usize = 16 * 1024;

/// The log file of a container.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Mutex<File>,
}

impl Log {
    /// Opens the log, which may hold what earlier runs wrote.
    pub(super) async fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path).await;
        let file = file.with_context(|| format!("cannot open the log {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Copies a stream to its end.
    pub(super) async fn record(&self, stream: u8, mut from: impl AsyncRead + Unpin) -> Result<()> {
        let mut buffer = vec![0; MOST];
        loop {
            let length = from.read(&mut buffer).await?;
            let Some(text) = buffer.get(..length).filter(|text| !text.is_empty()) else {
                return Ok(());
            };
            let mut file = self.file.lock().await;
            file.write_all(&frame(stream, text)?).await?;
            file.flush().await?;
        }
    }

    /// The frames of the streams that are wanted.
    pub(super) async fn read(&self, wanted: &[u8]) -> Result<Vec<u8>> {
        let _quiet = self.file.lock().await;
        Ok(select(&tokio::fs::read(&self.path).await?, wanted))
    }
}

fn frame(stream: u8, text: &[u8]) -> Result<Vec<u8>> {
    let mut frame = vec![stream, 0, 0, 0];
    frame.extend(u32::try_from(text.len())?.to_be_bytes());
    frame.extend(text);
    Ok(frame)
}

fn select(frames: &[u8], wanted: &[u8]) -> Vec<u8> {
    let mut selected = Vec::new();
    let mut rest = frames;
    while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
        let [stream, _, _, _, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let text = after.get(..length).unwrap_or(after);
        if wanted.contains(&stream) {
            selected.extend(head);
            selected.extend(text);
        }
        rest = after.get(length..).unwrap_or_default();
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_are_framed_and_can_be_chosen() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::open(&directory.path().join("log")).await.unwrap();
        log.record(OUTPUT, &b"out"[..]).await.unwrap();
        log.record(ERROR, &b"error"[..]).await.unwrap();
        let both = log.read(&[OUTPUT, ERROR]).await.unwrap();
        assert_eq!(both, b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x05error");
        assert_eq!(log.read(&[ERROR]).await.unwrap(), b"\x02\0\0\0\0\0\0\x05error");
    }

    #[tokio::test]
    async fn a_long_text_takes_several_frames() {
        let directory = tempfile::tempdir().unwrap();
        let log = Log::open(&directory.path().join("log")).await.unwrap();
        log.record(OUTPUT, &vec![b'x'; 2 * MOST + 1][..]).await.unwrap();
        let all = log.read(&[OUTPUT]).await.unwrap();
        assert_eq!(all.len(), 2 * MOST + 1 + 3 * HEAD);
    }

    #[tokio::test]
    async fn a_second_run_is_appended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        Log::open(&path).await.unwrap().record(OUTPUT, &b"a"[..]).await.unwrap();
        let log = Log::open(&path).await.unwrap();
        log.record(OUTPUT, &b"b"[..]).await.unwrap();
        assert_eq!(
            log.read(&[OUTPUT]).await.unwrap(),
            b"\x01\0\0\0\0\0\0\x01a\x01\0\0\0\0\0\0\x01b"
        );
    }
}
