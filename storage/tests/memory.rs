//! The store in memory passes the contract.

use std::future::{Ready, ready};

use fama_storage::memory::MemoryStore;
use fama_storage::{Stores, storage_contract};

fn fresh() -> Ready<(Stores, ())> {
    ready((MemoryStore::new().stores(), ()))
}

storage_contract!(fresh);
