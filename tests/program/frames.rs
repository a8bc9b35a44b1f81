//! Frames of HTTP/2 that cost their sender nothing: whoever sends them without end is got rid of, or
//! answered, and nobody else waits.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp::OwnedReadHalf},
    time::timeout,
};

use crate::process::{Server, http};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `GET http://x/` in the compression of heads.
const HEAD: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 0x01, b'x'];
/// How many frames a flood has.
const MANY: u32 = 20_000;
/// How long a flood may last, and somebody else wait, in a debug build beside other tests.
const PATIENCE: Duration = Duration::from_secs(60);
const SWIFT: Duration = Duration::from_secs(5);

/// The `n`th frames of a flood.
type Frames = Box<dyn Fn(u32) -> Vec<u8>>;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads and throws away, as a client does that does not want to be held up.
async fn drain(mut reading: OwnedReadHalf) {
    let mut buffer = vec![0; 64 * 1024];
    while reading.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// A flood, frame by frame; the stream number of the `n`th request is `2n + 1`.
async fn flood(server: &Server, frames: impl Fn(u32) -> Vec<u8>) {
    let address = server.client.trim_start_matches("http://");
    let (reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
    let draining = tokio::spawn(drain(reading));
    let sending = async {
        writing.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await?;
        for start in (0..MANY).step_by(100) {
            let some: Vec<u8> = (start..start + 100).flat_map(&frames).collect();
            writing.write_all(&some).await?;
        }
        writing.shutdown().await
    };
    // Whoever floods may be cut off in the middle of it.
    let _ = timeout(PATIENCE, sending).await.expect("the flood was not taken, nor cut off");
    timeout(PATIENCE, draining).await.expect("the connection stays").unwrap();
}

#[tokio::test]
async fn floods_of_frames_stop_nobody_else() {
    let server = Server::start(&[]).await;
    let id = |number: u32| 2 * number + 1;
    let opened = move |number: u32| frame(1, 0x04, id(number), &HEAD);
    let floods: [(&str, Frames); 8] = [
        ("settings", Box::new(|_| frame(4, 0, 0, &[]))),
        ("pings", Box::new(|_| frame(6, 0, 0, &[0; 8]))),
        ("windows", Box::new(|_| frame(8, 0, 0, &[0, 0, 0, 1]))),
        ("priorities", Box::new(move |n| frame(2, 0, id(n), &[0, 0, 0, 0, 1]))),
        (
            "requests that are taken back",
            Box::new(move |n| [opened(n), frame(3, 0, id(n), &[0, 0, 0, 8])].concat()),
        ),
        (
            "empty pieces of a body",
            Box::new(move |n| match n {
                0 => opened(0),
                _ => frame(0, 0, 1, &[]),
            }),
        ),
        (
            "a head without end",
            Box::new(move |n| match n {
                0 => frame(1, 0, 1, &HEAD),
                _ => frame(9, 0, 1, &[0x40, 1, b'x', 1, b'y']),
            }),
        ),
        (
            "empty pieces of a head",
            Box::new(move |n| match n {
                0 => frame(1, 0, 1, &HEAD),
                _ => frame(9, 0, 1, &[]),
            }),
        ),
    ];
    let http = http();
    for (name, frames) in floods {
        let ask = async {
            let begun = Instant::now();
            let target = format!("{}/_matrix/client/versions", server.client);
            let answer = http.get(target).send().await.unwrap();
            (answer.status().as_u16(), begun.elapsed())
        };
        let ((), (status, waited)) = tokio::join!(flood(&server, frames), ask);
        assert_eq!(status, 200, "{name}");
        assert!(waited < SWIFT, "{name}: somebody waited {waited:?}");
    }
}
