//! The library that stands between a server and its system calls (`conformance/faults/faults.c`).

use std::{
    env,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::servers::Spec;

const SOURCE: &str = include_str!("../../faults/faults.c");

/// What is wrong with the server's world, as `struct control` of the library has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Control {
    /// Whether there is no room for one byte more.
    pub(super) full: bool,
    /// Whether a sync does nothing and says that it did.
    pub(super) lies: bool,
    /// How far the clock is ahead, in milliseconds.
    pub(super) clock_ms: i64,
}

/// The library, what it is told, and what it tells.
#[derive(Debug)]
pub(super) struct Shim {
    directory: TempDir,
    files: String,
}

impl Shim {
    /// Compiles the library, by `cc` or what `CC` names. Its faults are about files whose path has `files`
    /// in it.
    pub(super) fn new(files: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("starling-faults-").tempdir()?;
        let source = directory.path().join("faults.c");
        fs::write(&source, SOURCE)?;
        let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let output = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O2", "-U_FORTIFY_SOURCE", "-pthread", "-o"])
            .arg(directory.path().join("faults.so"))
            .arg(&source)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("the faults need a C compiler: cannot start {compiler}"))?;
        if !output.status.success() {
            bail!("{compiler}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let shim = Self { directory, files: files.to_owned() };
        shim.set(Control::default())?;
        Ok(shim)
    }

    /// Has a server run behind the library.
    pub(super) fn before(&self, mut spec: Spec) -> Result<Spec> {
        for (name, value) in [
            ("LD_PRELOAD", self.path("faults.so")),
            ("FAULTS_CONTROL", self.path("control")),
            ("FAULTS_LOG", self.log()),
            ("FAULTS_FILES", PathBuf::from(&self.files)),
        ] {
            let value = value.to_str().context("the path of a temporary file is no text")?;
            spec.variables.push((name.to_owned(), value.to_owned()));
        }
        Ok(spec)
    }

    /// Begins and ends faults, while the server runs.
    pub(super) fn set(&self, control: Control) -> Result<()> {
        let Control { full, lies, clock_ms } = control;
        let fields = [i64::from(full), i64::from(lies), clock_ms];
        let bytes: Vec<u8> = fields.iter().flat_map(|field| field.to_ne_bytes()).collect();
        // In place and never shorter: the server has the file in its memory.
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(self.path("control"))?;
        Ok(file.write_all_at(&bytes, 0)?)
    }

    /// What was written and synced.
    pub(super) fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// Forgets what was logged. Only while no server runs.
    pub(super) fn forget(&self) -> Result<()> {
        ensure!(self.log().exists(), "the server does not run behind the library");
        Ok(fs::remove_file(self.log())?)
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }
}
