//! Where claims are kept, so that one payment is served once.
//!
//! | store | feature | for | loses claims when |
//! |---|---|---|---|
//! | [`MemoryStore`] | | one process, tests | the process ends |
//! | [`SqliteStore`] | `sqlite` | processes of one host | its disk is lost, or a backup is put in its place |
//! | [`RedisStore`] | `redis` | many hosts | Redis loses what it acknowledged; see there |
//!
//! A lost claim lets its payment be presented again. The money is still moved once, as the chain
//! takes a payment once; but what was served for it may be served a second time, and of a payment
//! that was sent nobody remembers the transaction.
//!
//! # Answers that are lost
//! After [`StoreError::Unavailable`] the step may have been made. Whoever is told so of
//! [`present`](ClaimStore::present) holds nothing, and presenting again gives
//! [`Presented::Known`] if the claim was made: such a claim is the next case.
//!
//! # Claims that are abandoned
//! A process that dies between `present` and the next step leaves a claim in
//! [`ClaimState::Claimed`], and its payment is pending until it expires. Stores that outlive their
//! processes can be given a lease: a claim that is still `Claimed` when it is presented again for
//! the same resource, longer after it was made than the lease, is [`Presented::New`] once more, and
//! made at that time.
//!
//! This pays nothing twice, however short the lease and whichever clock is wrong. Somebody who is
//! slow, not dead, then holds the claim together with the newcomer; but nothing is sent before the
//! claim has moved from `Claimed` to [`ClaimState::Broadcast`], which is a compare-and-swap that one
//! of them makes. The other one is told [`StoreError::Conflict`] and has sent nothing. If one of them
//! releases the claim instead, the other one's step is a conflict as well, or moves the claim of
//! a third who presented it meanwhile, who then gets the conflict. What a lease that is too short
//! costs is work done twice: give one that is longer than it takes from a payment's arrival to its
//! broadcast, the paid handler's time included if it runs before the settlement.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource};

#[cfg(any(feature = "redis", feature = "sqlite"))]
mod durable;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(any(feature = "redis", feature = "sqlite"))]
pub use durable::OpenError;
pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// Keeps claims. Every step is a compare-and-swap: of two who try, one succeeds.
///
/// A store forgets a claim only to make room, and only if [`ClaimState::is_forgettable`] says so; a
/// full one refuses new claims.
pub trait ClaimStore: Send + Sync {
    /// Presents a payment that can be settled until `expires_at`, for a resource, at `now` (Unix
    /// seconds).
    fn present(
        &self,
        key: ClaimKey,
        resource: Resource,
        expires_at: u64,
        now: u64,
    ) -> impl Future<Output = Result<Presented, StoreError>> + Send;

    /// Moves a claim from one state to the next; see [`ClaimState::may_become`].
    fn advance(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives a claim up, for which nothing has been sent.
    fn release(&self, key: ClaimKey) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The state of a claim, if it is known.
    fn state(
        &self,
        key: ClaimKey,
    ) -> impl Future<Output = Result<Option<ClaimState>, StoreError>> + Send;
}

impl<S: ClaimStore> ClaimStore for Arc<S> {
    fn present(
        &self,
        key: ClaimKey,
        resource: Resource,
        expires_at: u64,
        now: u64,
    ) -> impl Future<Output = Result<Presented, StoreError>> + Send {
        (**self).present(key, resource, expires_at, now)
    }

    fn advance(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).advance(key, from, to)
    }

    fn release(&self, key: ClaimKey) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).release(key)
    }

    fn state(
        &self,
        key: ClaimKey,
    ) -> impl Future<Output = Result<Option<ClaimState>, StoreError>> + Send {
        (**self).state(key)
    }
}

/// Why a store did not do as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// There is no room: it is full of claims that may not be forgotten.
    Full,
    /// The claim is unknown, has moved on, or may not move there.
    Conflict,
    /// It could not be reached, did not answer in time, or holds what it cannot read. The step may
    /// have been made.
    Unavailable,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "claim store is full",
            Self::Conflict => "claim is not in the expected state",
            Self::Unavailable => "claim store is unavailable",
        })
    }
}

impl std::error::Error for StoreError {}
