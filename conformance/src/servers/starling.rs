//! Starling as a server under test: its configuration file and its command line.

use std::{
    env,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{SHARED_SECRET, Spec, database::PostgresDatabase, ports};

/// Names the binary to test; otherwise it is `starling` in the directory of this program's build.
pub const BINARY: &str = "STARLING_BIN";

/// Answers 200 as soon as the server can serve.
pub const READY_PATH: &str = "/health/ready";

/// Writes the configuration file of a server into its directory.
pub fn prepare(spec: &Spec, directory: &Path, database: Option<&PostgresDatabase>) -> Result<()> {
    let path = directory.join("starling.toml");
    std::fs::write(&path, configuration(spec, directory, database))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The command that serves from a prepared directory.
pub fn command(spec: &Spec, directory: &Path) -> Result<Command> {
    let mut command = program(spec)?;
    command.arg("serve").arg("--config").arg(directory.join("starling.toml"));
    command.arg("--data").arg(directory.join("data"));
    for (name, value) in &spec.settings {
        command.env(format!("STARLING__{name}"), value);
    }
    command.envs(spec.variables.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// What runs the binary: it is in its control group before it looks what that allows.
fn program(spec: &Spec) -> Result<Command> {
    let Some(group) = &spec.group else { return Ok(Command::new(binary()?)) };
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"echo $$ > "$0" && exec "$@""#]);
    shell.arg(group.join("cgroup.procs")).arg(binary()?);
    Ok(shell)
}

/// The binary under test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os(BINARY) {
        return Ok(path.into());
    }
    let own = env::current_exe()?;
    // A test binary stands one level below the programs, in `deps`.
    for directory in own.ancestors().skip(1).take(2) {
        let candidate = directory.join("starling");
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("no `starling` beside {}: build it first, or set {BINARY}", own.display());
}

fn configuration(spec: &Spec, directory: &Path, database: Option<&PostgresDatabase>) -> String {
    let text = format!(
        r#"server_name = {name:?}

[client]
listen = ["{client}"]

[admin]
listen = ["{client}"]

[federation]
listen = ["{federation}"]
allow_private_addresses = true
trusted_ca_files = [{ca:?}]

[federation.tls]
certificate = {certificate:?}
key = {key:?}

[federation.resolve_overrides]
{overrides}
[registration]
mode = "open"
shared_secret = "{SHARED_SECRET}"

[push]
allow_private_addresses = true

[rate_limits]
enabled = false

[limits]
late_ms = 0
"#,
        name = spec.name,
        client = ports::loopback(spec.client_port),
        federation = ports::loopback(spec.federation_port),
        ca = directory.join("ca.crt"),
        certificate = directory.join("tls.crt"),
        key = directory.join("tls.key"),
        overrides = overrides(spec),
    );
    match database {
        Some(database) => format!("{text}\n[database]\nurl = {:?}\n", database.url()),
        None => text,
    }
}

fn overrides(spec: &Spec) -> String {
    let mut lines = String::new();
    for (name, port) in &spec.peers {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{name:?} = \"{}\"", ports::loopback(*port));
    }
    lines
}
