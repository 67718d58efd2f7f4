//! Full and read-only disks: small file systems in memory, which need root to mount.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore, Health};
use fama_storage::{ErrorKind, Stores};

use crate::workload;

/// A small file system, unmounted at the end.
struct Mount(tempfile::TempDir);

impl Mount {
    /// `None`, loudly, where this process may not mount.
    fn new(mib: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            Ok(output) => {
                eprintln!("SKIPPED: can't mount: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: can't mount: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let status = Command::new("mount").args(["-o", &options]).arg(self.path()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.path()).status();
    }
}

fn free_kib(mount: &Mount) -> u64 {
    let output = Command::new("df").args(["--output=avail", "-k"]).arg(mount.path()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
}

/// Takes all room but about so much.
fn fill(mount: &Mount, leave_kib: u64) -> PathBuf {
    let path = mount.path().join("filler");
    let bytes = vec![1; usize::try_from((free_kib(mount) - leave_kib) * 1_024).unwrap()];
    std::fs::write(&path, bytes).unwrap();
    path
}

/// How a disk comes to be full.
#[derive(Clone, Copy)]
enum Cause {
    /// By many writes.
    Writes,
    /// By one commit that is larger than what is left, and than it looked.
    OneCommit,
}

/// Makes the disk full; the numbers acknowledged, and one that was not.
async fn write_until_full(stores: &Stores, first: u64, cause: Cause) -> (BTreeSet<u64>, u64) {
    let mut acknowledged = BTreeSet::new();
    for number in first.. {
        let written = match cause {
            Cause::Writes => workload::write(stores, number).await,
            Cause::OneCommit => workload::rewrite_large(stores, number).await,
        };
        match written {
            Ok(()) => drop(acknowledged.insert(number)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                assert!(error.to_string().contains("full"), "{error}");
                return (acknowledged, number);
            }
        }
    }
    unreachable!("numbers end")
}

/// Writes and refusals, then room, then writes again; all on one open store.
async fn survives_a_full_disk(options: EmbeddedOptions, leave_kib: u64, cause: Cause) {
    let Some(mount) = Mount::new(48) else { return };
    let path = mount.path().join("data");
    let store = EmbeddedStore::open(&path, options.clone()).unwrap();
    let stores = store.stores();
    let mut acknowledged: BTreeSet<u64> = (0..40).collect();
    for number in &acknowledged {
        workload::write(&stores, *number).await.unwrap();
    }
    workload::write_large(&stores).await.unwrap();
    for round in 1..3 {
        let filler = fill(&mount, leave_kib);
        let (written, last) = write_until_full(&stores, round * 100_000, cause).await;
        acknowledged.extend(written);
        assert_eq!(store.health(), Health::Full);
        assert!(free_kib(&mount) * 1_024 >= options.reserve_bytes / 4 * 3, "the reserve was used up");
        let mut refused = BTreeSet::new();
        // Plain posts, so that nothing of a refused write is a first step that went well. Some may still fit.
        for number in (1..40).map(|step| last.next_multiple_of(4) + step * 4) {
            match workload::write(&stores, number).await {
                Ok(()) => acknowledged.insert(number),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Full);
                    refused.insert(number)
                }
            };
        }
        assert!(!refused.is_empty());
        assert_eq!(workload::verify(&stores, &acknowledged).await, Vec::<u64>::new(), "reads go on");

        std::fs::remove_file(filler).unwrap();
        let start = Instant::now();
        while let Err(error) = workload::write(&stores, round * 100_000 + 90_000).await {
            assert_eq!(error.kind(), ErrorKind::Full, "{error}");
            assert!(start.elapsed() < Duration::from_secs(10), "no recovery: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        acknowledged.insert(round * 100_000 + 90_000);
        assert_eq!(store.health(), Health::Good);
        assert_eq!(workload::verify(&stores, &acknowledged).await, Vec::<u64>::new());
        for number in refused {
            assert!(!workload::is_there(&stores, number).await, "{number} was refused, and is there");
        }
        assert!(!workload::large_is_new(&stores).await, "the refused rewrite is there");
    }
    drop((stores, store));
    let store = EmbeddedStore::open(&path, options).unwrap();
    assert_eq!(workload::verify(&store.stores(), &acknowledged).await, Vec::<u64>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_refused_before_it_is_full() {
    let options = EmbeddedOptions { reserve_bytes: 8 << 20, ..workload::options() };
    survives_a_full_disk(options, 9 << 10, Cause::Writes).await;
}

/// Without a reserve the database runs into the end of the disk: here it is in the journal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_in_the_middle_of_a_commit_is_survived() {
    survives_a_full_disk(workload::options(), 200, Cause::OneCommit).await;
}

/// Here it is in writing a memtable out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_for_background_work_is_survived() {
    survives_a_full_disk(workload::options(), 1_400, Cause::Writes).await;
}

#[test]
fn a_read_only_disk_says_so_at_start() {
    let Some(mount) = Mount::new(32) else { return };
    let path = mount.path().join("data");
    drop(workload::open(&path).unwrap());
    mount.remount("ro");
    let error = workload::open(&path).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains("mount it writable"), "{text}");
    mount.remount("rw");
    workload::open(&path).unwrap();
}
