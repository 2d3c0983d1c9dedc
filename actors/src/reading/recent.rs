//! What was seen lately, by a bounded memory: of its two generations the elder is forgotten as a whole.

use std::collections::HashMap;
use std::hash::Hash;

pub(super) struct Recent<K, V> {
    generation: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Copy + Eq + Hash, V: Copy> Recent<K, V> {
    /// Remembers at least the last `generation` keys, and at most twice as many.
    pub fn new(generation: usize) -> Recent<K, V> {
        Recent { generation, young: HashMap::new(), old: HashMap::new() }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    /// What was known of the key before.
    pub fn replace(&mut self, key: K, value: V) -> Option<V> {
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value).or_else(|| self.old.get(&key).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATION: usize = 32_768;

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = Recent::new(GENERATION);
        let most = GENERATION as u64;
        for name in 0..=most {
            assert_eq!(known.replace(name, name), None);
        }
        assert_eq!(known.get(&0), Some(0), "the generation before is known");
        assert_eq!(known.replace(0, 9), Some(0), "the generation before is known");
        for name in 2 * most..4 * most {
            known.replace(name, name);
        }
        assert_eq!(known.replace(1, 1), None);
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
    }
}
