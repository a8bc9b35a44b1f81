//! "The path tells the file": a route file stands where the Matrix path leads, and its first lines
//! name the operations that it serves.

use std::collections::BTreeSet;

use crate::tree::{Source, assert_none, rust_files};

const DOORS: [&str; 2] = ["client-api/src/routes/", "federation/src/routes/"];
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "OPTIONS"];

#[test]
fn route_files_name_their_operations_and_stand_in_their_place() {
    let mut complaints = Vec::new();
    for door in DOORS {
        for source in rust_files(door) {
            // Folders list their files, and say what the files have in common.
            if !source.path.ends_with("/mod.rs") {
                complaints.extend(complaint(door, &source));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn the_routers_and_the_route_files_name_the_same_operations() {
    let mut complaints = Vec::new();
    for door in DOORS {
        let routed: BTreeSet<String> = rust_files(&door.replace("routes/", ""))
            .iter()
            .filter(|source| source.text.contains("fn table("))
            .flat_map(routed_operations)
            .collect();
        let documented: BTreeSet<String> = rust_files(door)
            .iter()
            .filter(|source| !source.path.ends_with("/mod.rs"))
            .flat_map(|source| operations(&source.text))
            .map(|(method, path)| format!("{method} {path}"))
            .collect();
        for operation in routed.difference(&documented) {
            complaints.push(format!("{operation} is routed, but no file in {door} names it"));
        }
        for operation in documented.difference(&routed) {
            complaints.push(format!("{operation} is named by a file in {door}, but not routed"));
        }
    }
    assert_none(&complaints);
}

/// The lines of a door's table, such as `get("/_matrix/client/versions", …)`.
fn routed_operations(source: &Source) -> Vec<String> {
    let line = |line: &str| {
        let (method, rest) = line.trim().split_once("(\"/")?;
        let method = method.to_uppercase();
        let (path, _) = rest.split_once('"')?;
        METHODS.contains(&method.as_str()).then(|| format!("{method} /{path}"))
    };
    source.text.lines().filter_map(line).collect()
}

fn complaint(door: &str, source: &Source) -> Option<String> {
    let operations = operations(&source.text);
    if operations.is_empty() {
        return Some(format!("{}: the first line names no method and path", source.path));
    }
    let (_, misplaced) = operations.into_iter().find(|(_, path)| {
        place(path).is_none_or(|place| format!("{door}{place}") != source.path)
    })?;
    let place = place(misplaced).unwrap_or_else(|| "(no place: unknown path)".to_owned());
    Some(format!("{}: {misplaced} belongs in {door}{place}", source.path))
}

/// The operations named in a file's first lines, until a line that names none.
fn operations(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .map_while(|line| line.strip_prefix("//! ")?.split_once(' '))
        .take_while(|(method, path)| METHODS.contains(method) && path.starts_with('/'))
        .collect()
}

/// The file, under the door's `routes/`, of the operation at `path`.
fn place(path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (folder, rest) = match segments.as_slice() {
        [".well-known", "matrix", rest @ ..] => ("well_known/", rest),
        ["_synapse", "admin", rest @ ..] => ("admin/", rest),
        ["_matrix", "media", rest @ ..] => ("media/legacy/", rest),
        ["_matrix", _, rest @ ..] => ("", rest),
        _ => return None,
    };
    let words: Vec<String> = without_version(rest)
        .iter()
        .filter(|segment| !segment.is_empty() && !segment.starts_with('{'))
        .map(|segment| word(segment))
        .collect();
    match words.as_slice() {
        [] => None,
        [file] => Some(format!("{folder}{file}.rs")),
        [inner, file, ..] if folder.is_empty() || folder == "admin/" => {
            Some(format!("{folder}{inner}/{file}.rs"))
        }
        [file, ..] => Some(format!("{folder}{file}.rs")),
    }
}

fn without_version<'a>(segments: &'a [&'a str]) -> &'a [&'a str] {
    match segments {
        ["unstable", prefix, rest @ ..] if prefix.contains('.') => rest,
        ["unstable", rest @ ..] => rest,
        [version, rest @ ..] if is_version(version) => rest,
        all => all,
    }
}

fn is_version(segment: &str) -> bool {
    let digits = segment.strip_prefix(['v', 'r']).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn word(segment: &str) -> String {
    if segment == "3pid" {
        return "threepid".to_owned();
    }
    let mut word = String::new();
    for letter in segment.chars() {
        match letter {
            'A'..='Z' => {
                word.push('_');
                word.push(letter.to_ascii_lowercase());
            }
            '-' | '.' => word.push('_'),
            _ => word.push(letter),
        }
    }
    word.trim_start_matches('_').to_owned()
}

#[test]
fn paths_lead_to_files() {
    for (path, file) in [
        ("/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", "rooms/send.rs"),
        ("/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", "rooms/state.rs"),
        ("/_matrix/client/v3/createRoom", "create_room.rs"),
        ("/_matrix/client/versions", "versions.rs"),
        ("/_matrix/client/r0/sync", "sync.rs"),
        ("/_matrix/client/v3/profile/{userId}/{keyName}", "profile.rs"),
        ("/_matrix/client/v3/pushrules/", "pushrules.rs"),
        ("/_matrix/client/v3/user/{userId}/account_data/{type}", "user/account_data.rs"),
        ("/_matrix/client/v3/account/3pid/add", "account/threepid.rs"),
        ("/_matrix/client/unstable/org.matrix.msc1/rooms/{roomId}/x", "rooms/x.rs"),
        ("/_matrix/client/unstable/rooms/{roomId}/x", "rooms/x.rs"),
        ("/_matrix/client/v1/media/download/{serverName}/{mediaId}", "media/download.rs"),
        ("/_matrix/media/v3/upload", "media/legacy/upload.rs"),
        ("/_matrix/federation/v2/send_join/{roomId}/{eventId}", "send_join.rs"),
        ("/_matrix/federation/v1/query/directory", "query/directory.rs"),
        ("/_matrix/key/v2/server", "server.rs"),
        ("/.well-known/matrix/client", "well_known/client.rs"),
        ("/_synapse/admin/v1/register", "admin/register.rs"),
        ("/_synapse/admin/v2/users/{userId}", "admin/users.rs"),
        ("/_synapse/admin/v2/users/{userId}/devices/{deviceId}", "admin/users/devices.rs"),
    ] {
        assert_eq!(place(path).as_deref(), Some(file), "{path}");
    }
    assert_eq!(place("/health/live"), None);
}

#[test]
fn a_file_in_the_wrong_place_or_without_a_path_is_found() {
    let door = "client-api/src/routes/";
    let source =
        |path: &str, text: &str| Source { path: format!("{door}{path}"), text: text.to_owned() };
    let sync = "//! GET /_matrix/client/v3/sync\n//! More about it.\n";
    assert_eq!(complaint(door, &source("sync.rs", sync)), None);
    assert!(complaint(door, &source("rooms/sync.rs", sync)).is_some());
    assert!(complaint(door, &source("sync.rs", "//! What clients poll.")).is_some());
    let two = "//! GET /_matrix/client/v3/sync\n//! GET /_matrix/client/v3/events\n";
    assert!(complaint(door, &source("sync.rs", two)).unwrap().contains("events.rs"));
}
