//! A mail server of the tests' own: it takes every letter, and hands it to the test.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail_parser::MessageParser;
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
    /// The fields of its header as they were sent.
    pub header: String,
    /// Its body as plain text.
    pub text: String,
    /// Its body as HTML.
    pub html: String,
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
        let mut to = Vec::new();
        let mut credentials = None;
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
                    credentials = Some(plain_credentials(&line).context("no credentials")?);
                    b"235 welcome\r\n"
                }
                "RCPT" => {
                    let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                    to.push(address.to_owned());
                    b"250 ok\r\n"
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n").await?;
                    let to = std::mem::take(&mut to);
                    let letter = Letter {
                        to,
                        secured,
                        credentials: credentials.clone(),
                        ..parsed(&data(stream).await?).context("no letter")?
                    };
                    // Nobody listens when the test has ended.
                    let _ = self.letters.send(letter);
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
fn plain_credentials(line: &str) -> Option<(String, String)> {
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

/// Header and body of a letter (RFC 5322, RFC 2045).
fn parsed(letter: &str) -> Option<Letter> {
    let message = MessageParser::default().parse(letter)?;
    let (header, _) = letter.split_once("\r\n\r\n")?;
    Some(Letter {
        header: header.to_owned(),
        text: message.body_text(0)?.replace("\r\n", "\n"),
        html: message.body_html(0)?.into_owned(),
        ..Letter::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_password_are_read() {
        let wanted = ("user".to_owned(), "pass".to_owned());
        assert_eq!(plain_credentials("AUTH PLAIN AHVzZXIAcGFzcw==\r\n"), Some(wanted));
        assert_eq!(plain_credentials("AUTH LOGIN\r\n"), None);
    }

    #[test]
    fn only_the_body_is_decoded() {
        let letter = "Link: <a=3Db>\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3D3Db=\r\nc =C3=A4\r\n";
        let letter = parsed(letter).unwrap();
        assert!(letter.header.starts_with("Link: <a=3Db>\r\n"), "{letter:?}");
        assert_eq!(letter.text, "a=3Dbc ä\n");
    }
}
