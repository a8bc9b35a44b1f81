//! Where a connection of sliding sync is: `pos`.

use std::fmt;

use super::token::{BadToken, SyncToken};

/// How long the name of a connection is, in characters.
const NAME: usize = 16;

/// Where a connection is: what the client has been sent of rooms (a numbered state), and up to where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pos {
    /// The connection's name here.
    pub connection: String,
    /// The number of the state.
    pub serial: i64,
    /// Up to where everything was seen that the state says is seen.
    pub seen: SyncToken,
}

impl Pos {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`BadToken`].
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let mut parts = text.strip_prefix('c').ok_or(BadToken)?.splitn(3, '.');
        let connection = parts.next().ok_or(BadToken)?;
        let serial = parts.next().and_then(|serial| serial.parse().ok()).ok_or(BadToken)?;
        let seen = SyncToken::parse(parts.next().ok_or(BadToken)?)?;
        let opaque = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let sound = connection.len() == NAME && connection.chars().all(opaque) && serial > 0;
        let connection = connection.to_owned();
        if sound { Ok(Self { connection, serial, seen }) } else { Err(BadToken) }
    }
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connection, serial, seen } = self;
        write!(f, "c{connection}.{serial}.{seen}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::token::PageToken;

    #[test]
    fn it_is_read_back_and_is_a_place_in_every_room() {
        let seen = SyncToken { pos: 7, instance: "Ab-_".to_owned(), ..SyncToken::default() };
        let pos = Pos { connection: "abcdefgh-_ABCDEF".to_owned(), serial: 12, seen };
        let text = pos.to_string();
        assert_eq!(Pos::parse(&text), Ok(pos));
        assert_eq!(PageToken::parse(&text), Ok(PageToken::Position(7)));
    }

    #[test]
    fn garbage_is_refused() {
        for text in [
            "",
            "c",
            "s7.0.0.0.0.x",
            "c.1.s7.0.0.0.0.x",
            "cabcdefgh-_ABCDEF.0.s7.0.0.0.0.x",
            "cabcdefgh-_ABCDEF.-1.s7.0.0.0.0.x",
            "cabcdefgh-_ABCDE.1.s7.0.0.0.0.x",
            "cabcdefgh-_ABCDE\u{e9}.1.s7.0.0.0.0.x",
            "cabcdefgh-_ABCDEF.1.p7",
            "cabcdefgh-_ABCDEF.1",
        ] {
            assert_eq!(Pos::parse(text), Err(BadToken), "{text}");
        }
    }
}
