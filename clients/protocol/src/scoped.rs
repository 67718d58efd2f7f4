//! A map for what there is of every user of every tenant.

use std::collections::BTreeMap;
use std::hash::Hash;

use crate::{AppId, DenseMap};

/// A [`DenseMap`] for each tenant, so that no key takes room for the tenant's name. A tenant without entries takes none.
#[derive(Debug)]
pub struct ScopedMap<K, V> {
    apps: BTreeMap<AppId, DenseMap<K, V>>,
    len: usize,
}

impl<K, V> Default for ScopedMap<K, V> {
    fn default() -> Self {
        Self { apps: BTreeMap::new(), len: 0 }
    }
}

impl<K: Hash + Eq, V> ScopedMap<K, V> {
    /// Empty; takes no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub fn get(&self, app: &AppId, key: &K) -> Option<&V> {
        self.apps.get(app)?.get(key)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, app: &AppId, key: &K) -> Option<&mut V> {
        self.apps.get_mut(app)?.get_mut(key)
    }

    /// Whether the key is there.
    pub fn contains_key(&self, app: &AppId, key: &K) -> bool {
        self.get(app, key).is_some()
    }

    /// Sets the value of a key; gives back the one before.
    pub fn insert(&mut self, app: &AppId, key: K, value: V) -> Option<V> {
        let before = self.of_app(app).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// The value of a key, made now if there was none.
    pub fn get_or_insert_with(&mut self, app: &AppId, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.contains_key(app, &key) {
            self.len += 1;
        }
        self.of_app(app).get_or_insert_with(key, make)
    }

    /// Takes a key out.
    pub fn remove(&mut self, app: &AppId, key: &K) -> Option<V> {
        let entries = self.apps.get_mut(app)?;
        let gone = entries.remove(key)?;
        self.len -= 1;
        if entries.is_empty() {
            self.apps.remove(app);
        }
        Some(gone)
    }

    /// Keeps the entries that `keep` says. Each is asked about once.
    pub fn retain(&mut self, mut keep: impl FnMut(&AppId, &K, &mut V) -> bool) {
        self.apps.retain(|app, entries| {
            entries.retain(|key, value| keep(app, key, value));
            !entries.is_empty()
        });
        self.len = self.apps.values().map(DenseMap::len).sum();
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&AppId, &K, &V)> {
        self.apps.iter().flat_map(|(app, entries)| entries.iter().map(move |(key, value)| (app, key, value)))
    }

    /// The entries of a tenant.
    pub fn iter_app(&self, app: &AppId) -> impl Iterator<Item = (&K, &V)> {
        self.apps.get(app).into_iter().flat_map(DenseMap::iter)
    }

    /// All values.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.apps.values_mut().flat_map(|entries| entries.iter_mut().map(|(_, value)| value))
    }

    fn of_app(&mut self, app: &AppId) -> &mut DenseMap<K, V> {
        // Without a clone of the name where it is there.
        if !self.apps.contains_key(app) {
            self.apps.insert(app.clone(), DenseMap::new());
        }
        self.apps.entry(app.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn app(n: u8) -> AppId {
        AppId::new(&format!("app{n}")).unwrap()
    }

    proptest! {
        #[test]
        fn does_what_a_map_of_pairs_does(steps in proptest::collection::vec((0u8..5, 0u8..3, 0u16..40), 1..400)) {
            let (mut map, mut model) = (ScopedMap::new(), BTreeMap::new());
            for (step, (what, tenant, key)) in steps.into_iter().enumerate() {
                let id = (app(tenant), key);
                match what {
                    0 | 1 => prop_assert_eq!(map.insert(&id.0, key, step), model.insert(id.clone(), step)),
                    2 => prop_assert_eq!(map.remove(&id.0, &key), model.remove(&id)),
                    3 => {
                        prop_assert_eq!(
                            map.get_or_insert_with(&id.0, key, || step),
                            model.entry(id.clone()).or_insert(step)
                        );
                    }
                    _ => {
                        map.retain(|app, other, _| *app != id.0 || *other % 3 != key % 3);
                        model.retain(|(app, other), _| *app != id.0 || *other % 3 != key % 3);
                    }
                }
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(map.get(&id.0, &key), model.get(&id));
                prop_assert!(map.apps.values().all(|entries| !entries.is_empty()), "no empty tenant is kept");
                let of_app = map.iter_app(&id.0).count();
                prop_assert_eq!(of_app, model.keys().filter(|(app, _)| *app == id.0).count());
            }
            let all: BTreeMap<_, _> =
                map.iter().map(|(app, key, value)| ((app.clone(), *key), *value)).collect();
            prop_assert_eq!(all, model);
        }
    }
}
