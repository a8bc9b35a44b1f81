//! Rules for every Rust file.

use crate::tree::{assert_none, rust_files};

const MOST_LINES: usize = 600;

#[test]
fn every_file_says_first_what_it_is() {
    let complaints: Vec<_> = rust_files("")
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("{}: the first line does not start with `//! `", source.path))
        .collect();
    assert_none(&complaints);
}

#[test]
fn no_file_is_too_long_to_read() {
    let complaints: Vec<_> = rust_files("")
        .iter()
        .filter(|source| source.text.lines().count() > MOST_LINES)
        .map(|source| format!("{}: more than {MOST_LINES} lines", source.path))
        .collect();
    assert_none(&complaints);
}

#[test]
fn nothing_is_left_for_later_and_no_test_is_switched_off() {
    // In two parts each, or this file would be found.
    let forbidden = [
        ["to", "do!("],
        ["unimple", "mented!("],
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["#[ig", "nore"],
    ]
    .map(|parts| parts.concat());
    let is_wrong = |line: &str| forbidden.iter().any(|word| line.contains(word));
    assert_none(&lines(is_wrong, |_| false));
}

#[test]
fn sql_stands_in_storage_only() {
    let statements = ["SELECT", "INSERT INTO", "DELETE FROM", "CREATE TABLE", "DROP TABLE"];
    let is_wrong = |line: &str| {
        statements.iter().any(|statement| {
            line.contains(&format!("\"{statement} "))
                || line.trim_start().starts_with(&format!("{statement} "))
        })
    };
    // The suites ask PostgreSQL about its processes and sizes, and write again what a server wrote, whatever it is:
    // they know nothing of Starling's tables.
    let of_suites =
        ["conformance/src/servers/database.rs", "conformance/src/bench/limits/written.rs"];
    let is_excepted = |path: &str| path.starts_with("storage/") || of_suites.contains(&path);
    assert_none(&lines(is_wrong, is_excepted));
}

/// The wrong lines of all files that are not excepted.
fn lines(is_wrong: impl Fn(&str) -> bool, is_excepted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in rust_files("").iter().filter(|source| !is_excepted(&source.path)) {
        for (number, line) in source.text.lines().enumerate().filter(|(_, line)| is_wrong(line)) {
            complaints.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
        }
    }
    complaints
}
