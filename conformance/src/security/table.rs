//! The tables of attacks in the page about security.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::index::{Answer, Attack, Test};

const BEGIN: &str = "<!-- attacks: written by `starling-conformance security --write` -->\n";
const END: &str = "<!-- end of attacks -->\n";

/// Letter and heading of each table.
const TABLES: [(&str, &str); 3] = [
    ("S", "What was done to homeservers"),
    ("A", "The surface, place by place"),
    ("C", "What other homeservers got wrong"),
];

/// The page with these attacks in place of those that it had.
pub(super) fn replaced(page: &str, attacks: &[Attack]) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("the page has no place for the tables")?;
    let (_, after) = rest.split_once(END).context("the tables of the page have no end")?;
    let tables: String = TABLES.iter().map(|(letter, title)| of(letter, title, attacks)).collect();
    Ok(format!("{before}{BEGIN}{tables}{END}{after}"))
}

fn of(letter: &str, title: &str, attacks: &[Attack]) -> String {
    let attacks: Vec<&Attack> =
        attacks.iter().filter(|attack| attack.number.starts_with(letter)).collect();
    let played = attacks.iter().filter(|attack| matches!(attack.answer, Answer::Tests(_))).count();
    let lines: String = attacks.iter().map(|attack| line(attack)).collect();
    let count = attacks.len();
    format!(
        "\n### {title}: {played} of {count} played\n\n\
         | No. | Family | What is tried | Known as | Played in | Result |\n\
         | --- | --- | --- | --- | --- | --- |\n{lines}\n"
    )
}

fn line(attack: &Attack) -> String {
    let Attack { number, family, words, source, answer } = attack;
    let (tests, result) = match answer {
        Answer::Tests(tests) => (listed(tests), "passes"),
        Answer::Reason(reason) => (reason.clone(), "does not apply"),
    };
    format!("| {number} | {family} | {words} | {source} | {tests} | {result} |\n")
}

/// The tests, file by file.
fn listed(tests: &[Test]) -> String {
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for test in tests {
        files.entry(&test.path).or_default().push(&test.name);
    }
    let file = |(path, names): (&&str, &Vec<&str>)| {
        let names: Vec<String> = names.iter().map(|name| name.replace('_', " ")).collect();
        format!("`{path}`: {}", names.join(", "))
    };
    files.iter().map(file).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_takes_the_tables() {
        let index = "S1\tF1\twords\tCVE-1\ta.rs::b_c d.rs::e a.rs::f\nC1\t\tx\t\tnone: why\n";
        let attacks = super::super::index::parse(index).unwrap();
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        let page = replaced(&page, &attacks).unwrap();
        assert!(page.starts_with("before\n") && page.ends_with("after\n") && !page.contains("old"));
        let first = "| S1 | F1 | words | CVE-1 | `a.rs`: b c, f; `d.rs`: e | passes |\n";
        assert!(page.contains(first), "{page}");
        assert!(page.contains("| C1 |  | x |  | why | does not apply |\n"), "{page}");
        assert!(page.contains("homeservers: 1 of 1 played\n"), "{page}");
        assert!(page.contains("got wrong: 0 of 1 played\n"), "{page}");
        assert_eq!(replaced(&page, &attacks).unwrap(), page);
        replaced("nothing", &[]).unwrap_err();
    }
}
