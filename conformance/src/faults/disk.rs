//! What a cut of the power takes: what was written and not synced is there in part, or not at all.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use rand::{RngExt as _, rngs::StdRng};

/// A disk writes so much wholly or not at all.
const SECTOR: u64 = 512;

/// What is left of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// Some writes, the others not.
    SomeWrites,
    /// Some sectors of each write, the others not.
    SomeSectors,
}

/// What a cut found and took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cut {
    /// How often something was synced before.
    pub(super) syncs: usize,
    /// Writes that were not synced.
    pub(super) unsynced: usize,
}

/// One line of the library's log.
#[derive(Debug)]
struct Record<'a> {
    what: What<'a>,
    path: &'a str,
    /// Of a write, or the new end of the file.
    offset: u64,
    before: &'a [u8],
    /// How large the file was.
    size: u64,
}

#[derive(Debug)]
enum What<'a> {
    Write(&'a [u8]),
    Truncate,
    Sync,
    Unlink,
}

/// Brings files to what a disk may hold after the power was cut, given the log of what was done to them. The
/// server is dead.
pub(super) fn cut(log: &Path, left: Left, rng: &mut StdRng) -> Result<Cut> {
    let log = fs::read(log).context("the server does not run behind the library")?;
    let mut cut = Cut::default();
    let mut pending: BTreeMap<&str, Vec<Record<'_>>> = BTreeMap::new();
    for record in records(&log)? {
        match record.what {
            What::Sync => {
                cut.syncs += 1;
                pending.remove(record.path);
            }
            What::Unlink => drop(pending.remove(record.path)),
            _ => pending.entry(record.path).or_default().push(record),
        }
    }
    for (path, writes) in pending {
        let Ok(file) = OpenOptions::new().write(true).open(path) else { continue };
        cut.unsynced += writes.len();
        for write in writes.iter().rev() {
            undo(&file, write)?;
        }
        for write in &writes {
            redo(&file, write, left, rng)?;
        }
    }
    Ok(cut)
}

fn undo(file: &File, record: &Record<'_>) -> Result<()> {
    file.set_len(record.size)?;
    Ok(file.write_all_at(record.before, record.offset)?)
}

fn redo(file: &File, record: &Record<'_>, left: Left, rng: &mut StdRng) -> Result<()> {
    let data = match record.what {
        What::Write(data) => data,
        What::Truncate if matches!(left, Left::Nothing) || rng.random() => return Ok(()),
        _ => return Ok(file.set_len(record.offset)?),
    };
    match left {
        Left::Nothing => Ok(()),
        Left::SomeWrites if rng.random() => Ok(file.write_all_at(data, record.offset)?),
        Left::SomeWrites => Ok(()),
        Left::SomeSectors => {
            for (offset, sector) in sectors(record.offset, data) {
                if rng.random() {
                    file.write_all_at(sector, offset)?;
                }
            }
            Ok(())
        }
    }
}

/// Cuts what was written where the sectors of the file meet.
fn sectors(mut offset: u64, mut data: &[u8]) -> Vec<(u64, &[u8])> {
    let mut sectors = Vec::new();
    while !data.is_empty() {
        let room = usize::try_from(SECTOR - offset % SECTOR).unwrap_or(data.len());
        let (sector, rest) = data.split_at(room.min(data.len()));
        sectors.push((offset, sector));
        offset += sector.len() as u64;
        data = rest;
    }
    sectors
}

/// Reads the log. Its last record may be cut off: the server died before it did what that says.
fn records(log: &[u8]) -> Result<Vec<Record<'_>>> {
    let (mut records, mut rest) = (Vec::new(), log);
    while let Some((record, after)) = record(rest)? {
        records.push(record);
        rest = after;
    }
    Ok(records)
}

/// The first record, as `struct record` of the library has it, and what follows.
fn record(log: &[u8]) -> Result<Option<(Record<'_>, &[u8])>> {
    let Some((kinds, rest)) = log.split_first_chunk::<8>() else { return Ok(None) };
    let Some((numbers, rest)) = rest.split_first_chunk::<32>() else { return Ok(None) };
    let [kind, path] = parts::<4, 2>(kinds).map(u32::from_ne_bytes);
    let [offset, before, after, size] = parts::<8, 4>(numbers).map(u64::from_ne_bytes);
    let Some((path, rest)) = rest.split_at_checked(usize::try_from(path)?) else { return Ok(None) };
    let before = rest.split_at_checked(usize::try_from(before)?);
    let Some((before, rest)) = before else { return Ok(None) };
    let Some((after, rest)) = rest.split_at_checked(usize::try_from(after)?) else {
        return Ok(None);
    };
    let what = match kind {
        1 => What::Write(after),
        2 => What::Truncate,
        3 => What::Sync,
        4 => What::Unlink,
        other => bail!("the log of the disk has a record of kind {other}"),
    };
    Ok(Some((Record { what, path: std::str::from_utf8(path)?, offset, before, size }, rest)))
}

/// Some bytes as numbers of `N` bytes each.
fn parts<const N: usize, const COUNT: usize>(bytes: &[u8]) -> [[u8; N]; COUNT] {
    let mut numbers = [[0; N]; COUNT];
    for (number, chunk) in numbers.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *number = *chunk;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn record(
        kind: u32,
        path: &str,
        offset: u64,
        before: &[u8],
        after: &[u8],
        size: u64,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = u32::try_from(path.len()).unwrap();
        bytes.extend([kind, length].iter().flat_map(|it| it.to_ne_bytes()));
        let numbers = [offset, before.len() as u64, after.len() as u64, size];
        bytes.extend(numbers.iter().flat_map(|it| it.to_ne_bytes()));
        bytes.extend([path.as_bytes(), before, after].concat());
        bytes
    }

    /// A file of "aabb" that was synced, then made "aacc", "aaccdd" and "aa"; what is left of it.
    fn left(left: Left, seed: u64) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let (file, log) = (directory.path().join("file"), directory.path().join("log"));
        let path = file.to_str().unwrap();
        fs::write(&file, "aa").unwrap();
        let done = [
            record(1, path, 0, b"", b"aabb", 0),
            record(3, path, 0, b"", b"", 0),
            record(1, path, 2, b"bb", b"cc", 4),
            record(1, path, 4, b"", b"dd", 4),
            record(2, path, 2, b"ccdd", b"", 6),
            record(1, path, 2, b"", b"never", 2)[..50].to_vec(),
        ];
        fs::write(&log, done.concat()).unwrap();
        let cut = cut(&log, left, &mut StdRng::seed_from_u64(seed)).unwrap();
        assert_eq!((cut.syncs, cut.unsynced), (1, 3));
        fs::read(&file).unwrap()
    }

    #[test]
    fn what_was_synced_is_there_and_of_the_rest_what_may_be() {
        assert_eq!(left(Left::Nothing, 1), b"aabb");
        for how in [Left::SomeWrites, Left::SomeSectors] {
            let mut seen: Vec<_> = (0..100).map(|seed| left(how, seed)).collect();
            seen.sort();
            seen.dedup();
            let (alone, both): (&[u8], &[u8]) = (b"aabbdd", b"aaccdd");
            assert_eq!(seen, [b"aa", &b"aabb"[..], alone, b"aacc", both]);
        }
    }

    #[test]
    fn sectors_end_where_those_of_the_file_do() {
        let lengths = |offset, length| {
            let data = vec![0; length];
            let sectors = sectors(offset, &data);
            sectors.iter().map(|(offset, it)| (*offset, it.len())).collect::<Vec<_>>()
        };
        assert_eq!(lengths(500, 600), [(500, 12), (512, 512), (1024, 76)]);
        assert_eq!(lengths(512, 512), [(512, 512)]);
    }
}
