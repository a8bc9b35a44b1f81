//! What one peer can hold of a listener.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::process::Server;

const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(url: &str) -> TcpStream {
    let address = url.trim_start_matches("https://").trim_start_matches("http://");
    TcpStream::connect(address).await.unwrap()
}

/// What arrives until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is a way to close.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("never closed");
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let server = Server::start(&[("STARLING__LIMITS__HEADER_SECONDS", "1")]).await;
    for url in [&server.client, &server.federation] {
        let mut stream = connect(url).await;
        stream.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        assert!(!rest(&mut stream).await.contains("200"));
    }
}

#[tokio::test]
async fn connections_above_the_limit_are_closed() {
    let server = Server::start(&[("STARLING__LIMITS__CONNECTIONS", "1")]).await;
    let request = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = connect(&server.client).await;
    first.write_all(request).await.unwrap();
    let mut answer = [0; 15];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");

    let mut second = connect(&server.client).await;
    let _ = second.write_all(request).await;
    assert_eq!(rest(&mut second).await, "");

    drop(first);
    let answered = async {
        loop {
            let mut third = connect(&server.client).await;
            let _ = third.write_all(b"GET /health/live HTTP/1.0\r\n\r\n").await;
            if rest(&mut third).await.contains("200 OK") {
                break;
            }
        }
    };
    timeout(PATIENCE, answered).await.expect("the place was never free again");
}

#[tokio::test]
async fn a_body_that_stops_half_way_is_not_waited_for() {
    let server = Server::start(&[("STARLING__LIMITS__BODY_SECONDS", "1")]).await;
    for framing in ["content-length: 100\r\n\r\n{", "transfer-encoding: chunked\r\n\r\n64\r\n{"] {
        let mut stream = connect(&server.client).await;
        let head = "POST /_matrix/client/v3/login HTTP/1.1\r\nhost: x\r\n";
        stream.write_all(format!("{head}{framing}").as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{framing:?}: {answer}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let server = Server::start(&[]).await;
    let long = "x".repeat(1 << 20);
    let many: String = (0..5_000).map(|number| format!("x-{number}: y\r\n")).collect();
    for head in [
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET /?access_token={long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
    ] {
        let mut stream = connect(&server.client).await;
        // The connection may be closed before all of it has gone out.
        let _ = stream.write_all(head.as_bytes()).await;
        let answer = rest(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
}
