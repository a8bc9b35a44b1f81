//! The list of attacks.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context as _, Result, ensure};

/// One attack.
#[derive(Clone, Debug)]
pub(super) struct Attack {
    /// `S7`, `A3` or `C12`; the letter says in which table it stands.
    pub(super) number: String,
    /// `F1` to `F8`, where it belongs to one of the families.
    pub(super) family: String,
    /// What is tried.
    pub(super) words: String,
    /// Where it was published, if it was.
    pub(super) source: String,
    /// What is known of it here.
    pub(super) answer: Answer,
}

/// What is known of an attack here.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// It is played.
    Tests(Vec<Test>),
    /// It cannot be, for this reason.
    Reason(String),
}

/// A test function.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Test {
    /// The file from the top.
    pub(super) path: String,
    /// The function.
    pub(super) name: String,
}

impl fmt::Display for Test {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}::{}", self.path, self.name)
    }
}

/// Longer words than these are no summary.
const LONGEST: usize = 140;
/// What stands before a reason.
const NONE: &str = "none: ";

/// Reads the list: five fields a line, the last of which are tests (`path::function`) or a reason.
pub(super) fn parse(text: &str) -> Result<Vec<Attack>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let attacks: Vec<Attack> = lines.map(attack).collect::<Result<_>>()?;
    for letter in ['S', 'A', 'C'] {
        let numbers = attacks.iter().filter_map(|attack| attack.number.strip_prefix(letter));
        for (index, number) in numbers.enumerate() {
            let expected = index + 1;
            ensure!(number == expected.to_string(), "{letter}{number} stands for {expected}");
        }
    }
    Ok(attacks)
}

fn attack(line: &str) -> Result<Attack> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [number, family, words, source, answer] = fields.as_slice() else {
        anyhow::bail!("not five fields: {line:?}");
    };
    ensure!(number.starts_with(['S', 'A', 'C']), "no number: {line:?}");
    ensure!(words.chars().count() <= LONGEST, "too many words: {line:?}");
    ensure!(!words.is_empty() && !words.contains('|'), "no words for a table: {line:?}");
    let answer = match answer.strip_prefix(NONE) {
        Some(reason) => Answer::Reason(reason.to_owned()),
        None => Answer::Tests(tests(answer).with_context(|| format!("no tests: {line:?}"))?),
    };
    Ok(Attack {
        number: (*number).to_owned(),
        family: (*family).to_owned(),
        words: (*words).to_owned(),
        source: (*source).to_owned(),
        answer,
    })
}

fn tests(field: &str) -> Result<Vec<Test>> {
    let test = |word: &str| {
        let (path, name) = word.rsplit_once("::").with_context(|| format!("no test: {word}"))?;
        Ok(Test { path: path.to_owned(), name: name.to_owned() })
    };
    let tests: Vec<Test> = field.split(' ').map(test).collect::<Result<_>>()?;
    let distinct: BTreeSet<&Test> = tests.iter().collect();
    ensure!(distinct.len() == tests.len(), "a test is named twice: {field}");
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_has_tests_or_a_reason() {
        let attacks =
            parse("# a note\nS1\tF1\twords\t\ta/b.rs::c d.rs::e\nS2\t\tx\tCVE\tnone: why\n");
        let attacks = attacks.unwrap();
        let Answer::Tests(tests) = &attacks[0].answer else { panic!("{attacks:?}") };
        assert_eq!(tests[1].to_string(), "d.rs::e");
        assert!(matches!(&attacks[1].answer, Answer::Reason(reason) if reason == "why"));
        for wrong in ["", "none", "a.rs", "a.rs::b a.rs::b"] {
            parse(&format!("S1\t\twords\t\t{wrong}")).unwrap_err();
        }
    }

    #[test]
    fn numbers_follow_each_other() {
        let line = |number: &str| format!("{number}\t\twords\t\tnone: why\n");
        parse(&[line("S1"), line("C1"), line("S2")].concat()).unwrap();
        parse(&[line("S1"), line("S3")].concat()).unwrap_err();
        parse(&line("X1")).unwrap_err();
    }
}
