//! The way to the mail server, to whoever makes captchas, to application services and push gateways, and to
//! the web.

mod web;

use std::{fmt, fs, path::Path, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header;
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use serde::Deserialize;
use starling_engine::{
    outside::{FetchLimits, Fetched, Letter, Outside, OutsideError, ServiceError},
    remote::Limits,
};
use url::Url;

use self::web::Web;
use crate::config::{Config, Email, Recaptcha, SmtpTls};

/// How long the mail server may take for one step of the conversation.
const SMTP_PATIENCE: Duration = Duration::from_secs(20);

/// How long a captcha may take to be verified.
const CAPTCHA_PATIENCE: Duration = Duration::from_secs(10);

/// How long an application service may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How large the answer to that may be, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// What the configuration sets up.
pub(crate) struct World {
    mail: Option<(Mailbox, AsyncSmtpTransport<Tokio1Executor>)>,
    captcha: Option<Captcha>,
    web: Web,
    gateways: Web,
    services: reqwest::Client,
}

struct Captcha {
    http: reqwest::Client,
    verify_url: String,
    secret_key: String,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("mail", &self.mail.is_some())
            .field("captcha", &self.captcha.is_some())
            .finish()
    }
}

impl World {
    /// # Errors
    ///
    /// When TLS cannot be set up.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let email = Some(&config.email).filter(|email| email.smtp_host.is_some());
        let recaptcha = Some(&config.registration.recaptcha);
        let recaptcha = recaptcha.filter(|recaptcha| recaptcha.site_key.is_some());
        Ok(Self {
            mail: email.map(mail).transpose()?,
            captcha: recaptcha.map(captcha).transpose()?,
            web: Web::new(config.media.allow_private_addresses)?,
            gateways: Web::new(config.push.allow_private_addresses)?,
            services: services()?,
        })
    }
}

fn mail(email: &Email) -> anyhow::Result<(Mailbox, AsyncSmtpTransport<Tokio1Executor>)> {
    let from = email.from.parse().context("`email.from` is not an address")?;
    let host = email.smtp_host.as_deref().unwrap_or_default();
    let parameters = || tls(host, email.smtp_ca_file.as_deref());
    let (tls, usual_port) = match email.smtp_tls {
        SmtpTls::Tls => (Tls::Wrapper(parameters()?), 465),
        SmtpTls::Starttls => (Tls::Required(parameters()?), 587),
        SmtpTls::None => (Tls::None, 25),
    };
    let port = if email.smtp_port == 0 { usual_port } else { email.smtp_port };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(port)
        .tls(tls)
        .timeout(Some(SMTP_PATIENCE));
    if let (Some(user), Some(password)) = (&email.smtp_user, email.smtp_password.get()) {
        transport = transport.credentials(Credentials::new(user.clone(), password.to_owned()));
    }
    Ok((from, transport.build()))
}

/// How the mail server shows that it is the one that is meant.
fn tls(host: &str, ca_file: Option<&Path>) -> anyhow::Result<TlsParameters> {
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca_file {
        let cannot = || format!("cannot use {}, which `email.smtp_ca_file` names", path.display());
        let pem = fs::read(path).with_context(cannot)?;
        parameters =
            parameters.add_root_certificate(Certificate::from_pem(&pem).with_context(cannot)?);
    }
    Ok(parameters.build()?)
}

/// Where an application service listens is written down by the administrator: it leads nowhere else.
fn services() -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    Ok(client)
}

fn captcha(recaptcha: &Recaptcha) -> anyhow::Result<Captcha> {
    let http = reqwest::Client::builder()
        .timeout(CAPTCHA_PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(Captcha {
        http,
        verify_url: recaptcha.verify_url.clone(),
        secret_key: recaptcha.secret_key.get().unwrap_or_default().to_owned(),
    })
}

#[async_trait]
impl Outside for World {
    async fn send_letter(&self, letter: Letter) -> Result<(), OutsideError> {
        let failed = |error: &dyn fmt::Display| OutsideError(error.to_string());
        let Some((from, transport)) = &self.mail else {
            return Err(OutsideError("no mail server is set up".to_owned()));
        };
        let to: Mailbox = Mailbox::new(None, letter.to.parse().map_err(|error| failed(&error))?);
        let mut message = Message::builder()
            .from(from.clone())
            .to(to)
            .subject(letter.subject)
            .message_id(None)
            .multipart(MultiPart::alternative_plain_html(letter.text, letter.html))
            .map_err(|error| failed(&error))?;
        if let Some(link) = letter.unsubscribe {
            for (name, value) in [
                ("List-Unsubscribe", format!("<{link}>")),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()),
            ] {
                let name = HeaderName::new_from_ascii_str(name);
                // A link has nothing that would have to be encoded, and must not be folded.
                let value = HeaderValue::dangerous_new_pre_encoded(name, value.clone(), value);
                message.headers_mut().insert_raw(value);
            }
        }
        transport.send(message).await.map_err(|error| failed(&error))?;
        Ok(())
    }

    async fn is_captcha_solved(&self, response: String) -> Result<bool, OutsideError> {
        let Some(captcha) = &self.captcha else {
            return Err(OutsideError("captchas are not set up".to_owned()));
        };
        captcha.verify(&response).await.map_err(|error| OutsideError(format!("{error:#}")))
    }

    async fn fetch(&self, url: &Url, limits: FetchLimits) -> Result<Fetched, OutsideError> {
        self.web.fetch(url, limits).await
    }

    async fn notify_gateway(
        &self,
        url: &Url,
        body: Bytes,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, OutsideError> {
        self.gateways.post(url, body, limits).await
    }

    async fn ask_service(
        &self,
        request: http::Request<Bytes>,
        limits: Limits,
    ) -> Result<http::Response<Bytes>, ServiceError> {
        let asked = self.send_to_service(request, limits.max_body);
        tokio::time::timeout(limits.timeout, asked).await.unwrap_or(Err(ServiceError::TimedOut))
    }
}

impl World {
    async fn send_to_service(
        &self,
        request: http::Request<Bytes>,
        max_body: usize,
    ) -> Result<http::Response<Bytes>, ServiceError> {
        let request = request.try_into().map_err(service_error)?;
        let mut answer = self.services.execute(request).await.map_err(service_error)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(service_error)? {
            if body.len() + chunk.len() > max_body {
                return Err(ServiceError::Failed(format!("it said more than {max_body} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = http::Response::new(body.freeze());
        *response.status_mut() = answer.status();
        Ok(response)
    }
}

/// Without the address: a path of the application service may be nobody else's business.
fn service_error(error: reqwest::Error) -> ServiceError {
    match error.is_timeout() {
        true => ServiceError::TimedOut,
        false => ServiceError::Failed(format!("{:#}", anyhow::Error::new(error.without_url()))),
    }
}

impl Captcha {
    async fn verify(&self, response: &str) -> anyhow::Result<bool> {
        #[derive(Deserialize)]
        struct Verdict {
            #[serde(default)]
            success: bool,
        }
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("secret", &self.secret_key)
            .append_pair("response", response)
            .finish();
        let request = self
            .http
            .post(&self.verify_url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        // An error of the client shows the address, but neither secret nor response.
        let mut answer = request.send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            anyhow::ensure!(body.len() + chunk.len() <= LARGEST_ANSWER, "the answer is too large");
            body.extend_from_slice(&chunk);
        }
        Ok(serde_json::from_slice::<Verdict>(&body)?.success)
    }
}
