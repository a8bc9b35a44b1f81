//! What the letters say.

use html_escape::encode_quoted_attribute as escape;

use super::Purpose;
use crate::outside::Letter;

/// The letter for a purpose; without a link it says why there is none.
pub(super) fn letter(
    server: &str,
    app_name: &str,
    purpose: Purpose,
    to: String,
    link: Option<String>,
) -> Letter {
    let words = match (purpose, link) {
        (Purpose::Register, Some(link)) => Words {
            subject: format!("Confirm your address for {app_name}"),
            text: format!("An account is being made on {server} with this address."),
            button: Some(("Confirm the address", link)),
            end: "If that was not you, do nothing: no account is made with your address.",
        },
        (Purpose::Register | Purpose::Add, None) => Words {
            subject: format!("You have an account at {app_name} already"),
            text: format!(
                "Somebody wanted to use this address for an account on {server}, but one has it \
                 already. If that was you, log in to that one, or set a new password for it."
            ),
            button: None,
            end: "If it was not you, there is nothing to do.",
        },
        (Purpose::Add, Some(link)) => Words {
            subject: format!("Confirm your address for {app_name}"),
            text: format!("Somebody wants to add this address to an account on {server}."),
            button: Some(("Confirm the address", link)),
            end: "If that was not you, do nothing: the address is not added.",
        },
        (Purpose::Password, Some(link)) => Words {
            subject: format!("Set a new password for {app_name}"),
            text: format!("A new password is wanted for your account on {server}."),
            button: Some(("Allow a new password", link)),
            end: "If that was not you, do nothing: your password stays as it is.",
        },
        (Purpose::Password, None) => Words {
            subject: format!("You have no account at {app_name} with this address"),
            text: format!(
                "Somebody wanted a new password for an account on {server} with this address, but \
                 there is none. Perhaps you gave another address when you made it."
            ),
            button: None,
            end: "If that was not you, there is nothing to do.",
        },
    };
    words.into_letter(app_name, to)
}

struct Words {
    subject: String,
    text: String,
    button: Option<(&'static str, String)>,
    end: &'static str,
}

impl Words {
    fn into_letter(self, app_name: &str, to: String) -> Letter {
        let Self { subject, text, button, end } = self;
        let (mut plain, mut html) = (format!("{text}\n"), paragraph(&escape(&text)));
        if let Some((label, link)) = button {
            plain.push_str(&format!("\n{label}:\n{link}\n"));
            html.push_str(&anchor(label, &escape(&link)));
        }
        plain.push_str(&format!("\n{end}\n"));
        html.push_str(&small(end));
        let html = frame(&escape(app_name), &html);
        Letter { to, subject, text: plain, html, unsubscribe: None }
    }
}

/// A letter around what it says, which is HTML; so is the name.
pub(crate) fn frame(app_name: &str, inner: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <body style=\"margin:0;padding:32px 16px;background:#f4f3f0;color:#22211f;\
         font:16px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif\">\
         <div style=\"max-width:480px;margin:0 auto;padding:32px;background:#fff;\
         border-radius:12px\"><p style=\"margin:0 0 24px;font-weight:600\">{app_name}</p>\
         {inner}</div></body></html>"
    )
}

/// A paragraph of HTML.
pub(crate) fn paragraph(text: &str) -> String {
    format!("<p style=\"margin:0 0 24px\">{text}</p>")
}

fn anchor(label: &str, link: &str) -> String {
    format!(
        "<p style=\"margin:0 0 24px\"><a href=\"{link}\" style=\"display:inline-block;\
         padding:12px 24px;background:#3b3a70;color:#fff;border-radius:8px;text-decoration:none\">\
         {label}</a></p>"
    )
}

/// The end of a letter, of HTML.
pub(crate) fn small(text: &str) -> String {
    format!("<p style=\"margin:0;color:#6b6964;font-size:14px\">{text}</p>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_the_link_and_nothing_is_markup() {
        let link = Some("https://test/?a=1&b=2".to_owned());
        let letter =
            letter("test", "<b>Chat</b>", Purpose::Password, "alice@example.org".to_owned(), link);
        assert!(letter.text.contains("https://test/?a=1&b=2\n"), "{}", letter.text);
        assert!(letter.html.contains("href=\"https://test/?a=1&amp;b=2\""), "{}", letter.html);
        assert!(letter.html.contains("&lt;b&gt;Chat&lt;/b&gt;"), "{}", letter.html);
        assert!(!letter.html.contains("<b>"), "{}", letter.html);
        assert!(letter.text.len() < 400 && letter.html.len() < 1_500);
    }

    #[test]
    fn a_letter_without_a_link_has_no_button() {
        for purpose in [Purpose::Register, Purpose::Password, Purpose::Add] {
            let letter = letter("test", "Chat", purpose, "alice@example.org".to_owned(), None);
            assert!(!letter.html.contains("<a ") && !letter.text.contains("http"), "{letter:?}");
        }
    }
}
