//! What a page of the web says about itself. Pure, and bounded by the size of the page.
//!
//! Tags are looked at as they come, without making a tree of them: a page of a stranger may nest them as
//! deep as it likes.

use std::collections::BTreeMap;

use encoding_rs::{Encoding, UTF_8};
use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};

/// Where a page may say which encoding it has, in bytes from its beginning.
const PROLOGUE: usize = 1024;

/// Characters of one thing that a page says of itself; the rest is left out.
const LONGEST: usize = 1_000;

/// How many things are taken from a page.
const MOST: usize = 50;

/// What a page says of itself: the properties of OpenGraph, `og:title` and so on.
pub type Properties = BTreeMap<String, String>;

/// The text of a page, by what its content type or the page itself says of its encoding.
#[must_use]
pub fn text(bytes: &[u8], content_type: &str) -> String {
    let said = content_type.parse::<mime::Mime>().ok();
    let said = said.as_ref().and_then(|kind| kind.get_param(mime::CHARSET));
    let said = said.and_then(|label| Encoding::for_label(label.as_str().as_bytes()));
    let encoding = said.or_else(|| declared(bytes)).unwrap_or(UTF_8);
    encoding.decode(bytes).0.into_owned()
}

fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let prologue = bytes.get(..PROLOGUE).unwrap_or(bytes);
    let prologue = String::from_utf8_lossy(prologue);
    tags(&prologue).find_map(|token| match token {
        Token::StartTag(tag) if tag.name.as_slice() == b"meta" => {
            let label = attribute(&tag, "charset").or_else(|| {
                let content = attribute(&tag, "content")?.to_ascii_lowercase();
                content.split_once("charset=").map(|(_, label)| label.to_owned())
            })?;
            Encoding::for_label(label.trim().as_bytes())
        }
        _ => None,
    })
}

/// What a page says of itself.
#[must_use]
pub fn properties(page: &str) -> Properties {
    let mut properties = Properties::new();
    let (mut title, mut description, mut in_title) = (None::<String>, None, false);
    for token in tags(page) {
        match token {
            Token::StartTag(tag) if tag.name.as_slice() == b"title" => {
                in_title = title.is_none();
            }
            Token::EndTag(tag) if tag.name.as_slice() == b"title" => in_title = false,
            Token::String(text) if in_title => {
                title.get_or_insert_default().push_str(&String::from_utf8_lossy(&text));
            }
            Token::StartTag(tag) if tag.name.as_slice() == b"meta" => {
                let name = attribute(&tag, "property").or_else(|| attribute(&tag, "name"));
                let (Some(name), Some(content)) = (name, attribute(&tag, "content")) else {
                    continue;
                };
                let name = name.to_ascii_lowercase();
                if name == "description" {
                    description.get_or_insert(content);
                } else if name.starts_with("og:") && properties.len() < MOST {
                    properties.entry(name).or_insert_with(|| short(&content));
                }
            }
            _ => {}
        }
    }
    for (name, value) in [("og:title", title), ("og:description", description)] {
        let value = value.map(|value| short(&value)).filter(|value| !value.is_empty());
        if let Some(value) = value {
            properties.entry(name.to_owned()).or_insert(value);
        }
    }
    properties
}

fn tags(page: &str) -> impl Iterator<Item = Token> {
    let mut emitter = DefaultEmitter::default();
    // What stands in scripts and titles is no tag.
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(page, emitter).flatten()
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// One line, not too long.
fn short(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(page: &str) -> Vec<(String, String)> {
        properties(page).into_iter().collect()
    }

    #[test]
    fn opengraph_goes_before_title_and_description() {
        let page = "<html><head><title>A &amp;\n B</title><meta name=description content=' c  d '>\
                    <meta property='og:type' content=article></head>\
                    <body><svg><title>no</title></svg></body>";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected =
            [pair("og:description", "c d"), pair("og:title", "A & B"), pair("og:type", "article")];
        assert_eq!(pairs(page), expected);
        let page = "<title>a</title><META PROPERTY=og:title CONTENT=b>\
                    <script>'<meta property=og:url content=evil>'</script>";
        assert_eq!(pairs(page), [pair("og:title", "b")]);
        assert_eq!(pairs("plain text"), []);
    }

    #[test]
    fn hostile_pages_cost_no_more_than_their_size() {
        for page in ["<a>".repeat(300_000), "<".repeat(300_000), "<title>".repeat(100_000)] {
            assert!(properties(&page).len() <= MOST);
        }
        let long = format!("<title>{}</title>", "x".repeat(100_000));
        assert_eq!(properties(&long)["og:title"].len(), LONGEST);
        let many: String = (0..200).map(|n| format!("<meta property=og:{n} content=x>")).collect();
        assert_eq!(properties(&many).len(), MOST);
    }

    #[test]
    fn encodings_are_those_that_are_said() {
        let russian = b"<meta charset=windows-1251><title>\xcf\xf0\xe8\xe2\xe5\xf2</title>";
        assert_eq!(properties(&text(russian, "text/html"))["og:title"], "Привет");
        let said = text(b"<title>\xa4\xa2</title>", "text/html; charset=EUC-JP");
        assert_eq!(properties(&said)["og:title"], "あ");
        assert_eq!(text("é".as_bytes(), "text/html"), "é");
        assert_eq!(text(b"\xff", "text/html; charset=nonsense"), "\u{fffd}");
    }
}
