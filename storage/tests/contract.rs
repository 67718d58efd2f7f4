//! The embedded store keeps the contract.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::future::{Ready, ready};

use fama_storage::Stores;
use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore};

fn fresh() -> Ready<(Stores, tempfile::TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { reserve_bytes: 0, ..EmbeddedOptions::default() };
    ready((EmbeddedStore::open(dir.path(), options).unwrap().stores(), dir))
}

fama_storage::storage_contract!(fresh);
