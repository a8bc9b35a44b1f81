//! A bare handler: what a server of the same library can do that only answers.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::Router;
use http::header;

use crate::{client::Api, servers::ports};

const POLL: Duration = Duration::from_millis(10);
const POLLS: usize = 1_000;

/// The command line of the process that answers.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Where it listens.
    listen: SocketAddr,
    /// What it answers.
    body: String,
}

/// Answers every request with the same bytes, until it is ended.
///
/// # Errors
///
/// When the address is taken.
pub async fn serve(options: Options) -> Result<bool> {
    let body = bytes::Bytes::from(options.body);
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], body) };
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    axum::serve(listener, Router::new().fallback(answer)).await?;
    Ok(true)
}

/// The process, which ends with this.
#[derive(Debug)]
pub(super) struct Handler {
    process: Child,
    pub(super) url: String,
}

impl Handler {
    /// Starts one and waits until it answers.
    pub(super) async fn start(body: &str) -> Result<Self> {
        let listen = ports::loopback(ports::free()?).to_string();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "handler", &listen, body]).stdin(Stdio::null());
        let process = command.spawn().context("cannot start the handler")?;
        let handler = Self { process, url: format!("http://{listen}") };
        let api = Api::at(&handler.url)?;
        for _ in 0..POLLS {
            if api.get("/").await.is_ok() {
                return Ok(handler);
            }
            tokio::time::sleep(POLL).await;
        }
        anyhow::bail!("the handler does not answer")
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
