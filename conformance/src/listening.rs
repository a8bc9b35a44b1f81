//! What a service of the tests' own listens with: it can be gone, and come back where it was.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use axum::Router;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    router: Router,
    task: Option<JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.go();
    }
}

impl Listening {
    /// Begins on a free port.
    pub async fn start(router: Router) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut listening = Self { address: listener.local_addr()?, router, task: None };
        listening.serve(listener);
        Ok(listening)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops: connections are refused.
    pub fn go(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Listens again where it did.
    pub async fn come_back(&mut self) -> Result<()> {
        // The old listener ends with its task, which takes a moment.
        for _ in 0..500 {
            match TcpListener::bind(self.address).await {
                Ok(listener) => {
                    self.serve(listener);
                    return Ok(());
                }
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
        anyhow::bail!("{} is taken", self.address)
    }

    fn serve(&mut self, listener: TcpListener) {
        let router = self.router.clone();
        self.task = Some(tokio::spawn(async move {
            // Ends with the task only.
            let _ = axum::serve(listener, router).await;
        }));
    }
}
