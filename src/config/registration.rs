//! The `registration` section.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RegistrationMode, Secret, types};

/// The `registration` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Registration {
    /// Who may register: nobody (`closed`), holders of a registration token (`token`), or
    /// everybody (`open`).
    pub(crate) mode: RegistrationMode,

    /// Whether guests are let in: anybody gets an account without a name or password, which reads what
    /// everybody may and joins rooms that let guests in.
    pub(crate) guests: bool,

    /// The secret for `/_synapse/admin/v1/register`, by which scripts make accounts.
    ///
    /// Without one that address does not exist.
    pub(crate) shared_secret: Secret,

    /// Whether one must show an e-mail address when registering. Otherwise one may, if `email.smtp_host` is
    /// set.
    pub(crate) require_email: bool,

    /// Documents that one must agree to when registering. Each has an `id` that stays the same over
    /// its versions, a `version`, an English `name` with its `url`, and `translations` if there are any.
    ///
    /// `[{ id = "privacy", version = "2", name = "Privacy policy", url = "https://example.org/p2",
    /// translations.fr = { name = "Confidentialité", url = "https://example.org/p2-fr" } }]`
    pub(crate) terms: Vec<Terms>,

    /// Captchas that one must solve when registering (Google reCAPTCHA 2).
    pub(crate) recaptcha: Recaptcha,
}

/// A document that one must agree to.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    /// A short name that stays the same over its versions.
    pub(crate) id: String,
    /// The version.
    pub(crate) version: String,
    /// What it is called, in English.
    pub(crate) name: String,
    /// Where it can be read.
    pub(crate) url: String,
    /// The same in other languages, by their codes (`fr`, `pt-BR`).
    #[serde(default)]
    pub(crate) translations: BTreeMap<String, Translation>,
}

/// A document in another language.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Translation {
    /// What it is called.
    pub(crate) name: String,
    /// Where it can be read.
    pub(crate) url: String,
}

/// The `registration.recaptcha` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Recaptcha {
    /// The public key of this site. Without one nobody solves captchas.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) site_key: Option<String>,

    /// The secret key of this site.
    pub(crate) secret_key: Secret,

    /// Where this server asks whether a captcha is solved.
    pub(crate) verify_url: String,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            mode: RegistrationMode::Token,
            guests: false,
            shared_secret: Secret::default(),
            require_email: false,
            terms: Vec::new(),
            recaptcha: Recaptcha::default(),
        }
    }
}

impl Default for Recaptcha {
    fn default() -> Self {
        Self {
            site_key: None,
            secret_key: Secret::default(),
            verify_url: "https://www.google.com/recaptcha/api/siteverify".to_owned(),
        }
    }
}

impl Registration {
    /// What is wrong, if anything is.
    pub(super) fn validate(&self, has_email: bool) -> Result<(), String> {
        let recaptcha = &self.recaptcha;
        if recaptcha.site_key.is_some() != recaptcha.secret_key.get().is_some() {
            return Err("`registration.recaptcha` needs `site_key` and `secret_key`".to_owned());
        }
        let url = &recaptcha.verify_url;
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(format!(
                "`registration.recaptcha.verify_url` = {url:?} is no http(s) address"
            ));
        }
        if self.require_email && !has_email {
            return Err("`registration.require_email` needs `email.smtp_host`".to_owned());
        }
        Ok(())
    }
}
