//! What the machine gives this process, files and memory, and what follows from it.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for everything that is no client: the store, listeners, operators, key servers.
const RESERVE: usize = 256;
/// Connections that are told that there is no room take from the reserve, at most half of it.
const TOLD: usize = 1_024;

/// How many connections there may be, and how many more are told that there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// At once.
    pub most: usize,
    /// More, that are told.
    pub told: usize,
}

/// With so many descriptors, of so many connections wanted. Where the reserve is more than half of the descriptors, half.
pub fn connections(wanted: usize, files: usize) -> Connections {
    let most = wanted.min(files - RESERVE.min(files / 2)).max(1);
    Connections { most, told: TOLD.min(files.saturating_sub(most) / 2) }
}

/// Descriptors that this process may have, after asking for as many as it is allowed to ask for.
pub fn files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        // Refused: it stays as it is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// Bytes of memory that this process may use: the machine's, or less where a control group says so.
pub fn memory() -> Option<u64> {
    let total = field(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:");
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    total.into_iter().chain(limits_of_groups(&groups, Path::new("/sys/fs/cgroup"))).min()
}

/// Bytes of memory in use.
pub fn resident() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// `Name:   123 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// What `/proc/self/cgroup` leads to, in both versions of control groups: of each group and all above it.
fn limits_of_groups(groups: &str, root: &Path) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, name) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            list if list.split(',').any(|one| one == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // In a container the path may be the host's: what is at the root counts as well.
        let group = Path::new(path.trim_start_matches('/'));
        for above in group.ancestors() {
            let text = fs::read_to_string(root.join(above).join(name)).unwrap_or_default();
            limits.extend(text.trim().parse::<u64>());
        }
    }
    limits
}

/// How much of the memory that may be used is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is room.
    None,
    /// It becomes scarce: caches give theirs back.
    Scarce,
    /// There is none for anybody new.
    Full,
}

/// The bound of memory. What was full is so until a twentieth is free again.
#[derive(Debug)]
pub struct Ceiling {
    bytes: u64,
    pressure: Pressure,
}

impl Ceiling {
    /// At so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self { bytes, pressure: Pressure::None }
    }

    /// With so many in use now.
    pub fn observe(&mut self, resident: u64) -> Pressure {
        let is = |twentieths: u64| resident >= self.bytes / 20 * twentieths;
        self.pressure = match self.pressure {
            _ if resident >= self.bytes => Pressure::Full,
            Pressure::Full if is(19) => Pressure::Full,
            _ if is(18) => Pressure::Scarce,
            _ => Pressure::None,
        };
        self.pressure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_the_rest() {
        let of = |wanted, files| {
            let Connections { most, told } = connections(wanted, files);
            assert!(most + told <= files, "{most} + {told} of {files}");
            (most, told)
        };
        assert_eq!(of(1_000_000, 20_000), (19_744, 128));
        assert_eq!(of(1_000_000, 1_048_576), (1_000_000, 1_024));
        assert_eq!(of(1_000, 20_000), (1_000, 1_024));
        assert_eq!(of(1_000, 300), (150, 75));
        assert_eq!(of(10, 1), (1, 0));
    }

    #[test]
    fn full_is_left_later_than_it_is_reached() {
        let mut ceiling = Ceiling::new(2_000);
        let seen = [1_000, 1_800, 1_999, 2_000, 1_950, 1_899, 1_799].map(|bytes| ceiling.observe(bytes));
        let (none, scarce, full) = (Pressure::None, Pressure::Scarce, Pressure::Full);
        assert_eq!(seen, [none, scarce, scarce, full, full, scarce, none]);
    }

    #[test]
    fn limits_are_found_in_both_versions() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("system.slice/memory.max", "4000\n");
        write("system.slice/fama.service/memory.max", "max\n");
        write("memory/docker/x/memory.limit_in_bytes", "3000\n");
        let limits = |groups: &str| limits_of_groups(groups, root.path());
        assert_eq!(limits("0::/system.slice/fama.service\n"), [4_000]);
        assert_eq!(limits("12:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n"), [3_000]);
        assert_eq!(limits("nonsense\n"), [0u64; 0]);
        assert_eq!(field("VmPeak: 1 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12_288));
        assert!(resident().is_some() && memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
