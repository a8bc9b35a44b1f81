//! The words of names, and what finds them. Pure.

use ruma::UserId;

use crate::words::{self, Run};

/// How many words of one name count.
const MOST_WORDS: usize = 32;

/// How many words one user has at most.
const MOST_OF_ONE: usize = 200;

/// What comes after every word that begins with what stands before it.
const LAST: char = '\u{10FFFF}';

/// The words by which a user is found who has these names.
#[must_use]
pub fn words<'a>(user_id: &'a UserId, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let names = [user_id.localpart()].into_iter().chain(names);
    let mut all: Vec<String> = vec![];
    for name in names {
        let words = runs(name).into_iter().flat_map(|run| run.terms()).take(MOST_WORDS);
        for word in words {
            if !all.contains(&word) && all.len() < MOST_OF_ONE {
                all.push(word);
            }
        }
    }
    all
}

fn runs(name: &str) -> Vec<Run> {
    words::pieces(name).flat_map(|piece| piece.runs).take(MOST_WORDS).collect()
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    wanted: Vec<Run>,
    server: String,
}

/// How well a user answers: the less, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance(usize);

impl Query {
    /// Reads what somebody wrote: the beginnings of words, or of a user id.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let (name, server) = match text.strip_prefix('@') {
            Some(id) => id.split_once(':').unwrap_or((id, "")),
            None => (text, ""),
        };
        let mut wanted = vec![];
        for run in runs(name) {
            if !wanted.contains(&run) {
                wanted.push(run);
            }
        }
        Self { wanted, server: server.to_lowercase() }
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// From which word to which there must be one, the narrowest range first.
    #[must_use]
    pub fn ranges(&self) -> Vec<(String, String)> {
        let mut ranges: Vec<(String, String)> = vec![];
        for run in &self.wanted {
            for term in run.needed_terms() {
                let to = match run {
                    Run::Word(word) => format!("{word}{LAST}"),
                    Run::Letters(_) => term.clone(),
                };
                ranges.push((term, to));
            }
        }
        ranges.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        ranges
    }

    /// How well a user with this name answers; `None` when they do not.
    #[must_use]
    pub fn finds(&self, user_id: &UserId, name: Option<&str>) -> Option<Distance> {
        if !user_id.server_name().as_str().to_lowercase().starts_with(&self.server) {
            return None;
        }
        let localpart = runs(user_id.localpart());
        let name = name.map(runs).unwrap_or_default();
        let is_there = |wanted: &Run| {
            localpart.iter().chain(&name).any(|run| run.has(wanted) || begins(run, wanted))
        };
        if !self.wanted.iter().all(is_there) {
            return None;
        }
        let is_whole = |runs: &[Run]| *runs == *self.wanted;
        let inexact = self
            .wanted
            .iter()
            .filter(|wanted| !localpart.iter().chain(&name).any(|run| run.has(wanted)));
        let distance = match is_whole(&localpart) || is_whole(&name) {
            true => 0,
            false => 1 + inexact.count(),
        };
        Some(Distance(distance))
    }
}

fn begins(run: &Run, wanted: &Run) -> bool {
    matches!((run, wanted), (Run::Word(word), Run::Word(start)) if word.starts_with(start.as_str()))
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    fn finds(query: &str, name: Option<&str>) -> bool {
        let query = Query::parse(query);
        let user_id = user_id!("@alice-b.2:example.org");
        let found = query.finds(user_id, name).is_some();
        let words = words(user_id, name);
        let proposed = query
            .ranges()
            .iter()
            .all(|(from, to)| words.iter().any(|word| word >= from && word <= to));
        assert!(proposed || !found, "{query:?} would not be proposed");
        found
    }

    #[test]
    fn beginnings_of_words_find() {
        let name = Some("Älice 'The Great' 田中太郎");
        for query in ["al", "ALI", "2", "alice b", "älice gre", "田中", "太", "the alice", "@ali"]
        {
            assert!(finds(query, name), "{query}");
        }
        for query in ["lice", "greater", "alice bob", "田太", "b3", "example"] {
            assert!(!finds(query, name), "{query}");
        }
        assert!(finds("alice", None) && !finds("great", None));
    }

    #[test]
    fn a_user_id_finds_as_far_as_it_is_written() {
        for query in ["@alice-b", "@alice-b.2:", "@alice-b.2:exam", "@Alice-B.2:Example.org"] {
            assert!(finds(query, None), "{query}");
        }
        assert!(!finds("@alice-b.2:other.org", None));
        assert!(Query::parse("@").is_empty() && Query::parse(" :-) ").is_empty());
    }

    #[test]
    fn the_nearest_comes_first() {
        let user_id = user_id!("@alice:x");
        let distance = |query: &str| Query::parse(query).finds(user_id, Some("Alice Cooper"));
        assert!(distance("alice cooper") < distance("cooper"));
        assert_eq!(distance("alice"), distance("ALICE COOPER"));
        assert!(distance("cooper") < distance("coop"));
        assert!(distance("ali cooper") < distance("ali coop"));
    }

    #[test]
    fn words_are_bounded() {
        let long: Vec<String> = (0..1_000).map(|n| format!("w{n}")).collect();
        let many: Vec<String> = (0..100).map(|n| format!("a{n} b{n} c{n}")).collect();
        let user_id = user_id!("@a:x");
        assert_eq!(words(user_id, [long.join(" ").as_str()]).len(), MOST_WORDS + 1);
        assert_eq!(words(user_id, many.iter().map(String::as_str)).len(), MOST_OF_ONE);
    }
}
