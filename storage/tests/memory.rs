//! The store in memory passes the contract.

use fama_storage::memory::MemoryStore;
use fama_storage::{Stores, storage_contract};

async fn fresh() -> (Stores, ()) {
    (MemoryStore::new().stores(), ())
}

storage_contract!(fresh);
