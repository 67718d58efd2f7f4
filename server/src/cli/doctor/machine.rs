//! The machine: descriptors, the accept queue, the clock, the disk.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fama_fanout::Clock;
use fama_protocol::{PostId, UnixMs};

use super::Finding;
use crate::clock::SystemClock;
use crate::config::Config;

/// Descriptors besides those of sockets: listeners, tables, journals.
const OTHER_DESCRIPTORS: u64 = 1_024;
/// Handshakes that wait to be accepted: fewer, and a reconnect storm is refused by the kernel.
const BACKLOG: u64 = 4_096;
/// Syncs that are timed, and what they may take.
const SYNCS: usize = 20;
const SLOW_SYNC: Duration = Duration::from_millis(20);
/// Free bytes below which to warn, and below which the store stops before long.
const FEW_BYTES: u64 = 5 << 30;
const NO_BYTES: u64 = 256 << 20;
/// Ids are minted until then: 41 bits of milliseconds.
const LAST_MS: u64 = PostId::EPOCH.0 + (1 << 41);

/// Each socket is a descriptor.
pub fn descriptors(config: &Config) -> Finding {
    let name = "descriptors";
    let Some((soft, hard)) =
        std::fs::read_to_string("/proc/self/limits").ok().and_then(|text| open_files(&text))
    else {
        return Finding::ok(name, "this system does not say how many files may be open");
    };
    let wanted = (config.limits.connections as u64).saturating_add(OTHER_DESCRIPTORS);
    if soft >= wanted {
        return Finding::ok(name, format!("{soft} files may be open, {wanted} are wanted"));
    }
    let message = format!(
        "{soft} files may be open (hard limit {hard}), and `limits.connections` = {} wants {wanted}",
        config.limits.connections
    );
    let fix =
        format!("`ulimit -n {wanted}` or systemd's `LimitNOFILE={wanted}`, or a lower `limits.connections`");
    Finding::warn(name, message, fix)
}

/// The soft and the hard limit.
fn open_files(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut numbers = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
    Some((numbers.next()?, numbers.next()?))
}

/// How many connections may wait to be accepted.
pub fn backlog() -> Finding {
    let name = "accept queue";
    let said = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
    let Some(most) = said.and_then(|text| text.trim().parse::<u64>().ok()) else {
        return Finding::ok(name, "this system does not say how many connections may wait");
    };
    if most < BACKLOG {
        let message =
            format!("{most} connections may wait to be accepted: many that come back at once are refused");
        return Finding::warn(name, message, format!("`sysctl -w net.core.somaxconn={BACKLOG}`"));
    }
    Finding::ok(name, format!("{most} connections may wait to be accepted"))
}

/// Ids of posts are made of the time.
pub fn clock() -> Finding {
    let now = SystemClock::new().now();
    if (PostId::EPOCH.0..LAST_MS).contains(&now.0) {
        return Finding::ok("clock", format!("{now}"));
    }
    let message = format!("{now} is not between {} and {}", PostId::EPOCH, UnixMs(LAST_MS));
    Finding::fail("clock", message, "set the clock, and keep it right with chrony or systemd-timesyncd")
}

/// Whether the store can be written there, for how long, and how fast.
pub fn data_folder(config: &Config) -> Vec<Finding> {
    let path = &config.storage.path;
    // A folder that is missing is made at start; what counts is where.
    let Some(folder) = existing(path) else {
        let message = format!("neither {} nor a folder above it is there", path.display());
        return vec![Finding::fail("data folder", message, "choose another `storage.path`")];
    };
    let mut findings = vec![writable(path, &folder)];
    if findings.iter().all(|finding| finding.fix.is_none()) {
        findings.push(syncs(&folder));
    }
    findings.extend(space(&folder));
    findings
}

fn existing(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find(|folder| folder.exists()).map(Path::to_owned)
}

fn writable(path: &Path, folder: &Path) -> Finding {
    let name = "data folder";
    match tempfile::NamedTempFile::new_in(folder) {
        Ok(_) if path.exists() => Finding::ok(name, format!("{} can be written", folder.display())),
        Ok(_) => Finding::ok(name, format!("{} will be made", path.display())),
        Err(error) => {
            let message = format!("{} can't be written: {error}", folder.display());
            Finding::fail(name, message, "give this user write access, or choose another `storage.path`")
        }
    }
}

/// Every acknowledged write waits for one of these, many at once for the same.
fn syncs(folder: &Path) -> Finding {
    let name = "disk sync";
    let timed = || -> std::io::Result<Vec<Duration>> {
        let mut file = tempfile::tempfile_in(folder)?;
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            file.write_all(&[0x5a; 4_096])?;
            let start = Instant::now();
            file.sync_data()?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(times)
    };
    match timed().map(|times| (times.get(SYNCS / 2).copied(), times.last().copied())) {
        Ok((Some(half), Some(most))) => {
            let message = format!("half of {SYNCS} syncs took less than {half:.1?}, the longest {most:.1?}");
            if half > SLOW_SYNC {
                let fix = "every write waits for that: put `storage.path` on a local SSD";
                return Finding::warn(name, message, fix);
            }
            Finding::ok(name, message)
        }
        Ok(_) => Finding::ok(name, "not timed"),
        Err(error) => Finding::fail(
            name,
            format!("a file can't be synced: {error}"),
            "check the disk, or choose another one",
        ),
    }
}

fn space(folder: &Path) -> Option<Finding> {
    let name = "disk space";
    let stat = rustix::fs::statvfs(folder).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let message = format!("{} MiB are free", free >> 20);
    let fix = "free some space, or choose another `storage.path`: a full disk refuses writes, reads go on";
    Some(if free < NO_BYTES {
        Finding::fail(name, message, fix)
    } else if free < FEW_BYTES {
        Finding::warn(name, message, fix)
    } else {
        Finding::ok(name, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax processes   1  2  processes\n\
                    Max open files            1024                 unlimited            files\n";
        assert_eq!(open_files(text), Some((1_024, u64::MAX)));
        assert_eq!(open_files("nothing"), None);
    }

    #[test]
    fn what_is_missing_is_looked_for_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")).unwrap(), folder.path());
    }
}
