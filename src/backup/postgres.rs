//! The tools that PostgreSQL brings for copying a database.

use std::{ffi::OsStr, path::Path};

use anyhow::{Context as _, ensure};
use tokio::process::Command;
use url::Url;

/// Copies a database as it is at one moment into a file of its custom format.
pub(super) async fn dump(url: &str, into: &Path) -> anyhow::Result<()> {
    let mut command = command("pg_dump", Some(url))?;
    command.args(["--format=custom", "--no-owner", "--no-privileges", "--file"]).arg(into);
    run(command).await
}

/// Whether such a file can be read.
pub(super) async fn check(path: &Path) -> anyhow::Result<()> {
    let mut command = command("pg_restore", None)?;
    command.arg("--list").arg(path);
    run(command).await
}

/// Fills an empty database from such a file, wholly or not at all.
pub(super) async fn restore(url: &str, from: &Path) -> anyhow::Result<()> {
    let mut command = command("pg_restore", Some(url))?;
    command.args(["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]);
    command.arg(from);
    run(command).await
}

/// A tool that is to work on a database. Others see its command line, so the password is not there.
fn command(tool: &str, url: Option<&str>) -> anyhow::Result<Command> {
    let mut command = Command::new(tool);
    command.env("LC_ALL", "C");
    if let Some(url) = url {
        let mut url = Url::parse(url).context("`database.url` is no URL")?;
        if let Some(password) = url.password() {
            let password = percent_encoding::percent_decode_str(password).decode_utf8()?;
            command.env("PGPASSWORD", password.as_ref());
        }
        // A URL that had a password can have none.
        let _ = url.set_password(None);
        command.arg("--dbname").arg(url.as_str());
    }
    Ok(command)
}

async fn run(mut command: Command) -> anyhow::Result<()> {
    let tool = command.as_std().get_program().to_owned();
    let tool = Path::new(&tool).file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let output = command.output().await;
    let output = output.with_context(|| {
        format!("cannot run {tool}, which comes with PostgreSQL (`postgresql-client` on Debian)")
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{tool}: {}", said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown_to_others() {
        let url = "postgres://me:a%2Fb@db.example:5433/starling?sslmode=require";
        let command = command("pg_dump", Some(url)).unwrap();
        let arguments: Vec<_> = command.as_std().get_args().collect();
        let shown = "postgres://me@db.example:5433/starling?sslmode=require";
        assert_eq!(arguments, ["--dbname", shown]);
        let mut environment = command.as_std().get_envs();
        assert!(environment.any(|it| it == (OsStr::new("PGPASSWORD"), Some(OsStr::new("a/b")))));
    }
}
