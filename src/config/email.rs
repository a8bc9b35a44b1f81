//! The `email` section.

use std::path::PathBuf;

use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Secret, types};

/// The `email` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Email {
    /// The mail server that takes letters. Without one no letters are sent, and nobody has an e-mail
    /// address here.
    ///
    /// `client.public_url` must be set too: the links in the letters lead there.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) smtp_host: Option<String>,

    /// Its port; 0 is the usual one: 587 with `starttls`, 465 with `tls`, 25 with `none`.
    pub(crate) smtp_port: u16,

    /// How the connection is secured: it must become TLS (`starttls`), it is TLS from the beginning (`tls`),
    /// or it stays plain (`none`).
    ///
    /// `none` is for a mail server on the same machine.
    pub(crate) smtp_tls: SmtpTls,

    /// A file with a further certificate authority (PEM) that the mail server's certificate may come from,
    /// besides those the operating system trusts.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) smtp_ca_file: Option<PathBuf>,

    /// The user name at the mail server.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) smtp_user: Option<String>,

    /// The password at the mail server.
    pub(crate) smtp_password: Secret,

    /// From whom letters are, such as `Example <noreply@example.org>`.
    pub(crate) from: String,

    /// What letters call this server; the server name when it is empty.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) app_name: Option<String>,

    /// Whether clients are told at once that an address belongs to an account, or to none.
    ///
    /// Off, a letter tells whoever reads the letters of that address, and nobody else can find out who is
    /// here.
    pub(crate) tell_whether_known: bool,

    /// Hosts to which a client may have its user led after the link in a letter, such as
    /// `app.example.org`.
    ///
    /// Who would be led elsewhere sees a page of this server instead.
    pub(crate) next_link_hosts: Vec<String>,

    /// Domains that the e-mail addresses of users may be of, such as `example.org`: who registers or adds
    /// an address needs one of these. Empty: any.
    ///
    /// Addresses that accounts have already stay, and may be used for new passwords.
    pub(crate) allowed_domains: Vec<String>,

    /// For how many minutes a message is unread before a letter says so, to users who asked for letters about
    /// messages.
    pub(crate) notify_after_minutes: u32,

    /// How many minutes after such a letter the next one may follow. While a user reads nothing, each further
    /// one waits twice as long, up to a day.
    pub(crate) notify_again_minutes: u32,
}

/// How the connection to the mail server is secured.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum SmtpTls {
    /// It begins plain and must become TLS.
    Starttls,
    /// It is TLS from the beginning.
    Tls,
    /// It stays plain.
    None,
}

impl Default for Email {
    fn default() -> Self {
        Self {
            smtp_host: None,
            smtp_port: 0,
            smtp_tls: SmtpTls::Starttls,
            smtp_ca_file: None,
            smtp_user: None,
            smtp_password: Secret::default(),
            from: String::new(),
            app_name: None,
            tell_whether_known: false,
            next_link_hosts: Vec::new(),
            allowed_domains: Vec::new(),
            notify_after_minutes: 10,
            notify_again_minutes: 60,
        }
    }
}

impl Email {
    /// What is wrong, if anything is.
    pub(super) fn validate(&self, public_url: Option<&str>) -> Result<(), String> {
        if self.smtp_host.is_none() {
            return Ok(());
        }
        if public_url.is_none() {
            return Err(
                "`email.smtp_host` needs `client.public_url`, where letters lead".to_owned()
            );
        }
        self.from
            .parse::<Mailbox>()
            .map_err(|error| format!("`email.from` = {:?}: {error}", self.from))?;
        if self.smtp_user.is_some() != self.smtp_password.get().is_some() {
            return Err("`email.smtp_user` and `email.smtp_password` need each other".to_owned());
        }
        Ok(())
    }
}
