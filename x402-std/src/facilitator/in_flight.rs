use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use crate::lock;
use x402_core::Payment;

/// A payer, and whether the payer signed: payments that anybody can write count apart from those.
pub(crate) type Payer = (String, bool);

/// The payer that a payment counts for.
pub(crate) fn payer(payment: &impl Payment) -> Payer {
    (payment.payer().to_string(), payment.is_signed())
}

/// How much is being done at once for each of many.
#[derive(Clone, Debug)]
pub(crate) struct InFlight<K> {
    limit: usize,
    counts: Arc<Mutex<HashMap<K, usize>>>,
}

/// One of them being done; dropped when it is.
#[derive(Debug)]
pub(crate) struct One<K: Hash + Eq> {
    counts: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Hash + Eq + Clone> InFlight<K> {
    /// At most `limit` for each.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, counts: Arc::default() }
    }

    /// One more, unless there are too many.
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
    /// Whether something is being done for it.
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
