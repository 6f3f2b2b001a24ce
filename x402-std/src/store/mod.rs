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
//!
//! # A store of your own
//! Implement [`ClaimStore`], and run `conformance` on it (feature `tokio`); its part for records only if the store
//! keeps them. [`Presented::again`] makes the answer for a payment that is known, [`encode_state`] a text
//! of a state.
//!
//! # What is beside a claim
//! A claim that moves can be given a [`Record`]: what it takes to go on with it where it is found. A
//! facilitator puts the request and its signed transaction there, a seller the request and what it
//! was made for. Claims that were broadcast and are not certain are handed out by
//! [`pending`](ClaimStore::pending), each to one keeper at a time, so that somebody finishes them.
//! Records hold payments: keep the store as secret as those.

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

/// How long a claim that was broadcast is left to the process that broadcast it before
/// [`ClaimStore::pending`] hands it out.
pub const PENDING_AFTER: Duration = Duration::from_secs(10);

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
    /// [`StoreError::Conflict`] for any other, and for an unknown one.
    fn release(&self, key: ClaimKey) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The state of a claim, if it is known.
    fn state(
        &self,
        key: ClaimKey,
    ) -> impl Future<Output = Result<Option<ClaimState>, StoreError>> + Send;

    /// As [`advance`](Self::advance), and puts a record beside the claim in the same step. A store
    /// that keeps no records leaves pending payments to those who present them again, and cannot
    /// give a lost answer once more after a restart.
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

    /// A claim and what is beside it, if it is known.
    fn find(
        &self,
        key: ClaimKey,
    ) -> impl Future<Output = Result<Option<Found>, StoreError>> + Send {
        let state = self.state(key);
        async move { Ok(state.await?.map(|state| Found { state, record: None })) }
    }

    /// At most `most` claims of one role that were broadcast, that are not certain, and that have a
    /// record. None of them was handed out within `hold` before, to anybody who shares the store,
    /// nor broadcast within [`PENDING_AFTER`]. Those that waited longest come first.
    fn pending(
        &self,
        role: Role,
        hold: Duration,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Pending>, StoreError>> + Send {
        let _ = (role, hold, most);
        ready(Ok(Vec::new()))
    }

    /// How full the store is; `None` if it has no limit.
    fn usage(&self) -> impl Future<Output = Result<Option<Usage>, StoreError>> + Send {
        ready(Ok(None))
    }

    /// Whether claims outlive the process. Where nothing else keeps a payment from being used
    /// twice, as with transfers that buyers send themselves, it takes a store that does.
    fn is_durable(&self) -> bool {
        false
    }

    /// Since when (Unix seconds) this process uses the store, if it is certain that no other process
    /// uses it now.
    fn alone_since(&self) -> Option<u64> {
        None
    }
}

/// Whose claim it is: the seller's, to serve a payment, or the facilitator's, to settle it. Both may
/// share a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The seller's.
    Seller,
    /// The facilitator's.
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

/// A record beside a claim. Its bytes are for the process that wrote them.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub role: Role,
    /// The data to go on with the claim.
    pub bytes: Vec<u8>,
}

/// Does not show the bytes: there is a payment in them.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("role", &self.role).finish_non_exhaustive()
    }
}

/// A claim that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// How far it has come.
    pub state: ClaimState,
    /// The record beside it.
    pub record: Option<Record>,
}

/// A claim that somebody must finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Whose claim it is.
    pub key: ClaimKey,
    /// [`ClaimState::Broadcast`], when it was handed out.
    pub state: ClaimState,
    /// The bytes of its record.
    pub record: Vec<u8>,
}

/// How full a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Claims that are kept; in Redis, bytes of memory.
    pub used: u64,
    /// Most that can be kept, in the same unit.
    pub capacity: u64,
}

impl Usage {
    /// The part that is used: 1.0 is full.
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
