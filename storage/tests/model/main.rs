//! The embedded store against the store in memory: random calls give the same answers, across closing and opening.

#![allow(clippy::unwrap_used, reason = "tests")]

mod calls;

use fama_storage::Stores;
use fama_storage::embedded::{EmbeddedOptions, EmbeddedStore};
use fama_storage::memory::MemoryStore;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tokio::runtime::Runtime;

use calls::{answer, everything};

fn open(path: &std::path::Path) -> EmbeddedStore {
    // Small memtables, so that reads meet tables and tombstones as well.
    let options = EmbeddedOptions { reserve_bytes: 0, memtable_bytes: 8 << 10, ..EmbeddedOptions::default() };
    EmbeddedStore::open(path, options).unwrap()
}

/// `FAMA_MODEL_CASES` sets another number.
fn cases() -> u32 {
    std::env::var("FAMA_MODEL_CASES").map_or(24, |cases| cases.parse().unwrap())
}

/// What two stores show differently: the first of it.
fn difference(runtime: &Runtime, store: &Stores, model: &Stores) -> Option<(String, String)> {
    let (store, model) = runtime.block_on(async { (everything(store).await, everything(model).await) });
    store.into_iter().zip(model).find(|(store, model)| store != model)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]
    #[test]
    fn random_calls_give_the_same_answers(
        rounds in prop::collection::vec(prop::collection::vec(calls::call(), 1..60), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let model = MemoryStore::new().stores();
        for round in rounds {
            let store = open(dir.path());
            let stores = store.stores();
            prop_assert_eq!(difference(&runtime, &stores, &model), None);
            for call in round {
                let (got, expected) =
                    runtime.block_on(async { (answer(&stores, &call).await, answer(&model, &call).await) });
                prop_assert_eq!(got, expected, "{:?}", call);
            }
            prop_assert_eq!(difference(&runtime, &stores, &model), None);
        }
    }
}
