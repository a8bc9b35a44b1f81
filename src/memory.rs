//! How much memory the process may have, and what it gives away of it.
//!
//! Where that is little, what is kept because there is room, and the connections that anybody may open, would be
//! more than there is, and the system would end the process. So both are bounded by what there is.

use std::{fs, path::Path};

use crate::config::{Config, Memory};

/// What the process has when it does nothing, in bytes; the rest is given away.
const AT_REST: u64 = 64 << 20;

/// Which part of the rest may be kept for events and state.
const OF_BUDGET: u64 = 4;

/// Which part of the rest the connections of all listeners may take.
const OF_CONNECTIONS: u64 = 2;

/// What a connection takes while it waits for an answer, in bytes (`limits.connections`).
const CONNECTION: u64 = 48 << 10;

/// How many connections a listener may have, however little memory there is.
const FEWEST_CONNECTIONS: usize = 64;

/// Bounds what the configuration gives away by the memory that the process may have, and says so in the log.
pub(crate) fn fit(config: Config) -> Config {
    let allowed = allowed(Path::new("/"));
    let given = |config: &Config| (config.memory_budget, config.limits.connections);
    let wanted = given(&config);
    let fitted = fit_into(config, allowed);
    let (memory_budget, connections) = given(&fitted);
    if wanted != (memory_budget, connections) {
        tracing::info!(
            memory_mib = allowed >> 20,
            memory_budget = %String::from(memory_budget),
            connections,
            "there is little memory: less of it is given away than the configuration allows"
        );
    }
    fitted
}

fn fit_into(mut config: Config, allowed: u64) -> Config {
    let rest = allowed.saturating_sub(AT_REST);
    let mib = u32::try_from((rest / OF_BUDGET) >> 20).unwrap_or(u32::MAX);
    config.memory_budget = config.memory_budget.min(Memory::mib(mib));
    let fitting = usize::try_from(rest / OF_CONNECTIONS / CONNECTION).unwrap_or(usize::MAX);
    let fitting = fitting / listeners(&config).max(1);
    let connections = &mut config.limits.connections;
    *connections = (*connections).min(fitting.max(FEWEST_CONNECTIONS));
    config
}

/// At how many addresses clients and other servers connect.
fn listeners(config: &Config) -> usize {
    let (clients, tools) = (&config.client.listen, &config.admin.listen);
    let tools = tools.iter().filter(|address| !clients.contains(address)).count();
    let federation = &config.federation;
    clients.len() + tools + if federation.enabled { federation.listen.len() } else { 0 }
}

/// How many bytes the machine has, or a control group of this process allows it; the files of the system are found
/// below `root`. Where they are not, nothing is known to be a bound.
fn allowed(root: &Path) -> u64 {
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    let has = machine_has(&read("proc/meminfo")).unwrap_or(u64::MAX);
    read("proc/self/cgroup").lines().filter_map(|line| bound_of(root, line)).fold(has, u64::min)
}

/// All the memory of the machine, by `/proc/meminfo`.
fn machine_has(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What the group of a line of `/proc/self/cgroup` and those around it allow, `number:controllers:path`. There are no
/// controllers in the second version, where all of them are in one tree.
fn bound_of(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (tree, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // A container sees its own group as the root of the tree, under whatever path it has outside.
    let around = Path::new(path.strip_prefix('/')?).ancestors();
    let bound = |group: &Path| -> Option<u64> {
        fs::read_to_string(root.join(tree).join(group).join(file)).ok()?.trim().parse().ok()
    };
    around.filter_map(bound).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root directory with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_narrowest_group_counts() {
        let second = root(&[
            ("proc/self/cgroup", "0::/system.slice/starling.service\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1048576\n"),
            ("sys/fs/cgroup/system.slice/starling.service/memory.max", "2097152\n"),
        ]);
        assert_eq!(allowed(second.path()), 1 << 20);
        let first = root(&[
            ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:hugetlb,memory:/docker/1f:2e\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "3145728\n"),
            ("sys/fs/cgroup/cpu/a/memory.limit_in_bytes", "1\n"),
        ]);
        assert_eq!(allowed(first.path()), 3 << 20);
    }

    #[test]
    fn without_a_bound_it_is_what_the_machine_has() {
        let unbounded = root(&[
            ("proc/meminfo", "MemTotal:       16384000 kB\nMemFree:        81280 kB\n"),
            ("proc/self/cgroup", "0::/a\n1:memory:/a\nnonsense\n:\n"),
            ("sys/fs/cgroup/a/memory.max", "max\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(allowed(unbounded.path()), 16_384_000 << 10);
        assert_eq!(allowed(root(&[]).path()), u64::MAX);
    }

    #[test]
    fn little_memory_is_not_given_away_twice() {
        let given = |mib: u64| {
            let config = fit_into(Config::default(), mib << 20);
            (config.memory_budget, config.limits.connections)
        };
        assert_eq!(listeners(&Config::default()), 3);
        assert_eq!(given(0), (Memory::mib(0), FEWEST_CONNECTIONS));
        assert_eq!(given(256), (Memory::mib(48), 682));
        assert_eq!(given(1024), (Memory::mib(240), 3413));
        assert_eq!(given(4096), (Memory::mib(256), 10_000));
    }
}
