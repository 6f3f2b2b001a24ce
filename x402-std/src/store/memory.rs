use std::collections::HashMap;
use std::future::{Future, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};

use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource};

use super::{ClaimStore, StoreError};

/// Claims in memory, for one process. They are lost when it ends, and so are those of payments that
/// were sent: for money, take a store that outlives it.
#[derive(Debug)]
pub struct MemoryStore {
    capacity: usize,
    claims: Mutex<HashMap<ClaimKey, Claim>>,
}

#[derive(Debug)]
struct Claim {
    resource: Resource,
    expires_at: u64,
    state: ClaimState,
}

impl MemoryStore {
    /// A store of at most `capacity` claims.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, claims: Mutex::default() }
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<ClaimKey, Claim>> {
        // No code panics while it holds the lock.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present_now(
        &self,
        key: ClaimKey,
        resource: Resource,
        expires_at: u64,
        now: u64,
    ) -> Result<Presented, StoreError> {
        let mut claims = self.claims();
        if let Some(claim) = claims.get(&key) {
            return Ok(Presented::again(&claim.state, claim.resource == resource));
        }
        if claims.len() >= self.capacity {
            claims.retain(|_, claim| !claim.state.is_forgettable(claim.expires_at, now));
            if claims.len() >= self.capacity {
                return Err(StoreError::Full);
            }
        }
        claims.insert(key, Claim { resource, expires_at, state: ClaimState::Claimed });
        Ok(Presented::New)
    }

    fn advance_now(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> Result<(), StoreError> {
        match self.claims().get_mut(&key) {
            Some(claim) if claim.state == *from && from.may_become(&to) => {
                claim.state = to;
                Ok(())
            }
            _ => Err(StoreError::Conflict),
        }
    }

    fn release_now(&self, key: ClaimKey) -> Result<(), StoreError> {
        let mut claims = self.claims();
        match claims.get(&key) {
            Some(claim) if claim.state == ClaimState::Claimed => {
                claims.remove(&key);
                Ok(())
            }
            _ => Err(StoreError::Conflict),
        }
    }
}

impl Default for MemoryStore {
    /// Room for 100 000 claims, about 20 MB when full.
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
        ready(self.advance_now(key, from, to))
    }

    fn release(&self, key: ClaimKey) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(self.release_now(key))
    }

    fn state(
        &self,
        key: ClaimKey,
    ) -> impl Future<Output = Result<Option<ClaimState>, StoreError>> + Send {
        ready(Ok(self.claims().get(&key).map(|claim| claim.state.clone())))
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
        store.advance_now(key(1), &ClaimState::Claimed, broadcast.clone()).unwrap();
        assert_eq!(store.release_now(key(1)), Err(StoreError::Conflict));
        assert_eq!(store.present_now(key(3), Resource::ANY, 99, 50), Ok(Presented::New));
        assert_eq!(
            store.present_now(key(1), Resource::ANY, 10, 50),
            Ok(Presented::Known(broadcast))
        );
        assert_eq!(store.release_now(key(2)), Err(StoreError::Conflict));
        // What failed makes room at once, however long the payment would have been good for.
        let failed = ClaimState::Failed(x402_core::Reason::InvalidTransactionState);
        store.advance_now(key(3), &ClaimState::Claimed, failed).unwrap();
        assert_eq!(store.present_now(key(4), Resource::ANY, 99, 50), Ok(Presented::New));
    }
}
