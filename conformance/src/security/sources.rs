//! The tests as they stand in the sources.

use std::{fs, path::Path};

use super::index::Test;

/// Whether a file has a test function of that name.
pub(super) fn has(root: &Path, test: &Test) -> bool {
    fs::read_to_string(root.join(&test.path)).is_ok_and(|text| is_test(&text, &test.name))
}

fn is_test(text: &str, name: &str) -> bool {
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if let Some(found) = function(line) {
            if marked && found == name {
                return true;
            }
            marked = false;
        }
    }
    false
}

fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// The names by which test programs may call a test: unit tests stand in a module of their own.
pub(super) fn names(test: &Test) -> [String; 2] {
    let module = module(&test.path);
    let join = |parts: &[&str]| {
        parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("::")
    };
    [join(&[&module, &test.name]), join(&[&module, "tests", &test.name])]
}

/// `engine/src/rooms/mod.rs` is the module `rooms`, `conformance/tests/it/client/sync.rs` is
/// `client::sync`.
fn module(path: &str) -> String {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut parts: Vec<&str> = path.split('/').collect();
    if let Some(at) = parts.iter().position(|part| *part == "src" || *part == "tests") {
        let folders = if parts.get(at) == Some(&"tests") { 2 } else { 1 };
        parts.drain(..(at + folders).min(parts.len()));
    }
    if parts.last().is_some_and(|last| ["mod", "main", "lib"].contains(last)) {
        parts.pop();
    }
    parts.join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(path: &str) -> Test {
        Test { path: path.to_owned(), name: "it_works".to_owned() }
    }

    #[test]
    fn a_test_is_called_as_its_file_lies() {
        for (path, expected) in [
            ("engine/src/rooms/mod.rs", "rooms::tests::it_works"),
            ("engine/src/sync/tests/model.rs", "sync::tests::model::it_works"),
            ("engine/src/sync/tests.rs", "sync::tests::it_works"),
            ("src/http/client_ip.rs", "http::client_ip::tests::it_works"),
            ("conformance/tests/it/hostile.rs", "hostile::it_works"),
            ("federation/tests/it/main.rs", "it_works"),
            ("tests/program/limits.rs", "limits::it_works"),
        ] {
            assert!(names(&test(path)).contains(&expected.to_owned()), "{path}");
        }
    }

    #[test]
    fn only_a_marked_function_is_a_test() {
        let text = "#[tokio::test]\nasync fn one() {}\nfn two() {}\n    #[test]\n    fn three() {}";
        assert!(is_test(text, "one") && is_test(text, "three"));
        assert!(!is_test(text, "two") && !is_test(text, "on"));
    }
}
