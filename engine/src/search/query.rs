//! What is searched for, and how well a text answers to it. Pure.

use std::collections::HashSet;

use super::number;
use crate::words::{self, Run};

/// How many words of a search count, beside which no others are looked at.
const MOST_WORDS: usize = 64;

/// How many terms of a search the index is asked for. It only proposes: whether a text has the rest too
/// is seen when the text is read.
const MOST_TERMS: usize = 64;

/// How much the second and further places of a word count, and the length of the text: the numbers
/// that are usual for the ranking function BM25.
const SATURATION: f64 = 1.2;
const LENGTH: f64 = 0.75;

/// How many words a message usually has.
const USUAL_LENGTH: f64 = 12.0;

/// Ranks are compared, sent and found again in tokens as whole numbers of this fraction.
const PRECISION: f64 = 1_000_000.0;

/// The words that a text must have, all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    wanted: Vec<Run>,
    written: Vec<String>,
}

/// How a text answers to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// How well, in millionths.
    pub rank: i64,
    /// The words that answer, as they are written there.
    pub words: Vec<String>,
}

impl Query {
    /// Reads what a user wrote.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut query = Self { wanted: vec![], written: vec![] };
        for piece in words::pieces(text) {
            for run in piece.runs {
                if !query.wanted.contains(&run) && query.wanted.len() < MOST_WORDS {
                    query.wanted.push(run);
                }
            }
            let written = piece.written.to_lowercase();
            if !query.written.contains(&written) && query.written.len() < MOST_WORDS {
                query.written.push(written);
            }
        }
        query
    }

    /// Whether there is no word in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The words as they were written, in small letters.
    #[must_use]
    pub fn written(&self) -> &[String] {
        &self.written
    }

    /// What stands for the words in the index, each once; of very many the first ones.
    #[must_use]
    pub fn terms(&self) -> Vec<i64> {
        let mut seen = HashSet::new();
        let needed = self.wanted.iter().flat_map(Run::needed_terms);
        let terms = needed.map(|term| number(&term)).filter(|term| seen.insert(*term));
        terms.take(MOST_TERMS).collect()
    }

    /// How a text answers; `None` when it lacks a word.
    #[must_use]
    pub fn matches(&self, text: &str) -> Option<Match> {
        let mut counts = vec![0_u32; self.wanted.len()];
        let (mut length, mut words) = (0_u32, vec![]);
        for piece in words::pieces(text) {
            let mut answers = false;
            for run in &piece.runs {
                length += 1;
                for (count, wanted) in counts.iter_mut().zip(&self.wanted) {
                    if run.has(wanted) {
                        *count += 1;
                        answers = true;
                    }
                }
            }
            // Of a script without spaces a piece is half a sentence: there the query says what answers.
            let is_word = piece.runs.iter().all(|run| matches!(run, Run::Word(_)));
            let written = piece.written.to_lowercase();
            if answers && is_word && !words.contains(&written) {
                words.push(written);
            }
        }
        if counts.contains(&0) {
            return None;
        }
        Some(Match { rank: rank(&counts, length), words })
    }
}

/// The mean of what each word is worth.
fn rank(counts: &[u32], length: u32) -> i64 {
    let relative = f64::from(length) / USUAL_LENGTH;
    let damping = SATURATION * (1.0 - LENGTH + LENGTH * relative);
    let worth = counts.iter().map(|count| {
        let count = f64::from(*count);
        count * (SATURATION + 1.0) / (count + damping)
    });
    let words = u32::try_from(counts.len()).unwrap_or(u32::MAX).max(1);
    let mean = worth.sum::<f64>() / f64::from(words);
    (mean * PRECISION).round() as i64
}

impl Match {
    /// The rank as clients are told.
    #[must_use]
    pub fn rank(&self) -> f64 {
        self.rank as f64 / PRECISION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank_of(query: &str, text: &str) -> Option<i64> {
        Query::parse(query).matches(text).map(|found| found.rank)
    }

    #[test]
    fn all_words_must_be_there() {
        assert!(rank_of("message 4", "Message number 4").is_some());
        assert_eq!(rank_of("message 4", "Message number 14"), None);
        assert_eq!(rank_of("東京都", "京都と東京"), None);
        assert!(Query::parse(" -- !").is_empty());
    }

    #[test]
    fn more_and_shorter_is_better() {
        let rank = |text| rank_of("tea", text).unwrap();
        assert!(rank("tea and tea") > rank("tea and milk"));
        assert!(rank("tea") > rank("tea and milk and sugar and a biscuit"));
        assert!(rank("tea tea tea tea tea tea") < 3_000_000);
    }

    #[test]
    fn words_are_shown_as_they_are_written() {
        let found = |query, text| Query::parse(query).matches(text).unwrap().words;
        assert_eq!(found("cafe open", "The Café is open, café!"), ["café", "open"]);
        assert_eq!(found("京都", "私は京都に行きました"), [""; 0]);
        assert_eq!(Query::parse("Ja JA 京都").written(), ["ja", "京都"]);
    }

    #[test]
    fn a_query_is_bounded() {
        let many: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let query = Query::parse(&many.join(" "));
        assert_eq!((query.wanted.len(), query.written.len()), (MOST_WORDS, MOST_WORDS));
        assert_eq!(Query::parse("b a b a").terms().len(), 2);
        // One word of a script without spaces has a term for each of its letters.
        let letters: String = ('\u{4e00}'..'\u{5400}').collect();
        let query = Query::parse(&letters);
        assert_eq!((query.wanted.len(), query.terms().len()), (1, MOST_TERMS));
        assert!(
            query.matches(&letters).is_some()
                && query.matches(letters.trim_start_matches('\u{4e00}')).is_none()
        );
    }
}
