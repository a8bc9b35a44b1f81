//! What the documents point to is there.

use std::fs;

use crate::tree::{assert_none, root};

/// The folders at the top whose files the documents name by their whole path; not `tests/`, which other
/// projects have too.
const TOPS: [&str; 9] = [
    "client-api/",
    "conformance/",
    "deploy/",
    "docs/",
    "engine/",
    "federation/",
    "migrations/",
    "src/",
    "storage/",
];

#[test]
fn every_path_in_a_document_exists() {
    let mut complaints = Vec::new();
    for folder in ["", "docs"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).unwrap();
                let missing = paths(&text).filter(|named| !root().join(named).exists());
                complaints.extend(missing.map(|named| format!("{}: no {named}", path.display())));
            }
        }
    }
    assert_none(&complaints);
}

/// Paths from the top, such as `engine/src/rooms/append.rs` or `docs/`; none with a placeholder.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let delimiter = |c: char| c.is_whitespace() || "`()[],;:#\"'*|→".contains(c);
    text.split(delimiter)
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| TOPS.iter().any(|top| word.starts_with(top)))
        .filter(|word| !word.contains(['<', '{', '$', '…']))
}
