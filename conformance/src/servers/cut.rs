//! A network between servers that can be cut: each server is reached by the others through a proxy that
//! asks first who is connected to whom.

use std::{
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
};

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::ports;

/// A way from one server to another, through a port of its own.
#[derive(Debug)]
pub struct Way {
    /// Where the sender connects to.
    pub port: u16,
    open: Arc<watch::Sender<bool>>,
}

impl Way {
    /// An open way to the server that listens at `port`.
    pub async fn to(port: u16) -> Result<Self> {
        let own = ports::free()?;
        let listener = TcpListener::bind(SocketAddr::V4(ports::loopback(own))).await?;
        let open = Arc::new(watch::Sender::new(true));
        tokio::spawn(serve(listener, ports::loopback(port), open.subscribe()));
        Ok(Self { port: own, open })
    }

    /// Breaks every connection, and lets no new one through.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn heal(&self) {
        self.open.send_replace(true);
    }
}

/// Until the way is dropped.
async fn serve(listener: TcpListener, target: SocketAddrV4, mut open: watch::Receiver<bool>) {
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(_) => continue,
            },
            changed = open.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        // What cannot get through is as if nobody listened.
        if *open.borrow() {
            tokio::spawn(carry(stream, target, open.clone()));
        }
    }
}

async fn carry(mut from: TcpStream, target: SocketAddrV4, mut open: watch::Receiver<bool>) {
    let Ok(mut to) = TcpStream::connect(target).await else { return };
    let closed = async {
        while *open.borrow_and_update() {
            if open.changed().await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = copy_bidirectional(&mut from, &mut to) => {}
        () = closed => {}
    }
}
