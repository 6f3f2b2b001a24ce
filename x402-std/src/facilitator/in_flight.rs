use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use crate::lock;
use x402_core::Payment;

/// A payer, and whether the payer signed. Payments that anybody can write are counted apart.
pub(crate) type Payer = (String, bool);

/// Returns the payer that a payment counts for.
pub(crate) fn payer(payment: &impl Payment) -> Payer {
    (payment.payer().to_string(), payment.is_signed())
}

/// A count of the tasks in progress for each key.
#[derive(Clone, Debug)]
pub(crate) struct InFlight<K> {
    limit: usize,
    counts: Arc<Mutex<HashMap<K, usize>>>,
}

/// A task in progress, which ends when dropped.
#[derive(Debug)]
pub(crate) struct One<K: Hash + Eq> {
    counts: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Hash + Eq + Clone> InFlight<K> {
    /// Returns a count of at most `limit` tasks for each key.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, counts: Arc::default() }
    }

    /// Begins one more task; `None` if the key has `limit` already.
    pub(crate) fn enter(&self, key: K) -> Option<One<K>> {
        let mut counts = lock(&self.counts);
        let count = counts.get(&key).copied().unwrap_or(0);
        if count >= self.limit {
            return None;
        }
        counts.insert(key.clone(), count + 1);
        Some(One { counts: Arc::clone(&self.counts), key })
    }
}

impl<K: Hash + Eq> InFlight<K> {
    /// Returns whether a task for the key is in progress.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_busy(&self, key: &K) -> bool {
        lock(&self.counts).contains_key(key)
    }
}

impl<K: Hash + Eq> Drop for One<K> {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        match counts.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_too_many_waits_and_others_do_not() {
        let in_flight = InFlight::new(2);
        let (first, _second) = (in_flight.enter("a"), in_flight.enter("a"));
        assert!(first.is_some() && in_flight.enter("a").is_none());
        assert!(in_flight.enter("b").is_some());
        drop(first);
        assert!(in_flight.enter("a").is_some());
        assert_eq!(lock(&in_flight.counts).len(), 1);
        assert!(InFlight::new(0).enter("a").is_none());
    }
}
