//! Syncs that fail, by strace.

use std::process::{Command, Stdio};

use crate::process::{Said, Writer};
use crate::workload;

/// Whether strace can be used; says so loudly if not.
fn has_strace() -> bool {
    let probe = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let works = probe.is_ok_and(|status| status.success());
    if !works {
        eprintln!("SKIPPED: strace is not installed or may not trace");
    }
    works
}

/// A writer whose data syncs fail as `when` says; then what is there is checked.
fn write_with_failing_syncs(when: &str) -> Said {
    let dir = tempfile::tempdir().unwrap();
    // Made without faults.
    drop(workload::open(dir.path()).unwrap());
    let inject = format!("inject=fdatasync:error=EIO:when={when}");
    let under = ["strace", "-f", "-q", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject];
    let said = Writer::start(dir.path(), 0, &under, false).finish();
    assert!(said.open);
    let store = workload::open(dir.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lost = runtime.block_on(workload::verify(&store.stores(), &said.acknowledged));
    assert!(lost.is_empty(), "{lost:?}");
    said
}

#[test]
fn one_failed_sync_stops_all_writes_until_restart() {
    if !has_strace() {
        return;
    }
    // Only the twentieth fails: syncs after it would work, and still nothing may be acknowledged.
    let said = write_with_failing_syncs("20");
    assert!(said.poisoned, "it went on writing");
    assert!(said.acknowledged.len() >= 19);
}

#[test]
fn nothing_is_acknowledged_that_was_not_synced() {
    if !has_strace() {
        return;
    }
    let said = write_with_failing_syncs("1+");
    assert!(said.poisoned);
    assert!(said.acknowledged.is_empty(), "{:?}", said.acknowledged);
}
