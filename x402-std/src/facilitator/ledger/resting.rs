//! Payers for which nothing is sent for a while, because their transactions failed.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// First and longest rest of a payer whose last transaction failed.
pub(super) const REST: Duration = Duration::from_secs(30);
pub(super) const LONGEST_REST: Duration = Duration::from_secs(3600);

/// Number of payers that are remembered.
pub(super) const REMEMBERED: usize = 4096;

/// Keys that rest, each twice as long as the last time.
pub(super) struct Resting<K>(HashMap<K, Rest>);

#[derive(Clone, Copy)]
struct Rest {
    failures: u32,
    until: Instant,
}

impl<K> Default for Resting<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Clone + Eq + Hash> Resting<K> {
    pub(super) fn rests(&self, one: &K) -> bool {
        self.0.get(one).is_some_and(|rest| rest.until > Instant::now())
    }

    pub(super) fn failed(&mut self, one: K, first: Duration, longest: Duration) {
        let failures = self.0.get(&one).map_or(0, |rest| rest.failures);
        let until = Instant::now() + doubled(first, failures, longest);
        forget_some(&mut self.0, |rest| rest.until);
        self.0.insert(one, Rest { failures: failures.saturating_add(1), until });
    }

    pub(super) fn succeeded(&mut self, one: &K) {
        self.0.remove(one);
    }
}

pub(super) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

/// Makes room for one more: removes all whose time is over, or else the first to end.
pub(super) fn forget_some<K: Clone + Eq + Hash, V>(
    all: &mut HashMap<K, V>,
    until: impl Fn(&V) -> Instant,
) {
    if all.len() < REMEMBERED {
        return;
    }
    let now = Instant::now();
    all.retain(|_, one| until(one) > now);
    if all.len() >= REMEMBERED
        && let Some(first) =
            all.iter().min_by_key(|(_, one)| until(one)).map(|(key, _)| key.clone())
    {
        all.remove(&first);
    }
}
