//! A place for so many bytes and no more.

use std::io::{self, ErrorKind, Write};

/// Takes bytes as long as there is place for them.
#[derive(Debug)]
pub(super) struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Bounded {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Puts bytes in the place of others, if those are there.
    pub(super) fn replace<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(there) = self.bytes.get_mut(at..at + N) {
            there.copy_from_slice(&bytes);
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
