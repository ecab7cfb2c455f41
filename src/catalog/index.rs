//! Claims by the name in Kafka that they are for, oldest first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Claim, Key};

#[derive(Debug, Default)]
pub(super) struct Index {
    by_name: BTreeMap<String, BTreeSet<Claim>>,
    /// Under which name an object stands, so that a changed claim replaces the former one.
    names: HashMap<Key, String>,
}

impl Index {
    pub(super) fn insert(&mut self, name: String, claim: Claim) {
        if let Some(before) = self.names.get(&claim.key).cloned() {
            self.remove(&before, &claim.key);
        }
        self.names.insert(claim.key.clone(), name.clone());
        self.by_name.entry(name).or_default().insert(claim);
    }

    pub(super) fn remove(&mut self, name: &str, key: &Key) {
        self.names.remove(key);
        if let Some(claims) = self.by_name.get_mut(name) {
            claims.retain(|claim| claim.key != *key);
            if claims.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    pub(super) fn claims(&self, name: &str) -> impl Iterator<Item = &Claim> {
        self.by_name.get(name).into_iter().flatten()
    }
}
