//! A stand-in for a container engine: what Complement needs of one, with processes for containers.
//!
//! [`serve`] speaks the part of the Docker Engine API that Complement's client uses (`api`) and keeps
//! images, networks and containers (`depot`). A container is a process (`process`) that a launcher
//! becomes (`launcher`), with a loopback address of its own (`network`), a directory of its own, and
//! ports on 127.0.0.1 that lead to it (`ports`). Nothing survives this process (`watchdog`).
//! `docs/complement.md` describes it for people who use it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    net::UnixListener,
    process::Command,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

mod api;
mod archive;
mod container;
mod depot;
mod image;
mod launcher;
mod log;
mod names;
mod network;
mod ports;
mod process;
mod watchdog;

use depot::Depot;

/// The command line of `engine`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The Unix socket to listen on. Without one a temporary socket serves the command.
    #[arg(long, value_name = "PATH", required_unless_present = "command")]
    pub socket: Option<PathBuf>,

    /// An image, and the program that starts a server of it. May be given several times.
    #[arg(long = "image", value_name = "NAME=LAUNCHER", required = true)]
    pub images: Vec<BaseImage>,

    /// A command to run with DOCKER_HOST set; the engine ends with it.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// An image that is there from the start.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// The name by which containers ask for it.
    pub name: String,
    /// The program that starts a server of it.
    pub launcher: PathBuf,
}

impl FromStr for BaseImage {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, launcher) = text.split_once('=').context("expected NAME=LAUNCHER")?;
        let launcher = Path::new(launcher)
            .canonicalize()
            .with_context(|| format!("there is no launcher {launcher}"))?;
        Ok(Self { name: name.to_owned(), launcher })
    }
}

/// Runs the engine until the command ends, or until SIGINT or SIGTERM when there is none. Tells
/// whether the command was successful.
///
/// # Errors
///
/// When the socket cannot be made, or the command cannot be started.
pub async fn run(options: Options) -> Result<bool> {
    log_to_stderr();
    let temporary = tempfile::tempdir()?;
    let socket = options.socket.unwrap_or_else(|| temporary.path().join("engine.sock"));
    let depot = Arc::new(Depot::new(options.images).await?);
    let ended = async {
        if options.command.is_empty() { Ok(true) } else { command(&options.command, &socket).await }
    };
    let listener = listen(&socket)?;
    let outcome = tokio::select! {
        served = serve(listener, depot.clone()) => served.map(|()| false),
        outcome = ended, if !options.command.is_empty() => outcome,
        stopped = stop_signal() => stopped.map(|()| options.command.is_empty()),
    };
    depot.clear().await;
    // Nothing listens there any more; a path that is already gone is no failure.
    let _ = std::fs::remove_file(&socket);
    outcome
}

/// Listens on a Unix socket whose path may be left over from an engine that was killed.
///
/// # Errors
///
/// When another engine listens there, or the system refuses.
pub fn listen(socket: &Path) -> Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(socket).is_ok() {
        bail!("something listens on {} already", socket.display());
    }
    let _ = std::fs::remove_file(socket);
    UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))
}

/// Answers requests for ever.
async fn serve(listener: UnixListener, depot: Arc<Depot>) -> Result<()> {
    Ok(axum::serve(listener, api::router(depot)).await?)
}

async fn command(words: &[OsString], socket: &Path) -> Result<bool> {
    let (program, arguments) = words.split_first().context("no command")?;
    let status = Command::new(program)
        .args(arguments)
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("cannot run {}", program.display()))?;
    Ok(status.success())
}

/// Warnings, or what RUST_LOG asks for. A test program may log in its own way already.
fn log_to_stderr() {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

async fn stop_signal() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
