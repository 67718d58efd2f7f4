//! Crashes, torn and damaged files, full and read-only disks, failing syncs. What was acknowledged must be there
//! afterwards, whole, and nothing may be there by half.
//!
//! Processes to be killed are this test binary itself, started again for the one test [`process::the_writer`].
//! `FAMA_CRASH_ROUNDS` sets how often a writer is killed (6 by default).

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "skipped tests say so; processes talk by pipe")]

mod disk;
mod kill;
mod process;
mod sync;
mod torn;
mod workload;
