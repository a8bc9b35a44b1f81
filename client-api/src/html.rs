//! Pages for people: small, without anything from elsewhere unless a page says so.
//!
//! What a page shows is escaped, and nothing on it runs or is styled but what has the nonce of this
//! very answer.

use axum::{body::Body, response::Response};
/// A text that means nothing to HTML, in an element or in a quoted attribute.
pub(crate) use html_escape::encode_quoted_attribute as escape;
use http::{HeaderValue, StatusCode, header};
use starling_engine::rng;

use crate::{answer::Answer, error::Error};

const STYLE: &str = "body{margin:0;padding:2rem 1rem;background:#f4f3f0;color:#22211f;\
    font:1rem/1.5 system-ui,-apple-system,'Segoe UI',sans-serif}\
    main{max-width:26rem;margin:0 auto;padding:2rem;background:#fff;border-radius:.75rem}\
    h1{margin:0 0 1rem;font-size:1.25rem}p{margin:0 0 1rem}\
    label{display:block;margin:0 0 1rem}\
    input:not([type=checkbox]){box-sizing:border-box;width:100%;padding:.6rem;font:inherit;\
    border:1px solid #c9c6bf;border-radius:.5rem}\
    button{padding:.7rem 1.4rem;border:0;border-radius:.5rem;background:#3b3a70;color:#fff;\
    font:inherit;cursor:pointer}.wrong{color:#a3262a}a{color:#3b3a70}";

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    /// What stands above it, not escaped yet.
    pub(crate) title: &'static str,
    /// What it shows, as HTML.
    pub(crate) body: String,
    /// What runs on it.
    pub(crate) script: Option<&'static str>,
    /// Where forms may lead beside this server, as a source of a content security policy.
    pub(crate) form_action: Option<String>,
    /// Further directives of the content security policy.
    pub(crate) policy: Policy,
}

/// What a page may load beside what it brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Nothing.
    #[default]
    Nothing,
    /// Answers of this server.
    ThisServer,
    /// The captchas of Google.
    Captcha,
}

impl Page {
    pub(crate) fn into_answer(self) -> Answer {
        let nonce = rng::token::<16>();
        let policy = self.content_security_policy(&nonce);
        let Self { status, title, body, script, .. } = self;
        let title = escape(title);
        let script = script.map_or_else(String::new, |script| {
            format!("<script nonce=\"{nonce}\">{script}</script>")
        });
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title><style nonce=\"{nonce}\">{STYLE}</style></head>\
             <body><main><h1>{title}</h1>{body}</main>{script}</body></html>"
        );
        let mut response = Response::new(Body::from(html));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let policy = HeaderValue::try_from(policy).map_err(Error::internal)?;
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        Ok(response)
    }

    fn content_security_policy(&self, nonce: &str) -> String {
        let more = match self.policy {
            Policy::Nothing => String::new(),
            Policy::ThisServer => "connect-src 'self';".to_owned(),
            Policy::Captcha => "frame-src https://www.google.com/recaptcha/ \
                 https://recaptcha.google.com/recaptcha/;\
                 connect-src https://www.google.com/recaptcha/;"
                .to_owned(),
        };
        let scripts = match self.policy {
            Policy::Captcha => {
                " https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/"
            }
            Policy::Nothing | Policy::ThisServer => "",
        };
        // Captchas style themselves.
        let styles = match self.policy {
            Policy::Captcha => "'unsafe-inline'".to_owned(),
            Policy::Nothing | Policy::ThisServer => format!("'nonce-{nonce}'"),
        };
        let form_action = self.form_action.as_deref().unwrap_or_default();
        format!(
            "default-src 'none';base-uri 'none';frame-ancestors 'none';\
             form-action 'self' {form_action};style-src {styles};\
             script-src 'nonce-{nonce}'{scripts};{more}"
        )
    }
}

/// A page that says something.
pub(crate) fn notice(status: StatusCode, title: &'static str, text: &str) -> Answer {
    Page { status, title, body: format!("<p>{}</p>", escape(text)), ..Page::default() }
        .into_answer()
}

/// A field that people do not see.
pub(crate) fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_is_markup() {
        assert_eq!(escape("<a b=\"c\" d='e'>&"), "&lt;a b=&quot;c&quot; d=&#x27;e&#x27;&gt;&amp;");
        assert_eq!(
            hidden("x", "\"><script>"),
            "<input type=\"hidden\" name=\"x\" value=\"&quot;&gt;&lt;script&gt;\">"
        );
    }

    #[test]
    fn each_answer_has_a_nonce_of_its_own() {
        let policy = || {
            let page = notice(StatusCode::OK, "Title", "text").unwrap();
            page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned()
        };
        let (first, second) = (policy(), policy());
        assert_ne!(first, second);
        assert!(first.contains("script-src 'nonce-") && !first.contains("unsafe"), "{first}");
        assert!(first.contains("frame-ancestors 'none'"), "{first}");
    }
}
