//! Lets stock client libraries play their stories, and counts the lines that they print.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::{
    appservice::{Bridge, Plan, files},
    client::User,
    report::{Case, Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa, synapse},
};

/// matrix-js-sdk on the Node.js that is installed beside it.
pub(super) async fn js(report: &mut Report, one: &Server, other: &Server) -> Result<()> {
    let folder = interop_folder().join("js");
    let (node, both) = (node(&folder)?, two(one, other));
    play(report, "matrix-js-sdk", &node, &folder.join("story.mjs"), &both).await?;
    let encrypted = folder.join("encrypted.mjs");
    play(report, "matrix-js-sdk, encrypted", &node, &encrypted, &both).await?;
    let sliding = folder.join("sliding.mjs");
    play(report, "matrix-js-sdk, sliding", &node, &sliding, &both).await
}

/// The package for this machine, one of several optional ones, brings the interpreter.
fn node(folder: &Path) -> Result<PathBuf> {
    const MISSING: &str = "Node.js is not installed: run conformance/interop/setup.sh";
    let packages = std::fs::read_dir(folder.join("node_modules")).context(MISSING)?;
    packages
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("node-linux-"))
        .map(|entry| entry.path().join("bin/node"))
        .find(|path| path.is_file())
        .context(MISSING)
}

/// matrix-nio in the Python environment.
pub(super) async fn nio(report: &mut Report, one: &Server, other: &Server) -> Result<()> {
    let story = interop_folder().join("python/nio_story.py");
    play(report, "matrix-nio", &synapse::python()?, &story, &two(one, other)).await
}

/// A bridge on mautrix in the Python environment, with a server of its own.
pub(super) async fn mautrix(
    report: &mut Report,
    database: DatabaseKind,
    ca: &TestCa,
) -> Result<()> {
    let plan = Plan::new("mau").with("receive_ephemeral", true.into());
    let mut bridge = Bridge::start(plan).await?;
    let files = files(&[&bridge.registration()]);
    let spec = Spec::new(Kind::Starling)?.on(database).with_setting("APPSERVICES__FILES", &files);
    let server = spec.start(ca).await?;
    let alice = User::register(&server, "alice").await?;
    // From here on the library listens there.
    bridge.go();
    let arguments = [
        server.client_url(),
        server.name().to_owned(),
        bridge.port().to_string(),
        "mau".to_owned(),
        bridge.as_token().to_owned(),
        bridge.hs_token().to_owned(),
        alice.id,
        alice.token,
    ];
    let story = interop_folder().join("python/mautrix_story.py");
    play(report, "mautrix", &synapse::python()?, &story, &arguments).await
}

/// What a story of two servers gets: the base URLs of both client APIs and the name of the first.
fn two(one: &Server, other: &Server) -> [String; 3] {
    [one.client_url(), other.client_url(), one.name().to_owned()]
}

fn interop_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop")
}

/// Plays one story with one library.
///
/// It prints `ok - NAME` or `not ok - NAME` for each step, `# …` for remarks, and ends with a status of 0
/// when every step passed.
async fn play(
    report: &mut Report,
    library: &str,
    interpreter: &Path,
    story: &Path,
    arguments: &[String],
) -> Result<()> {
    let mut child = Command::new(interpreter)
        .arg(story)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", interpreter.display()))?;
    let output = child.stdout.take().context("the output of the story is not there")?;
    let mut lines = BufReader::new(output).lines();
    let mut begun = Instant::now();
    while let Some(line) = lines.next_line().await? {
        let Some((passed, name)) = step(&line) else {
            say(&format!("    {line}"));
            continue;
        };
        let seconds = begun.elapsed().as_secs_f64();
        report.record(Case { name: format!("{library}: {name}"), passed, seconds, error: None });
        begun = Instant::now();
    }
    let status = child.wait().await?;
    report.record(Case {
        name: format!("{library}: the story ends well"),
        passed: status.success(),
        seconds: begun.elapsed().as_secs_f64(),
        error: (!status.success()).then(|| status.to_string()),
    });
    Ok(())
}

fn step(line: &str) -> Option<(bool, &str)> {
    let passed = line.strip_prefix("ok - ").map(|name| (true, name));
    passed.or_else(|| line.strip_prefix("not ok - ").map(|name| (false, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_from_remarks() {
        assert_eq!(step("ok - joins"), Some((true, "joins")));
        assert_eq!(step("not ok - joins"), Some((false, "joins")));
        assert_eq!(step("# ok - joins"), None);
    }
}
