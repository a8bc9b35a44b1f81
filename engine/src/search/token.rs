//! Where a page of a search ended. Pure.
//!
//! Clients send back what they were given, or anything else: a token says where to go on, and nothing
//! that is not checked again.

use std::fmt;

/// In which order results come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The best answers first.
    #[default]
    Rank,
    /// The newest first.
    Recent,
}

/// The results among which a page stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those in a room.
    Room(String),
    /// Those of a sender.
    Sender(String),
}

/// The place after a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The order of the results.
    pub order: Order,
    /// The position of the newest event that was there when the search began.
    pub until: i64,
    /// The rank of the last result; 0 in the order of time.
    pub rank: i64,
    /// The position of the last result, or of the last event that was looked at.
    pub pos: i64,
    /// How many results there are.
    pub count: u64,
    /// The results among which to go on.
    pub scope: Scope,
}

/// The token is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`next_batch` is not a token of this search")]
pub struct BadSearchToken;

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { until, rank, pos, count, .. } = self;
        let order = match self.order {
            Order::Rank => 'k',
            Order::Recent => 't',
        };
        let (kind, scope) = match &self.scope {
            Scope::All => ('a', ""),
            Scope::Room(room_id) => ('r', room_id.as_str()),
            Scope::Sender(user_id) => ('s', user_id.as_str()),
        };
        write!(f, "s1{order}_{until}_{rank}_{pos}_{count}_{kind}{scope}")
    }
}

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    ///
    /// [`BadSearchToken`].
    pub fn parse(text: &str) -> Result<Self, BadSearchToken> {
        Self::read(text).ok_or(BadSearchToken)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, '_');
        let order = match parts.next()? {
            "s1k" => Order::Rank,
            "s1t" => Order::Recent,
            _ => return None,
        };
        let mut number = || parts.next()?.parse::<i64>().ok();
        let (until, rank, pos) = (number()?, number()?, number()?);
        let count = u64::try_from(number()?).ok()?;
        let scope = parts.next()?;
        let scope = match (scope.chars().next()?, scope.get(1..)?.to_owned()) {
            ('a', rest) if rest.is_empty() => Scope::All,
            ('r', room_id) if room_id.len() <= 255 => Scope::Room(room_id),
            ('s', user_id) if user_id.len() <= 255 => Scope::Sender(user_id),
            _ => return None,
        };
        Some(Self { order, until, rank, pos, count, scope })
    }

    /// Whether a result comes after this place.
    #[must_use]
    pub fn is_before(&self, rank: i64, pos: i64) -> bool {
        match self.order {
            Order::Recent => pos < self.pos,
            Order::Rank => (rank, pos) < (self.rank, self.pos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive() {
        for scope in
            [Scope::All, Scope::Room("!a_b:x.org".into()), Scope::Sender("@_é:x.org".into())]
        {
            for order in [Order::Rank, Order::Recent] {
                let (rank, scope) = (1_500_000, scope.clone());
                let token = Token { order, until: 9, rank, pos: -3, count: 7, scope };
                assert_eq!(Token::parse(&token.to_string()), Ok(token));
            }
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let long = format!("s1t_1_1_1_1_r!{}", "x".repeat(300));
        for text in [
            "",
            "s1",
            "s1t",
            "s2t_1_1_1_1_a",
            "s1t_1_1_1_1_",
            "s1t_1_1_1_-1_a",
            "s1t_1_1_1_1_ax",
            "s1t_1_1_1_1_é",
            "s1t_x_1_1_1_a",
            "s1t_1_1_99999999999999999999_1_a",
            &long,
        ] {
            assert_eq!(Token::parse(text), Err(BadSearchToken), "{text}");
        }
    }

    #[test]
    fn the_order_decides_what_comes_after() {
        let token = |order| Token { order, until: 9, rank: 5, pos: 3, count: 1, scope: Scope::All };
        assert!(token(Order::Recent).is_before(9, 2) && !token(Order::Recent).is_before(1, 3));
        assert!(token(Order::Rank).is_before(4, 9) && token(Order::Rank).is_before(5, 2));
        assert!(!token(Order::Rank).is_before(5, 3) && !token(Order::Rank).is_before(6, 1));
    }
}
