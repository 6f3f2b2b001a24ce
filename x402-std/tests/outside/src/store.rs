//! Claims in a list.

use std::sync::{Mutex, MutexGuard, PoisonError};

use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource};
use x402_std::store::{ClaimStore, StoreError};

/// Claims in the order they were made. It forgets none.
#[derive(Debug, Default)]
pub struct Listed(Mutex<Vec<(ClaimKey, Resource, ClaimState)>>);

impl Listed {
    fn claims(&self) -> MutexGuard<'_, Vec<(ClaimKey, Resource, ClaimState)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many claims there are.
    pub fn count(&self) -> usize {
        self.claims().len()
    }
}

impl ClaimStore for Listed {
    async fn present(
        &self,
        key: ClaimKey,
        resource: Resource,
        _expires_at: u64,
        _now: u64,
    ) -> Result<Presented, StoreError> {
        let mut claims = self.claims();
        if let Some((_, of, state)) = claims.iter().find(|(known, ..)| *known == key) {
            return Ok(Presented::again(state, *of == resource));
        }
        claims.push((key, resource, ClaimState::Claimed));
        Ok(Presented::New)
    }

    async fn advance(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> Result<(), StoreError> {
        let mut claims = self.claims();
        match claims.iter_mut().find(|(known, ..)| *known == key) {
            Some((.., state)) if state == from && from.may_become(&to) => {
                *state = to;
                Ok(())
            }
            _ => Err(StoreError::Conflict),
        }
    }

    async fn release(&self, key: ClaimKey) -> Result<(), StoreError> {
        let mut claims = self.claims();
        let place =
            claims.iter().position(|(known, _, state)| *known == key && state.may_be_released());
        claims.remove(place.ok_or(StoreError::Conflict)?);
        Ok(())
    }

    async fn state(&self, key: ClaimKey) -> Result<Option<ClaimState>, StoreError> {
        Ok(self.claims().iter().find(|(known, ..)| *known == key).map(|(.., state)| state.clone()))
    }
}
