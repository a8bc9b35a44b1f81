//! A mail server of the tests' own: it takes every letter, and hands it to the test.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Mutex, mpsc},
};

/// How long a letter may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A letter as it came in.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    /// Who takes it.
    pub to: Vec<String>,
    /// Header and body, with line feeds only, and what was quoted printably decoded.
    pub text: String,
}

impl Letter {
    /// The first link in the plain text.
    pub fn link(&self) -> Result<&str> {
        let line = self.text.lines().find(|line| line.starts_with("http"));
        line.with_context(|| format!("no link in {}", self.text))
    }
}

/// A mail server that runs until it is dropped.
#[derive(Debug)]
pub struct MailServer {
    port: u16,
    letters: Mutex<mpsc::UnboundedReceiver<Letter>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl MailServer {
    /// Starts one on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (sender, letters) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move { converse(stream, &sender).await });
            }
        });
        Ok(Self { port, letters: Mutex::new(letters), task })
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next letter.
    pub async fn next(&self) -> Result<Letter> {
        let mut letters = self.letters.lock().await;
        let letter = tokio::time::timeout(PATIENCE, letters.recv()).await;
        letter.context("no letter came")?.context("the mail server has ended")
    }

    /// Whether nothing has come in that was not taken.
    pub async fn is_empty(&self) -> bool {
        self.letters.lock().await.is_empty()
    }
}

/// One client, as RFC 5321 has it; it offers no TLS.
async fn converse(stream: TcpStream, letters: &mpsc::UnboundedSender<Letter>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.test\r\n").await?;
    let mut letter = Letter::default();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.split([' ', ':', '\r']).next().unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" | "HELO" => b"250 mail.test\r\n",
            "RCPT" => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                letter.to.push(address.to_owned());
                b"250 ok\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                letter.text = decoded(&data(&mut stream).await?);
                // Nobody listens when the test has ended.
                let _ = letters.send(std::mem::take(&mut letter));
                b"250 ok\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            "MAIL" | "RSET" | "NOOP" => b"250 ok\r\n",
            _ => b"502 no\r\n",
        };
        stream.write_all(answer).await?;
    }
}

async fn data(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}

fn decoded(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    if !text.contains("quoted-printable") {
        return text;
    }
    let text = text.replace("=\n", "");
    let mut pieces = text.split('=');
    let mut decoded = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let code = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (code, piece.get(2..)) {
            (Some(byte), Some(rest)) => {
                decoded.push(byte);
                decoded.extend_from_slice(rest.as_bytes());
            }
            _ => {
                decoded.push(b'=');
                decoded.extend_from_slice(piece.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn quoted_printable_text_is_decoded() {
        let text = "Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc =C3=A4\r\n";
        assert!(decoded(text).ends_with("\n\na=bc ä\n"), "{}", decoded(text));
    }
}
