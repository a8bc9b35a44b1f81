//! Damage to what is stored: `starling doctor --deep` finds every piece of it, finds nothing where there is
//! none, and changes nothing itself.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    random,
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa, starling},
};

mod history;

/// What damages a database, for Python's `sqlite3`.
const DAMAGE: &str = include_str!("../../../faults/damage.py");

/// How the test of damage is run.
#[derive(Args, Debug)]
pub struct Options {
    /// How often something is damaged, each time in one place.
    #[arg(long, default_value_t = 1000)]
    rounds: usize,
    /// Repeats the damages of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Runs all rounds and tells whether every damage was found.
pub async fn run(options: Options) -> Result<bool> {
    let seed = options.seed.map_or_else(random::seed, Ok)?;
    say(&format!("seed: {seed}"));
    let ca = TestCa::new()?;
    let server = Spec::new(Kind::Starling)?.on(DatabaseKind::Sqlite).start(&ca).await?;
    history::make(&server, &ca).await?;
    let mut report = Report::default();
    report.case("nothing is wrong while the server runs", is_sound(&server)).await;
    ensure!(server.stop()? == Some(0), "the server ended with an error");
    report
        .case("nothing is wrong when it has ended, and nothing is changed", async {
            let before = hashes(&server.directory().join("data"))?;
            is_sound(&server).await?;
            ensure!(hashes(&server.directory().join("data"))? == before, "files have changed");
            Ok(())
        })
        .await;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut found = BTreeMap::<String, usize>::new();
    for round in 1..=options.rounds {
        if report.failed() > 0 {
            break;
        }
        let mut damage = String::new();
        let case = async {
            let copy = copy(&server)?;
            damage = make(copy.path(), &mut rng)?;
            let output = examine(&server, Some(copy.path()))?;
            ensure!(!output.status.success(), "not found: {damage}\n{}", text(&output));
            Ok(())
        };
        // A line for each of a thousand would hide the others.
        if let Err(error) = case.await {
            report.case(&format!("round {round}"), async { Err(error) }).await;
            continue;
        }
        let kind = damage.split(':').next().unwrap_or_default().to_owned();
        *found.entry(kind).or_default() += 1;
    }
    let all: usize = found.values().sum();
    report
        .case("every damage was found", async {
            ensure!(all == options.rounds, "{all} of {} were found", options.rounds);
            Ok(())
        })
        .await;
    report.figure("seed", seed);
    report.figure("damages_found", all);
    report.figure("kinds_of_damage", found.len());
    report.finish(options.json.as_deref())
}

/// `starling doctor --deep` finds nothing wrong with what a server has stored.
pub(super) async fn is_sound(server: &Server) -> Result<()> {
    let output = examine(server, None)?;
    let said = text(&output);
    ensure!(output.status.success() && said.contains("Nothing is wrong."), "{said}");
    Ok(())
}

/// Runs the examination on the server's data, or on a copy of it.
fn examine(server: &Server, data: Option<&Path>) -> Result<Output> {
    let own = server.directory().join("data");
    let mut command = Command::new(starling::binary()?);
    command.args(["doctor", "--deep", "--config"]).arg(server.directory().join("starling.toml"));
    command.arg("--data").arg(data.unwrap_or(&own)).envs(server.environment());
    let output = tokio::task::block_in_place(|| command.output())?;
    ensure!(output.status.code().is_some(), "it was ended: {}", text(&output));
    ensure!(!text(&output).contains("panicked"), "{}", text(&output));
    Ok(output)
}

fn text(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said + &String::from_utf8_lossy(&output.stderr)
}

fn copy(server: &Server) -> Result<TempDir> {
    let copy = tempfile::Builder::new().prefix("starling-damaged-").tempdir()?;
    for name in files(&server.directory().join("data"))? {
        let to = copy.path().join(&name);
        fs::create_dir_all(to.parent().context("no folder")?)?;
        fs::copy(server.directory().join("data").join(&name), to)?;
    }
    Ok(copy)
}

/// Damages something, and says what.
fn make(data: &Path, rng: &mut StdRng) -> Result<String> {
    if rng.random_bool(0.05) {
        return damage_file(data, rng);
    }
    let seed: u32 = rng.random();
    let mut python = Command::new("python3");
    python.args(["-c", DAMAGE]).arg(data.join("starling.db")).arg(seed.to_string());
    let output = tokio::task::block_in_place(|| python.output()).context("no python3")?;
    if !output.status.success() {
        bail!("the damage failed: {}", text(&output));
    }
    Ok(text(&output).trim().to_owned())
}

fn damage_file(data: &Path, rng: &mut StdRng) -> Result<String> {
    let files = files(&data.join("media"))?;
    let name = files.choose(rng).context("there are no files")?;
    let path = data.join("media").join(name);
    match rng.random_range(0..3) {
        0 => fs::remove_file(&path)?,
        1 => fs::write(&path, "")?,
        _ => {
            let mut bytes = fs::read(&path)?;
            let at = rng.random_range(0..bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.random_range(0..8);
            }
            fs::write(&path, bytes)?;
        }
    }
    Ok(format!("a file: {}", name.display()))
}

/// All files below a folder, by their paths in it.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => open.push(entry.path()),
                false => found.push(entry.path().strip_prefix(folder)?.to_owned()),
            }
        }
    }
    found.sort();
    Ok(found)
}

fn hashes(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let hash = |name: PathBuf| {
        let bytes = fs::read(folder.join(&name))?;
        Ok((name, Sha256::digest(bytes).to_vec()))
    };
    files(folder)?.into_iter().map(hash).collect()
}
