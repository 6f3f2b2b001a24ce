//! Claims in memory that a test calls durable.
#![allow(unreachable_pub)] // a module of tests

use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource};
use x402_std::store::{ClaimStore, MemoryStore, StoreError};

#[derive(Default)]
pub struct Durable(MemoryStore);

impl ClaimStore for Durable {
    async fn present(
        &self,
        key: ClaimKey,
        resource: Resource,
        expires_at: u64,
        now: u64,
    ) -> Result<Presented, StoreError> {
        self.0.present(key, resource, expires_at, now).await
    }

    async fn advance(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> Result<(), StoreError> {
        self.0.advance(key, from, to).await
    }

    async fn release(&self, key: ClaimKey) -> Result<(), StoreError> {
        self.0.release(key).await
    }

    async fn state(&self, key: ClaimKey) -> Result<Option<ClaimState>, StoreError> {
        self.0.state(key).await
    }

    fn is_durable(&self) -> bool {
        true
    }
}
