use std::collections::{BTreeSet, HashMap};
use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::lock;
use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource};

use super::{ClaimStore, Found, PENDING_AFTER, Pending, Record, Role, StoreError, Usage};

/// Claims in memory, for one process. They are lost when it ends, even those of sent payments. For real
/// money, use a store that outlives the process.
#[derive(Debug)]
pub struct MemoryStore {
    capacity: usize,
    claims: Mutex<Claims>,
}

#[derive(Debug, Default)]
struct Claims {
    all: HashMap<ClaimKey, Claim>,
    /// All claims by [`ClaimState::kept_until`], so that making room needs no search through all of them.
    /// Those that may always be forgotten come first.
    ends: BTreeSet<(Option<u64>, ClaimKey)>,
    /// Pending claims, by the time from which they may be handed out.
    due: BTreeSet<(Role, Instant, ClaimKey)>,
}

#[derive(Debug)]
struct Claim {
    resource: Resource,
    expires_at: u64,
    state: ClaimState,
    record: Option<Record>,
    due: Option<(Role, Instant)>,
}

impl Claim {
    fn end(&self) -> Option<u64> {
        self.state.kept_until(self.expires_at)
    }
}

impl Claims {
    fn insert(&mut self, key: ClaimKey, claim: Claim) {
        self.ends.insert((claim.end(), key));
        if let Some((role, at)) = claim.due {
            self.due.insert((role, at, key));
        }
        self.all.insert(key, claim);
    }

    fn remove(&mut self, key: &ClaimKey) -> Option<Claim> {
        let claim = self.all.remove(key)?;
        self.ends.remove(&(claim.end(), *key));
        if let Some((role, at)) = claim.due {
            self.due.remove(&(role, at, *key));
        }
        Some(claim)
    }

    /// Forgets all forgettable claims at `now`, if there is no room for one more.
    fn make_room(&mut self, capacity: usize, now: u64) {
        if self.all.len() < capacity {
            return;
        }
        while let Some((end, key)) = self.ends.first().copied()
            && end.is_none_or(|last| last < now)
        {
            self.remove(&key);
        }
    }
}

impl MemoryStore {
    /// Returns a store of at most `capacity` claims.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, claims: Mutex::default() }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        lock(&self.claims)
    }

    fn present_now(
        &self,
        key: ClaimKey,
        resource: Resource,
        expires_at: u64,
        now: u64,
    ) -> Result<Presented, StoreError> {
        let mut claims = self.claims();
        if let Some(claim) = claims.all.get(&key) {
            return Ok(Presented::again(&claim.state, claim.resource == resource));
        }
        claims.make_room(self.capacity, now);
        if claims.all.len() >= self.capacity {
            return Err(StoreError::Full);
        }
        let state = ClaimState::Claimed;
        claims.insert(key, Claim { resource, expires_at, state, record: None, due: None });
        Ok(Presented::New)
    }

    fn advance_now(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
        record: Option<Record>,
    ) -> Result<(), StoreError> {
        let mut claims = self.claims();
        let moves = |claim: &Claim| claim.state == *from && from.may_become(&to);
        if !claims.all.get(&key).is_some_and(moves) {
            return Err(StoreError::Conflict);
        }
        let Some(mut claim) = claims.remove(&key) else { return Err(StoreError::Conflict) };
        claim.record = match to {
            ClaimState::Failed(_) => None,
            _ => record.or(claim.record),
        };
        let role = claim.record.as_ref().map(|record| record.role);
        let first = || role.map(|role| (role, Instant::now() + PENDING_AFTER));
        claim.due = match to {
            ClaimState::Broadcast(_) => claim.due.or_else(first),
            _ => None,
        };
        claim.state = to;
        claims.insert(key, claim);
        Ok(())
    }

    fn release_now(&self, key: ClaimKey) -> Result<(), StoreError> {
        let mut claims = self.claims();
        match claims.all.get(&key) {
            Some(claim) if claim.state.may_be_released() => {
                claims.remove(&key);
                Ok(())
            }
            _ => Err(StoreError::Conflict),
        }
    }

    fn pending_now(&self, role: Role, hold: Duration, most: usize) -> Vec<Pending> {
        let (mut claims, now) = (self.claims(), Instant::now());
        let due = claims.due.iter().filter(|(of, at, _)| *of == role && *at <= now);
        let due: Vec<_> = due.take(most).map(|(_, _, key)| *key).collect();
        let mut pending = Vec::new();
        for key in due {
            let Some(mut claim) = claims.remove(&key) else { continue };
            if let Some(record) = &claim.record {
                let (state, record) = (claim.state.clone(), record.bytes.clone());
                pending.push(Pending { key, state, record });
            }
            claim.due = Some((role, now + hold));
            claims.insert(key, claim);
        }
        pending
    }
}

impl Default for MemoryStore {
    /// Returns a store for 100 000 claims, about 30 MB when full. The requests of pending claims need memory
    /// besides.
    fn default() -> Self {
        Self::new(100_000)
    }
}

impl ClaimStore for MemoryStore {
    fn present(
        &self,
        key: ClaimKey,
        resource: Resource,
        expires_at: u64,
        now: u64,
    ) -> impl Future<Output = Result<Presented, StoreError>> + Send {
        ready(self.present_now(key, resource, expires_at, now))
    }

    fn advance(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(self.advance_now(key, from, to, None))
    }

    fn state(
        &self,
        key: ClaimKey,
    ) -> impl Future<Output = Result<Option<ClaimState>, StoreError>> + Send {
        ready(Ok(self.claims().all.get(&key).map(|claim| claim.state.clone())))
    }

    fn advance_with(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
        record: Option<Record>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(self.advance_now(key, from, to, record))
    }

    fn release(&self, key: ClaimKey) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(self.release_now(key))
    }

    fn find(
        &self,
        key: ClaimKey,
    ) -> impl Future<Output = Result<Option<Found>, StoreError>> + Send {
        let claims = self.claims();
        let found = claims.all.get(&key);
        let found = found.map(|it| Found { state: it.state.clone(), record: it.record.clone() });
        ready(Ok(found))
    }

    fn pending(
        &self,
        role: Role,
        hold: Duration,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Pending>, StoreError>> + Send {
        ready(Ok(self.pending_now(role, hold, most)))
    }

    fn usage(&self) -> impl Future<Output = Result<Option<Usage>, StoreError>> + Send {
        let used = self.claims().all.len() as u64;
        ready(Ok(Some(Usage { used, capacity: self.capacity as u64 })))
    }

    fn is_durable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_of_many_threads_claims() {
        let store = MemoryStore::default();
        let won = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    if store.present_now(ClaimKey::new([1; 32]), Resource::ANY, 10, 0)
                        == Ok(Presented::New)
                    {
                        won.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(won.into_inner(), 1);
    }

    #[test]
    fn full_store_refuses_and_forgets_only_what_it_may() {
        let key = |n| ClaimKey::new([n; 32]);
        let store = MemoryStore::new(2);
        store.present_now(key(1), Resource::ANY, 10, 0).unwrap();
        store.present_now(key(2), Resource::ANY, 10, 0).unwrap();
        assert_eq!(store.present_now(key(3), Resource::ANY, 10, 0), Err(StoreError::Full));
        let broadcast = ClaimState::Broadcast(Default::default());
        store.advance_now(key(1), &ClaimState::Claimed, broadcast.clone(), None).unwrap();
        assert_eq!(store.release_now(key(1)), Err(StoreError::Conflict));
        assert_eq!(store.present_now(key(3), Resource::ANY, 99, 50), Ok(Presented::New));
        assert_eq!(
            store.present_now(key(1), Resource::ANY, 10, 50),
            Ok(Presented::Known(broadcast))
        );
        assert_eq!(store.release_now(key(2)), Err(StoreError::Conflict));
        // A failed claim makes room at once, however long its payment is valid.
        let failed = ClaimState::Failed(x402_core::Reason::InvalidTransactionState);
        store.advance_now(key(3), &ClaimState::Claimed, failed, None).unwrap();
        assert_eq!(store.present_now(key(4), Resource::ANY, 99, 50), Ok(Presented::New));
        let claims = store.claims();
        assert_eq!((claims.all.len(), claims.ends.len(), claims.due.len()), (2, 2, 0));
    }
}
