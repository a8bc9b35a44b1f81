//! Tokens that clients hand back: where a /sync ended, and places in a room's history.
//!
//! The first letter says the kind and the version. To clients they are opaque; here each is a point
//! *between* two things, and everything is either before it or after it.

use std::fmt;

use super::pos::Pos;
use starling_storage::{epochs::EpochRow, timeline::Direction, timeline::Range};

/// The token is not one of this server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token of this server, or not one of this kind")]
pub struct BadToken;

/// Where a /sync ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncToken {
    /// Everything up to this position was seen.
    pub pos: i64,
    /// The epoch in which the position counts.
    pub epoch: i64,
    /// How much of the list of typing users was seen: counts for the process start in `instance`.
    pub typing: u64,
    /// How many changes of presence were seen; counts like `typing`.
    pub presence: u64,
    /// Up to where messages to the device were seen.
    pub to_device: i64,
    /// The process start that gave the token.
    pub instance: String,
}

impl SyncToken {
    /// Reads a token.
    ///
    /// # Errors
    ///
    /// [`BadToken`].
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let mut parts = text.strip_prefix('s').ok_or(BadToken)?.splitn(6, '.');
        let token = Self {
            pos: number(parts.next())?,
            epoch: number(parts.next())?,
            typing: number(parts.next())?,
            presence: number(parts.next())?,
            to_device: number(parts.next())?,
            instance: parts.next().ok_or(BadToken)?.to_owned(),
        };
        let opaque = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let numbers = [token.pos, token.epoch, token.to_device];
        let sound = numbers.iter().all(|it| *it >= 0) && token.instance.chars().all(opaque);
        if sound { Ok(token) } else { Err(BadToken) }
    }

    /// The position to continue from, now that the database is at `head` and has had these epochs:
    /// what a token saw of a future that was lost counts as not seen, so that nothing is skipped and
    /// nobody waits for a position to come round again.
    #[must_use]
    pub fn clamped(&self, epochs: &[EpochRow], head: i64) -> i64 {
        let later = epochs.iter().filter(|epoch| epoch.epoch > self.epoch);
        let pos = later.map(|epoch| epoch.start_pos).fold(self.pos, i64::min);
        if pos > head {
            tracing::warn!(token = pos, head, "a sync token is ahead of the database");
        }
        pos.min(head)
    }
}

impl fmt::Display for SyncToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pos, epoch, typing, presence, to_device, instance } = self;
        write!(f, "s{pos}.{epoch}.{typing}.{presence}.{to_device}.{instance}")
    }
}

/// A place in the history of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageToken {
    /// After all events up to this position, in /sync's order: `p`, every /sync token, and every `pos`
    /// of sliding sync.
    Position(i64),
    /// Right after the event at this depth and position, in /messages' order.
    Place {
        /// The depth.
        depth: i64,
        /// The position.
        pos: i64,
        /// The limit that the first page had.
        bound: Bound,
    },
}

/// The limit that a token of /sync set to the pages that begin there. /sync and /messages order
/// differently; as long as pages keep to the limit, they show exactly what /sync did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// There is none: `t`.
    None,
    /// Pages backwards show nothing after this position: `b`.
    Until(i64),
    /// Pages forwards show nothing up to this position: `f`.
    After(i64),
}

impl PageToken {
    /// The position after which it stands.
    #[must_use]
    pub fn pos(self) -> i64 {
        let (Self::Position(pos) | Self::Place { pos, .. }) = self;
        pos
    }

    /// Reads a token, also one of /sync.
    ///
    /// # Errors
    ///
    /// [`BadToken`].
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let mut letters = text.chars();
        let kind = letters.next().ok_or(BadToken)?;
        let rest = letters.as_str();
        match kind {
            's' => return Ok(Self::Position(SyncToken::parse(text)?.pos)),
            'c' => return Ok(Self::Position(Pos::parse(text)?.seen.pos)),
            'p' => return Ok(Self::Position(number(Some(rest))?)),
            _ => {}
        }
        let mut parts = rest.splitn(3, '.');
        let (depth, pos) = (number(parts.next())?, number(parts.next())?);
        let bound = match (kind, parts.next()) {
            ('t', None) => Bound::None,
            ('b', limit) => Bound::Until(number(limit)?),
            ('f', limit) => Bound::After(number(limit)?),
            _ => return Err(BadToken),
        };
        Ok(Self::Place { depth, pos, bound })
    }

    /// What a page in a direction shows when it begins here.
    #[must_use]
    pub fn range(self, direction: Direction) -> Range {
        let mut range =
            Range { from: edge(direction), after: i64::MIN, until: i64::MAX, direction };
        match (self, direction) {
            (Self::Position(pos), Direction::Backward) => range.until = pos,
            (Self::Position(pos), Direction::Forward) => range.after = pos,
            (Self::Place { depth, pos, bound }, Direction::Backward) => {
                range.from = (depth, pos.saturating_add(1));
                if let Bound::Until(until) = bound {
                    range.until = until;
                }
            }
            (Self::Place { depth, pos, bound }, Direction::Forward) => {
                range.from = (depth, pos);
                if let Bound::After(after) = bound {
                    range.after = after;
                }
            }
        }
        range
    }

    /// Where the page of a range ended, after its event at `(depth, pos)`.
    #[must_use]
    pub fn end_of(range: Range, (depth, pos): (i64, i64)) -> Self {
        match range.direction {
            Direction::Backward => {
                let bound =
                    if range.until == i64::MAX { Bound::None } else { Bound::Until(range.until) };
                Self::Place { depth, pos: pos.saturating_sub(1), bound }
            }
            Direction::Forward => {
                let bound =
                    if range.after == i64::MIN { Bound::None } else { Bound::After(range.after) };
                Self::Place { depth, pos, bound }
            }
        }
    }

    /// Whether an event is before this point.
    #[must_use]
    pub fn is_after(self, depth: i64, pos: i64) -> bool {
        match self {
            Self::Position(at) => pos <= at,
            Self::Place { depth: at_depth, pos: at, .. } => (depth, pos) <= (at_depth, at),
        }
    }
}

/// Where a page begins that has no other beginning.
fn edge(direction: Direction) -> (i64, i64) {
    match direction {
        Direction::Backward => (i64::MAX, i64::MAX),
        Direction::Forward => (i64::MIN, i64::MIN),
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(pos) => write!(f, "p{pos}"),
            Self::Place { depth, pos, bound: Bound::None } => write!(f, "t{depth}.{pos}"),
            Self::Place { depth, pos, bound: Bound::Until(limit) } => {
                write!(f, "b{depth}.{pos}.{limit}")
            }
            Self::Place { depth, pos, bound: Bound::After(limit) } => {
                write!(f, "f{depth}.{pos}.{limit}")
            }
        }
    }
}

fn number<T: std::str::FromStr>(text: Option<&str>) -> Result<T, BadToken> {
    let text = text.filter(|text| !text.starts_with('+')).ok_or(BadToken)?;
    text.parse().map_err(|_| BadToken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn garbage_is_refused() {
        let garbage = [
            "",
            "s",
            "s1",
            "s99999999",
            "t1-5",
            "s-1.0.0.0.0.x",
            "s1.0.0.0.-1.x",
            "s1.0.0.x",
            "s1.0.0",
            "s1.0.0.0.x",
            "s1.0.0.0.0.a b",
            "x1.2",
            "b1.2",
            "f1",
            "t1.2.3",
            "p",
            "p+1",
            "p1.5",
            "s99999999999999999999.0.0.0.0.x",
            "\u{1F600}",
            "s1.0.0.0.0.\u{e9}",
        ];
        for text in garbage {
            assert_eq!(SyncToken::parse(text), Err(BadToken), "{text}");
            assert_eq!(PageToken::parse(text), Err(BadToken), "{text}");
        }
        assert_eq!(SyncToken::parse("p5"), Err(BadToken));
        assert_eq!(SyncToken::parse("t5.6"), Err(BadToken));
    }

    #[test]
    fn a_sync_token_is_a_place_in_every_room() {
        let token = SyncToken {
            pos: 7,
            epoch: 1,
            typing: 3,
            presence: 4,
            to_device: 6,
            instance: "Ab-_".to_owned(),
        };
        assert_eq!(PageToken::parse(&token.to_string()), Ok(PageToken::Position(7)));
    }

    #[test]
    fn a_lost_future_counts_as_not_seen() {
        let token = |pos, epoch| SyncToken { pos, epoch, ..SyncToken::default() };
        let epochs = [EpochRow { epoch: 1, start_pos: 50 }, EpochRow { epoch: 2, start_pos: 40 }];
        for (pos, epoch, head, wanted) in [
            (30, 0, 100, 30),
            (60, 0, 100, 40),
            (45, 1, 100, 40),
            (60, 2, 100, 60),
            (60, 2, 55, 55),
            (60, 9, 100, 60),
        ] {
            assert_eq!(token(pos, epoch).clamped(&epochs, head), wanted, "{pos} of epoch {epoch}");
        }
    }

    fn bounds() -> impl Strategy<Value = Bound> {
        prop_oneof![
            Just(Bound::None),
            any::<i64>().prop_map(Bound::Until),
            any::<i64>().prop_map(Bound::After)
        ]
    }

    proptest! {
        #[test]
        fn tokens_are_read_back(
            pos in 0_i64.., epoch in 0_i64.., typing: u64, presence: u64, to_device in 0_i64..,
            depth: i64, place: i64, bound in bounds(),
        ) {
            let instance = "aB3_-".to_owned();
            let token = SyncToken { pos, epoch, typing, presence, to_device, instance };
            prop_assert_eq!(SyncToken::parse(&token.to_string()), Ok(token));
            for token in [PageToken::Position(place), PageToken::Place { depth, pos: place, bound }] {
                prop_assert_eq!(PageToken::parse(&token.to_string()), Ok(token));
            }
        }

        #[test]
        fn every_event_is_on_one_side_of_a_place(
            depth in 0_i64..5, pos in -5_i64..5, event in (0_i64..5, -5_i64..5),
        ) {
            let token = PageToken::Place { depth, pos, bound: Bound::None };
            let back = event < token.range(Direction::Backward).from;
            let forth = event > token.range(Direction::Forward).from;
            prop_assert!(back != forth);
            prop_assert_eq!(back, token.is_after(event.0, event.1));
        }
    }
}
