//! A crate's manifest is its promise: what it depends on says what it can be about.

use std::fs;

use toml::{Table, Value};

use crate::tree::{assert_none, root};

/// The crates from top to bottom, each with those of ours that it may use.
const HOUSE: [(&str, &[&str]); 6] = [
    (".", &["starling-client-api", "starling-engine", "starling-federation", "starling-storage"]),
    ("client-api", &["starling-engine"]),
    ("federation", &["starling-engine"]),
    ("engine", &["starling-storage"]),
    ("storage", &[]),
    (
        "conformance",
        &["starling-client-api", "starling-engine", "starling-federation", "starling-storage"],
    ),
];

/// Crates that belong to one layer, and the folders that may have them.
const KEPT_TO: [(&str, &[&str]); 6] = [
    ("sqlx", &["storage"]),
    ("rusqlite", &["storage", "conformance"]),
    ("axum", &[".", "client-api", "federation", "conformance"]),
    ("axum-server", &[".", "conformance"]),
    ("reqwest", &[".", "federation", "conformance"]),
    ("anyhow", &[".", "conformance"]),
];

fn manifest(folder: &str) -> Table {
    let path = root().join(folder).join("Cargo.toml");
    toml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Names of dependencies; what only tests use is another matter.
fn dependencies(manifest: &Table) -> Vec<&str> {
    let table = manifest.get("dependencies").and_then(Value::as_table);
    table.into_iter().flat_map(Table::keys).map(String::as_str).collect()
}

#[test]
fn dependencies_between_our_crates_point_down() {
    let mut complaints = Vec::new();
    for (folder, allowed) in HOUSE {
        let manifest = manifest(folder);
        for name in dependencies(&manifest) {
            if name.starts_with("starling") && !allowed.contains(&name) {
                complaints.push(format!("{folder}: must not depend on {name}"));
            }
        }
    }
    assert_none(&complaints);
}

/// Decoders that are not written in Rust, and those of formats that nobody needs.
const NO_DECODERS: [&str; 12] = [
    "libwebp-sys",
    "libwebp",
    "mozjpeg",
    "mozjpeg-sys",
    "turbojpeg",
    "libheif-sys",
    "libavif-sys",
    "dav1d",
    "dav1d-sys",
    "openjpeg-sys",
    "magick_rust",
    "resvg",
];

#[test]
fn pictures_are_decoded_in_rust() {
    let lock: Table =
        toml::from_str(&fs::read_to_string(root().join("Cargo.lock")).unwrap()).unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    let names: Vec<&str> = packages.filter_map(|package| package["name"].as_str()).collect();
    let found: Vec<String> =
        NO_DECODERS.iter().filter(|name| names.contains(name)).map(ToString::to_string).collect();
    assert_none(&found);
    let workspace = manifest(".");
    let image = &workspace["workspace"]["dependencies"]["image"];
    assert_eq!(image["default-features"].as_bool(), Some(false));
    let features = image["features"].as_array().unwrap().iter().filter_map(Value::as_str);
    assert_eq!(features.collect::<Vec<_>>(), ["gif", "jpeg", "png", "webp"]);
}

#[test]
fn crates_of_one_layer_are_not_used_in_others() {
    let mut complaints = Vec::new();
    for (folder, _) in HOUSE {
        let manifest = manifest(folder);
        for (name, allowed) in KEPT_TO {
            if dependencies(&manifest).contains(&name) && !allowed.contains(&folder) {
                complaints.push(format!("{folder}: must not depend on {name}"));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn every_manifest_has_the_license_and_the_lints() {
    let mut complaints = Vec::new();
    for (folder, _) in HOUSE {
        let manifest = manifest(folder);
        let package = manifest["package"].as_table().unwrap();
        if package.get("license").is_none() {
            complaints.push(format!("{folder}: no license"));
        }
        if manifest.get("lints") != Some(&Value::Table(workspace())) {
            complaints.push(format!("{folder}: not the lints of the workspace"));
        }
    }
    assert_none(&complaints);
}

#[test]
fn all_members_are_in_the_house() {
    let manifest = manifest(".");
    let members = manifest["workspace"]["members"].as_array().unwrap();
    for member in members {
        let name = member.as_str().unwrap();
        assert!(HOUSE.iter().any(|(folder, _)| *folder == name), "{name} is not in HOUSE");
    }
    assert_eq!(members.len() + 1, HOUSE.len());
}

fn workspace() -> Table {
    Table::from_iter([("workspace".to_owned(), Value::Boolean(true))])
}
