//! Bytes on a connection, as no HTTP library would send them.

use std::time::Duration;

use starling_conformance::servers::Server;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// How long the server may take to close a connection that it is done with.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to the client listener.
async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.client_url().trim_start_matches("http://")).await.unwrap()
}

/// Sends these bytes and gives back everything that comes until the server closes the connection.
pub(super) async fn exchange(server: &Server, request: &[u8]) -> String {
    let mut stream = connect(server).await;
    // Who is refused early may find the connection closed; what was answered is still to be read.
    let _ = stream.write_all(request).await;
    rest(&mut stream).await
}

/// What comes until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("never closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The statuses of the answers in what came, in their order.
pub(super) fn statuses(text: &str) -> Vec<u16> {
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line.get(..3).unwrap_or_default().parse().unwrap()).collect()
}

/// One `GET` of a target as it is written here, without any tidying up.
pub(super) async fn get(server: &Server, target: &str) -> (u16, String) {
    let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let text = exchange(server, request.as_bytes()).await;
    let status = statuses(&text).first().copied().unwrap_or_default();
    (status, text)
}
