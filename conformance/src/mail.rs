//! A mail server of the tests' own: it takes every letter, and hands it to the test.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    sync::{Mutex, mpsc},
};
use tokio_rustls::TlsAcceptor;

use crate::servers::TestCa;

/// How long a letter may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A letter as it came in.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    /// Who takes it.
    pub to: Vec<String>,
    /// Header and body, with line feeds only, and what was quoted printably decoded.
    pub text: String,
    /// Whether it came over TLS.
    pub secured: bool,
    /// The name and the password of who brought it, where they said so.
    pub credentials: Option<(String, String)>,
}

impl Letter {
    /// The first link in the plain text.
    pub fn link(&self) -> Result<&str> {
        let line = self.text.lines().find(|line| line.starts_with("http"));
        line.with_context(|| format!("no link in {}", self.text))
    }
}

/// How connections to a mail server are secured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Security {
    /// Never.
    None,
    /// When the client asks for it (STARTTLS, RFC 3207).
    OnDemand,
    /// From the beginning.
    Always,
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
    /// Starts one on a free port, which knows no TLS.
    pub async fn start() -> Result<Self> {
        Self::listen(Security::None, None).await
    }

    /// Starts one on a free port, with a certificate of this authority for `host`.
    pub async fn start_secured(security: Security, ca: &TestCa, host: &str) -> Result<Self> {
        Self::listen(security, Some(acceptor(ca, host)?)).await
    }

    async fn listen(security: Security, tls: Option<TlsAcceptor>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (sender, letters) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let client = Client { security, tls: tls.clone(), letters: sender.clone() };
                tokio::spawn(async move { client.serve(stream).await });
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

fn acceptor(ca: &TestCa, host: &str) -> Result<TlsAcceptor> {
    let (certificate, key) = ca.certificate_for(&[host])?;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a connection is served with.
struct Client {
    security: Security,
    tls: Option<TlsAcceptor>,
    letters: mpsc::UnboundedSender<Letter>,
}

impl Client {
    async fn serve(&self, stream: impl Stream + 'static) -> Result<()> {
        let mut stream: Box<dyn Stream> = Box::new(stream);
        let mut secured = self.security == Security::Always;
        if secured {
            stream = self.secure(stream).await?;
        }
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mail.test\r\n").await?;
        while self.converse(&mut stream, secured).await? == Next::Secure {
            stream.write_all(b"220 go on\r\n").await?;
            // What a client sent before it is secured counts for nothing: the buffer is dropped.
            stream = BufReader::new(self.secure(stream.into_inner()).await?);
            secured = true;
        }
        Ok(())
    }

    async fn secure(&self, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>> {
        let tls = self.tls.as_ref().context("there is no certificate")?;
        Ok(Box::new(tls.accept(stream).await?))
    }

    /// The commands of RFC 5321, until the end or until the connection is to be secured.
    async fn converse(
        &self,
        stream: &mut BufReader<Box<dyn Stream>>,
        secured: bool,
    ) -> Result<Next> {
        let offers_tls = self.security == Security::OnDemand && !secured;
        let mut letter = Letter { secured, ..Letter::default() };
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(Next::End);
            }
            let verb = line.split([' ', ':', '\r']).next().unwrap_or_default();
            let answer: &[u8] = match verb.to_ascii_uppercase().as_str() {
                "EHLO" if offers_tls => b"250-mail.test\r\n250 STARTTLS\r\n",
                "EHLO" if secured => b"250-mail.test\r\n250 AUTH PLAIN\r\n",
                "EHLO" | "HELO" => b"250 mail.test\r\n",
                "STARTTLS" if offers_tls => return Ok(Next::Secure),
                "AUTH" if secured => {
                    letter.credentials = Some(credentials(&line).context("no credentials")?);
                    b"235 welcome\r\n"
                }
                "RCPT" => {
                    let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                    letter.to.push(address.to_owned());
                    b"250 ok\r\n"
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n").await?;
                    letter.text = decoded(&data(stream).await?);
                    let next = Letter { to: Vec::new(), text: String::new(), ..letter.clone() };
                    // Nobody listens when the test has ended.
                    let _ = self.letters.send(std::mem::replace(&mut letter, next));
                    b"250 ok\r\n"
                }
                "QUIT" => {
                    stream.write_all(b"221 bye\r\n").await?;
                    return Ok(Next::End);
                }
                "MAIL" | "RSET" | "NOOP" => b"250 ok\r\n",
                _ => b"502 no\r\n",
            };
            stream.write_all(answer).await?;
        }
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Next {
    Secure,
    End,
}

/// Name and password of `AUTH PLAIN` with an initial response (RFC 4616).
fn credentials(line: &str) -> Option<(String, String)> {
    let response = line.trim().strip_prefix("AUTH PLAIN ")?;
    let response = String::from_utf8(STANDARD.decode(response).ok()?).ok()?;
    let mut parts = response.split('\0').skip(1).map(str::to_owned);
    Some((parts.next()?, parts.next()?))
}

async fn data(stream: &mut BufReader<Box<dyn Stream>>) -> Result<String> {
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
    use super::*;

    #[test]
    fn a_name_and_a_password_are_read() {
        let wanted = ("user".to_owned(), "pass".to_owned());
        assert_eq!(credentials("AUTH PLAIN AHVzZXIAcGFzcw==\r\n"), Some(wanted));
        assert_eq!(credentials("AUTH LOGIN\r\n"), None);
    }

    #[test]
    fn quoted_printable_text_is_decoded() {
        let text = "Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc =C3=A4\r\n";
        assert!(decoded(text).ends_with("\n\na=bc ä\n"), "{}", decoded(text));
    }
}
