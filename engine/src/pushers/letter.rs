//! What the letter about missed messages says. Pure, but for what the server is called.

use html_escape::encode_quoted_attribute as escape;
use ruma::events::TimelineEventType;
use starling_storage::pushers::PusherRow;

use super::notification::Told;
use crate::{
    Engine,
    accounts::emails::letters::{frame, paragraph, small},
    config::Email,
    outside::Letter,
};

/// Where the link leads by which there are no more letters.
pub const UNSUBSCRIBE_PATH: &str = "/_matrix/client/unstable/email/unsubscribe";

/// How many rooms a letter shows, ...
const MOST_ROOMS: usize = 10;

/// ... how many messages of each, ...
const MOST_MESSAGES: usize = 10;

/// ... and how much of a message or name, in characters.
const MOST_CHARS: usize = 300;

/// The messages of one room.
struct Part {
    room: String,
    lines: Vec<String>,
    more: usize,
}

/// The letter to whom a pusher is for.
pub(super) fn letter(engine: &Engine, config: &Email, row: &PusherRow, missed: &[&Told]) -> Letter {
    let url = engine.config.public_url.as_deref().unwrap_or_default();
    let token = row.unsubscribe.as_deref().unwrap_or_default();
    let link = format!("{}{UNSUBSCRIBE_PATH}?token={token}", url.trim_end_matches('/'));
    let number = match missed.len() {
        1 => "a message".to_owned(),
        number => format!("{number} messages"),
    };
    let Email { app_name, .. } = config;
    let greeting = format!("There is {number} for {} that you have not read.", row.key.user_id);
    let greeting = if missed.len() == 1 { greeting } else { greeting.replacen("is", "are", 1) };
    let parts = parts(missed);
    let end = "You get these letters because you asked for them with a client of yours.";
    let (mut text, mut html) = (format!("{greeting}\n"), paragraph(&escape(&greeting)));
    for part in parts.iter().take(MOST_ROOMS) {
        text.push_str(&part.as_text());
        html.push_str(&part.as_html());
    }
    if parts.len() > MOST_ROOMS {
        let more = format!("… and messages in {} more rooms", parts.len() - MOST_ROOMS);
        text.push_str(&format!("\n{more}\n"));
        html.push_str(&paragraph(&more));
    }
    text.push_str(&format!("\n{end} To have no more of them:\n{link}\n"));
    let anchor = format!("<a href=\"{}\">Have no more of them</a>", escape(&link));
    html.push_str(&small(&format!("{end} {anchor}")));
    Letter {
        to: row.key.pushkey.clone(),
        subject: format!("You missed {number} on {app_name}"),
        text,
        html: frame(&escape(app_name), &html),
        unsubscribe: Some(link),
    }
}

/// What was missed by rooms, in the order in which something happened first.
fn parts(missed: &[&Told]) -> Vec<Part> {
    let mut rooms: Vec<(&str, Vec<&Told>)> = Vec::new();
    for told in missed {
        let room_id = told.event.pdu.room_id.as_str();
        match rooms.iter_mut().find(|(id, _)| *id == room_id) {
            Some((_, all)) => all.push(told),
            None => rooms.push((room_id, vec![told])),
        }
    }
    rooms.into_iter().map(|(_, all)| part(&all)).collect()
}

fn part(all: &[&Told]) -> Part {
    let lines = all.iter().take(MOST_MESSAGES).map(|told| line(told)).collect();
    Part { room: room(all), lines, more: all.len().saturating_sub(MOST_MESSAGES) }
}

/// A room without a name is called after those who say something there.
fn room(all: &[&Told]) -> String {
    let named = all.iter().find_map(|it| it.names.room.as_ref().or(it.names.alias.as_ref()));
    if let Some(name) = named {
        return shown(name);
    }
    let mut names: Vec<String> = Vec::new();
    for told in all {
        let name = sender(told);
        if names.len() < 3 && !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

fn sender(told: &Told) -> String {
    shown(told.names.sender.as_deref().unwrap_or(told.event.pdu.sender.as_str()))
}

/// What somebody says, in one line.
fn line(told: &Told) -> String {
    let (pdu, sender) = (&told.event.pdu, sender(told));
    let body = pdu.content_str("body").map(|body| shown(&body)).unwrap_or_default();
    match (&pdu.kind, pdu.content_str("msgtype").as_deref()) {
        (TimelineEventType::RoomMember, _) => format!("{sender} invites you"),
        (TimelineEventType::RoomEncrypted, _) => format!("{sender} sent an encrypted message"),
        (TimelineEventType::RoomMessage, Some("m.emote")) => format!("* {sender} {body}"),
        (TimelineEventType::RoomMessage, Some("m.image")) => format!("{sender} sent a picture"),
        (TimelineEventType::RoomMessage, Some("m.video")) => format!("{sender} sent a video"),
        (TimelineEventType::RoomMessage, Some("m.audio")) => format!("{sender} sent a recording"),
        (TimelineEventType::RoomMessage, Some("m.file")) => format!("{sender} sent a file: {body}"),
        (TimelineEventType::RoomMessage, Some(_)) => format!("{sender}: {body}"),
        (TimelineEventType::CallInvite, _) => format!("{sender} called"),
        _ => format!("{sender} sent something"),
    }
}

/// A text of somebody else: in one line, and not too long.
fn shown(text: &str) -> String {
    let words = text.split(|it: char| it.is_whitespace() || it.is_control());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST_CHARS {
        return line;
    }
    line.chars().take(MOST_CHARS).chain(['…']).collect()
}

impl Part {
    fn more(&self) -> Option<String> {
        (self.more > 0).then(|| format!("… and {} more", self.more))
    }

    fn as_text(&self) -> String {
        let lines = self.lines.iter().cloned().chain(self.more());
        let lines: String = lines.map(|line| format!("  {line}\n")).collect();
        format!("\n{}\n{lines}", self.room)
    }

    fn as_html(&self) -> String {
        let lines = self.lines.iter().cloned().chain(self.more());
        let lines: Vec<String> = lines.map(|line| escape(&line).into_owned()).collect();
        let room = format!("<strong>{}</strong>", escape(&self.room));
        paragraph(&format!("{room}<br>{}", lines.join("<br>")))
    }
}
