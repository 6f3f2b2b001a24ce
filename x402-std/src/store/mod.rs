//! Stores for claims, so that one payment is served once.
//!
//! | store | feature | for | loses claims when |
//! |---|---|---|---|
//! | [`MemoryStore`] | | one process, tests | the process ends |
//! | [`SqliteStore`] | `sqlite` | processes of one host | its disk is lost, or a backup replaces the file |
//! | [`RedisStore`] | `redis` | many hosts | Redis loses acknowledged steps; see there |
//!
//! A lost claim lets its payment be presented again. The money still moves once, as the chain takes a payment
//! once. But the resource may be served a second time, and the transaction of a sent payment is forgotten.
//!
//! # Answers that are lost
//! After [`StoreError::Unavailable`] the step may have been made. A caller that gets this error from
//! [`present`](ClaimStore::present) holds nothing. If the claim was made, presenting again returns
//! [`Presented::Known`]: such a claim is the next case.
//!
//! # Claims that are abandoned
//! A process that dies between `present` and the next step leaves a claim in [`ClaimState::Claimed`], and its
//! payment is pending until it expires. Stores that outlive their processes can have a lease. It applies when
//! a payment is presented again for the same resource, and its claim is still `Claimed`. If the claim is
//! older than the lease, the answer is [`Presented::New`] once more, and the claim's age starts anew.
//!
//! No payment is made twice by this, however short the lease is and whichever clock is wrong. If the first
//! holder is slow, not dead, it holds the claim together with the second. But a payment is sent only after
//! its claim has moved from `Claimed` to [`ClaimState::Broadcast`]. This is a compare-and-swap, which
//! succeeds for one of them. The other one gets [`StoreError::Conflict`], and has sent nothing. If one of
//! them releases the claim instead, the other one's step is a conflict too. If a third caller has presented
//! the payment meanwhile, that step moves the third one's claim, and the third one gets the conflict. A lease
//! that is too short costs work done twice. Make it longer than the time from a payment's arrival to its
//! broadcast. That includes the paid handler's time if it runs before the settlement.
//!
//! # A store of your own
//! Implement [`ClaimStore`], and test it with `conformance` (feature `tokio`). The part for records is only
//! for stores that keep them. [`Presented::again`] returns the answer for a known payment, and
//! [`encode_state`] a state's text.
//!
//! # Records
//! A step can put a [`Record`] beside its claim: the data to go on with the claim. A facilitator's record
//! holds the settlement request and its signed transaction. A seller's record holds the settlement request
//! and the digest of the buyer's request. [`pending`](ClaimStore::pending) hands out the claims in
//! [`ClaimState::Broadcast`], each to one keeper at a time, which finishes them. Records hold payments: keep
//! the store as secret as those.

use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource};

#[cfg(feature = "tokio")]
pub mod conformance;
#[cfg(any(feature = "redis", feature = "sqlite"))]
mod durable;
#[cfg(feature = "tokio")]
pub(crate) mod keeper;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
mod state;

#[cfg(any(feature = "redis", feature = "sqlite"))]
pub use durable::OpenError;
pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use state::{decode_state, encode_state};

/// The time for which a claim is left to the process that broadcast it, before [`ClaimStore::pending`] hands
/// it out.
pub const PENDING_AFTER: Duration = Duration::from_secs(10);

/// A store of claims. Every step is a compare-and-swap: of two callers that try it, one succeeds.
///
/// A store forgets a claim only to make room, and only if [`ClaimState::is_forgettable`] allows it. A full
/// store refuses new claims.
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

    /// Moves a claim from one state to the next; see [`ClaimState::may_become`]. Its record stays, unless the
    /// claim failed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for a claim that is unknown, or in another state.
    fn advance(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes a claim that is `Claimed` or `Failed`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for a claim in another state, and for an unknown one.
    fn release(&self, key: ClaimKey) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the state of a claim; `None` if it is unknown.
    fn state(
        &self,
        key: ClaimKey,
    ) -> impl Future<Output = Result<Option<ClaimState>, StoreError>> + Send;

    /// As [`advance`](Self::advance), and puts a record beside the claim in the same step. In a store without
    /// records, a pending payment waits until it is presented again, and no lost answer is given again after
    /// a restart.
    fn advance_with(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
        record: Option<Record>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = record;
        self.advance(key, from, to)
    }

    /// Returns the state and the record of a claim; `None` if it is unknown.
    fn find(
        &self,
        key: ClaimKey,
    ) -> impl Future<Output = Result<Option<Found>, StoreError>> + Send {
        let state = self.state(key);
        async move { Ok(state.await?.map(|state| Found { state, record: None })) }
    }

    /// Hands out at most `most` claims of one role that are [`ClaimState::Broadcast`] and have a record.
    /// Claims that were broadcast within [`PENDING_AFTER`] are left out. Each claim is then held back for
    /// `hold` from every process that shares the store. The claims that waited longest come first.
    fn pending(
        &self,
        role: Role,
        hold: Duration,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Pending>, StoreError>> + Send {
        let _ = (role, hold, most);
        ready(Ok(Vec::new()))
    }

    /// Returns how full the store is; `None` if it has no limit.
    fn usage(&self) -> impl Future<Output = Result<Option<Usage>, StoreError>> + Send {
        ready(Ok(None))
    }

    /// Returns whether claims outlive the process. Some payments need such a store: those that nothing else
    /// keeps from being used twice, such as transfers that buyers send themselves.
    fn is_durable(&self) -> bool {
        false
    }

    /// Returns when this process began to use the store (Unix seconds), if it is certainly the only user now.
    fn alone_since(&self) -> Option<u64> {
        None
    }
}

/// The owner of a claim: the seller, which serves the payment, or the facilitator, which settles it. Both may
/// share a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The seller.
    Seller,
    /// The facilitator.
    Facilitator,
}

impl Role {
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    const fn as_str(self) -> &'static str {
        match self {
            Self::Seller => "seller",
            Self::Facilitator => "facilitator",
        }
    }

    #[cfg(any(feature = "redis", feature = "sqlite"))]
    fn parse(text: &[u8]) -> Option<Self> {
        [Self::Seller, Self::Facilitator].into_iter().find(|role| role.as_str().as_bytes() == text)
    }
}

/// A record beside a claim. Its bytes are opaque to the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The owner of the claim.
    pub role: Role,
    /// The data to go on with the claim.
    pub bytes: Vec<u8>,
}

/// Leaves out the bytes, as they contain a payment.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("role", &self.role).finish_non_exhaustive()
    }
}

/// A claim in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its state.
    pub state: ClaimState,
    /// The record beside it.
    pub record: Option<Record>,
}

/// A claim to be finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its key.
    pub key: ClaimKey,
    /// Its state when it was handed out: [`ClaimState::Broadcast`].
    pub state: ClaimState,
    /// The bytes of its record.
    pub record: Vec<u8>,
}

/// How full a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The number of claims; in Redis, bytes of memory.
    pub used: u64,
    /// The most that fit, in the same unit.
    pub capacity: u64,
}

impl Usage {
    /// Returns the used part: 1.0 is full.
    pub fn share(self) -> f64 {
        self.used as f64 / (self.capacity.max(1)) as f64
    }
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

    fn advance_with(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
        record: Option<Record>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).advance_with(key, from, to, record)
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

    fn find(
        &self,
        key: ClaimKey,
    ) -> impl Future<Output = Result<Option<Found>, StoreError>> + Send {
        (**self).find(key)
    }

    fn pending(
        &self,
        role: Role,
        hold: Duration,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Pending>, StoreError>> + Send {
        (**self).pending(role, hold, most)
    }

    fn usage(&self) -> impl Future<Output = Result<Option<Usage>, StoreError>> + Send {
        (**self).usage()
    }

    fn is_durable(&self) -> bool {
        (**self).is_durable()
    }

    fn alone_since(&self) -> Option<u64> {
        (**self).alone_since()
    }
}

/// Why a call to a store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The store is full of claims that may not be forgotten.
    Full,
    /// The claim is unknown, has moved on, or may not make this step.
    Conflict,
    /// The store could not be reached, did not answer in time, or holds data that it cannot read. The step
    /// may have been made.
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
