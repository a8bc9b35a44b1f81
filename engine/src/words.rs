//! Cutting a text into the words that it can be found by. Pure.
//!
//! Letters and digits make words. Case, accents and the difference between forms of the same letter
//! do not count: Unicode's compatibility decomposition, without the diacritics of alphabets where
//! people leave them out. Scripts that are written without spaces, and Korean, whose words carry
//! endings, have no words that could be seen without a dictionary. There each letter and each pair of
//! neighbours is one, so that every word of those languages is found wherever it stands.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};
use unicode_segmentation::UnicodeSegmentation as _;

/// How many letters of a word count.
const LONGEST: usize = 64;

/// How many marks may be put on one letter of a script without spaces before they count as the next.
const LONGEST_LETTER: usize = 16;

/// A piece of a text between spaces or punctuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// As it is written.
    pub written: &'a str,
    /// What it consists of.
    pub runs: Vec<Run>,
}

/// A part of a piece in one kind of script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// A word.
    Word(String),
    /// Letters of a script without spaces.
    Letters(Vec<String>),
}

impl Run {
    /// The terms by which an event is found that has this run.
    #[must_use]
    pub fn terms(&self) -> Vec<String> {
        match self {
            Self::Word(word) => vec![word.clone()],
            Self::Letters(letters) => letters.iter().cloned().chain(pairs(letters)).collect(),
        }
    }

    /// The terms that an event must have to have this run: fewer, where one says what others say.
    #[must_use]
    pub fn needed_terms(&self) -> Vec<String> {
        match self {
            Self::Letters(letters) if letters.len() > 1 => pairs(letters).collect(),
            run => run.terms(),
        }
    }

    /// Whether this run has the other in it.
    #[must_use]
    pub fn has(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Word(word), Self::Word(other)) => word == other,
            (Self::Letters(letters), Self::Letters(other)) => {
                letters.windows(other.len().max(1)).any(|part| part == other)
            }
            _ => false,
        }
    }
}

fn pairs(letters: &[String]) -> impl Iterator<Item = String> {
    letters.windows(2).map(<[String]>::concat)
}

/// The pieces of a text that have words in them, in their order.
pub fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let written = text.split(|c| !belongs_to_word(c));
    written.filter(|piece| !piece.is_empty()).filter_map(|written| {
        let runs = runs(&fold(written));
        (!runs.is_empty()).then_some(Piece { written, runs })
    })
}

/// The form of a text in which equal words are equal.
#[must_use]
pub fn fold(text: &str) -> String {
    let decomposed = text.nfkd().filter(|c| !is_left_out(*c));
    let lower = decomposed.flat_map(char::to_lowercase);
    let mut folded = String::with_capacity(text.len());
    for c in lower.nfc() {
        match c {
            'ς' => folded.push('σ'),
            'ß' => folded.push_str("ss"),
            c if is_left_out(c) => {}
            c => folded.push(c),
        }
    }
    folded
}

/// The runs of a folded text.
fn runs(folded: &str) -> Vec<Run> {
    let mut runs = vec![];
    // Folding may have brought what is no letter: "½" is three characters, one of them a stroke.
    for piece in folded.split(|c| !belongs_to_word(c)) {
        let mut rest = piece;
        while let Some(first) = rest.chars().find(|c| !is_combining_mark(*c)) {
            let spaced = !is_without_spaces(first);
            let end = rest.find(|c| !is_combining_mark(c) && is_without_spaces(c) == spaced);
            let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
            runs.push(if spaced { Run::Word(short(run)) } else { Run::Letters(letters(run)) });
            rest = after;
        }
    }
    runs
}

fn short(word: &str) -> String {
    word.chars().take(LONGEST).collect()
}

fn letters(run: &str) -> Vec<String> {
    let letters = run.graphemes(true).flat_map(|letter| {
        let chars: Vec<char> = letter.chars().collect();
        let parts = chars.chunks(LONGEST_LETTER).map(|part| part.iter().collect());
        parts.collect::<Vec<String>>()
    });
    letters.collect()
}

fn belongs_to_word(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c) || is_joiner(c)
}

/// Characters that say how letters are joined, and that one hyphen which is only seen at line ends.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200C}' | '\u{200D}')
}

/// Accents of Latin, Greek and Cyrillic letters, the vowel signs of Hebrew and Arabic, which most
/// people leave out, and what only chooses the look of a letter.
fn is_left_out(c: char) -> bool {
    is_joiner(c)
        || matches!(c,
            '\u{300}'..='\u{36F}'
            | '\u{591}'..='\u{5BD}' | '\u{5BF}' | '\u{5C1}' | '\u{5C2}' | '\u{5C4}' | '\u{5C5}'
            | '\u{5C7}' | '\u{640}' | '\u{64B}'..='\u{65F}' | '\u{670}' | '\u{FE00}'..='\u{FE0F}')
}

/// Thai, Lao, Tibetan, Burmese, Khmer, Kana, Bopomofo, Chinese characters and Hangul.
fn is_without_spaces(c: char) -> bool {
    matches!(c,
        '\u{E00}'..='\u{EFF}' | '\u{F00}'..='\u{FFF}' | '\u{1000}'..='\u{109F}'
        | '\u{1100}'..='\u{11FF}' | '\u{1780}'..='\u{17FF}' | '\u{1950}'..='\u{19FF}'
        | '\u{1A20}'..='\u{1AAF}' | '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{3007}'
        | '\u{3031}'..='\u{303B}' | '\u{3041}'..='\u{318F}' | '\u{31A0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{A960}'..='\u{A97F}'
        | '\u{A9E0}'..='\u{A9FF}' | '\u{AA60}'..='\u{AADF}' | '\u{AC00}'..='\u{D7FF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{1B000}'..='\u{1B16F}' | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(text: &str) -> Vec<String> {
        let runs = pieces(text).flat_map(|piece| piece.runs);
        runs.flat_map(|run| run.terms()).collect()
    }

    fn finds(query: &str, text: &str) -> bool {
        let runs: Vec<Run> = pieces(text).flat_map(|piece| piece.runs).collect();
        let terms = terms(text);
        let wanted: Vec<Run> = pieces(query).flat_map(|piece| piece.runs).collect();
        let by_terms =
            wanted.iter().flat_map(Run::needed_terms).all(|needed| terms.contains(&needed));
        let by_runs = wanted.iter().all(|wanted| runs.iter().any(|run| run.has(wanted)));
        assert!(by_terms || !by_runs, "{query:?} is in {text:?}, and the index has it not");
        by_runs
    }

    #[test]
    fn words_stand_between_what_is_no_letter() {
        assert_eq!(terms("Hello, world!"), ["hello", "world"]);
        assert_eq!(
            terms("https://example.com/a_b.png?x=1"),
            ["https", "example", "com", "a", "b", "png", "x", "1"]
        );
        assert_eq!(terms("don't \u{1F389} 3.14"), ["don", "t", "3", "14"]);
        assert_eq!(terms(" \u{200D}\u{301} -- \u{1F469}\u{200D}\u{1F4BB} "), [""; 0]);
    }

    #[test]
    fn forms_of_a_letter_are_equal() {
        for (query, text) in [
            ("CAFE", "un café"),
            ("café", "cafe\u{301}"),
            ("strasse", "Straße"),
            ("ΟΔΟΣ", "οδός"),
            ("istanbul", "İstanbul"),
            ("fi", "ﬁ"),
            ("x2", "x²"),
            ("サーバー", "ｻｰﾊﾞｰ"),
            ("مدرسة", "مَدْرَسَة"),
            ("שלום", "שָׁלוֹם"),
            ("cooperate", "co\u{AD}operate"),
            ("ё", "е"),
        ] {
            assert!(finds(query, text), "{query} in {text}");
        }
    }

    #[test]
    fn words_are_found_in_scripts_without_spaces() {
        for (query, text) in [
            ("京都", "私は京都に行きました"),
            ("行", "私は京都に行きました"),
            ("服务器", "这个服务器很快"),
            ("器", "服务器"),
            ("학교", "학교에서 만나요"),
            ("ラーメン", "今日のラーメンはおいしい"),
            ("กรุงเทพ", "ฉันอยู่ที่กรุงเทพมหานคร"),
            ("ប្រទេស", "ប្រទេសកម្ពុជា"),
            ("ລາວ", "ພາສາລາວ"),
            ("第3回", "次は第3回です"),
            ("हिन्दी", "यह हिन्दी है"),
        ] {
            assert!(finds(query, text), "{query} in {text}");
        }
        // The pairs are all there, the word is not.
        assert!(!finds("東京都", "京都と東京"));
        assert!(!finds("art", "cartoon"));
        assert!(!finds("हिन्द", "हिन्दी"));
    }

    #[test]
    fn what_is_endless_is_cut() {
        let long = "x".repeat(10_000);
        assert_eq!(terms(&long), ["x".repeat(LONGEST)]);
        let stacked = format!("ก{}", "\u{E48}".repeat(10_000));
        assert!(terms(&stacked).iter().all(|term| term.chars().count() <= 2 * LONGEST_LETTER));
    }

    proptest! {
        #[test]
        fn every_text_is_found_by_its_pieces(text in "\\PC{0,60}") {
            for piece in pieces(&text) {
                prop_assert!(finds(piece.written, &text));
            }
        }

        #[test]
        fn case_does_not_count(text in "[a-zäöüßéçñøåæœ0-9αβγςσжщё ,.]{0,60}") {
            for piece in pieces(&text) {
                prop_assert!(finds(&piece.written.to_uppercase(), &text));
            }
        }

        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,60}") {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded);
        }

        #[test]
        fn no_text_is_too_odd(text in any::<String>()) {
            let _ = terms(&text);
        }

        #[test]
        fn parts_of_letters_are_found(text in "[\u{4E00}-\u{4E20}]{2,20}", from in 0..10_usize, len in 1..5_usize) {
            let part: String = text.chars().skip(from).take(len).collect();
            prop_assert!(finds(&part, &text));
        }
    }
}
