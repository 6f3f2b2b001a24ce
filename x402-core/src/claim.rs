//! One payment is served once: identity keys and the state machine of a claim.
//!
//! ```text
//! Claimed ──> Broadcast(transaction) ──> Settled(transaction) <──> Delivered(transaction)
//!    │                 │
//!    └──> released     └──> Failed(reason) ──> released        Claimed ──> Failed(reason)
//! ```
//! A claim is made before anything is done for a payment. Until it is broadcast it may be released;
//! from then on only the chain decides. No full table or restart gives the payment a second life
//! while it can still settle.
//!
//! A facilitator's claim ends as settled or failed. A seller's goes one step further: it is
//! delivered once the answer was written out. Of several processes that find it settled, the one
//! that makes this step may make the answer once more.

use core::fmt;

use crate::reason::Reason;

/// A payment's identity: 32 bytes that every presentation of it shares.
///
/// Schemes derive it: EIP-3009 from chain, token, payer and nonce; Permit2 from chain, owner and
/// nonce; Solana from the SHA-256 of the message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey([u8; 32]);

impl ClaimKey {
    /// Wraps the bytes a scheme derived.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A transaction id as text: 66 characters on EVM, up to 88 on Solana; empty if not known yet.
pub type Transaction = heapless::String<88>;

/// Seconds for which a sent payment of uncertain outcome is kept after it expired: as long as a
/// buyer may take to ask again.
const PENDING_SECONDS: u64 = 24 * 60 * 60;

/// Seconds for which a payment is kept after it expired if no transaction is known of it, or its
/// answer may have been lost.
const GRACE_SECONDS: u64 = 10 * 60;

/// The state of a claimed payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ClaimState {
    /// It is being worked on; nothing has been sent.
    Claimed,
    /// It was, or may have been, sent to the chain.
    Broadcast(Transaction),
    /// It was made. The delivery to the payer is unknown.
    Settled(Transaction),
    /// It was made, and the resource was written out, or is being made for the last time.
    Delivered(Transaction),
    /// It was sent, or refused for good, and moved no money.
    Failed(Reason),
}

impl ClaimState {
    /// Returns whether a claim in this state may move to `next`.
    pub fn may_become(&self, next: &ClaimState) -> bool {
        match (self, next) {
            (Self::Claimed, Self::Broadcast(_) | Self::Failed(_))
            | (Self::Broadcast(_), Self::Settled(_) | Self::Failed(_)) => true,
            // The id becomes known; a known one never changes.
            (Self::Broadcast(old), Self::Broadcast(new)) => old.is_empty() && !new.is_empty(),
            // Back again if the attempt to deliver came to nothing.
            (Self::Settled(old), Self::Delivered(new))
            | (Self::Delivered(old), Self::Settled(new)) => old == new,
            _ => false,
        }
    }

    /// Returns whether a claim in this state may be given up: nothing was sent, or nothing comes of
    /// it.
    pub const fn may_be_released(&self) -> bool {
        matches!(self, Self::Claimed | Self::Failed(_))
    }

    /// Returns whether a claim in this state can be forgotten at `now` (Unix seconds) to make room.
    /// Its payment can be settled until `expires_at`.
    ///
    /// A broadcast payment is kept for a day longer than it can settle, since its outcome shows only
    /// when somebody asks. Without a known transaction it is kept for ten minutes longer, and so is a
    /// settled one that may not have been delivered. A failed one always may be forgotten: it was
    /// never served, and every check is made again when it is presented again.
    pub fn is_forgettable(&self, expires_at: u64, now: u64) -> bool {
        match self.kept_until(expires_at) {
            Some(last) => last < now,
            None => true,
        }
    }

    /// Returns the last second at which a claim is not [forgettable](Self::is_forgettable); `None`
    /// if it always is.
    pub fn kept_until(&self, expires_at: u64) -> Option<u64> {
        match self {
            Self::Broadcast(transaction) if !transaction.is_empty() => {
                Some(expires_at.saturating_add(PENDING_SECONDS))
            }
            Self::Broadcast(_) | Self::Settled(_) => Some(expires_at.saturating_add(GRACE_SECONDS)),
            Self::Failed(_) => None,
            Self::Claimed | Self::Delivered(_) => Some(expires_at),
        }
    }
}

/// The outcome of presenting a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Presented {
    /// It was free; the caller holds the claim now.
    New,
    /// It has been presented before and is in this state. The caller holds nothing.
    Known(ClaimState),
    /// It has been presented before, for another resource. The caller holds nothing.
    ForAnother,
}

impl Presented {
    /// Returns the outcome of presenting a payment again whose claim is in `state`, for the resource
    /// of that claim or for another one.
    pub fn again(state: &ClaimState, same_resource: bool) -> Self {
        if same_resource { Self::Known(state.clone()) } else { Self::ForAnother }
    }
}

/// The purpose a payment is presented for: a hash of the caller's choice. A known payment belongs to one
/// resource; callers for whom that is irrelevant always use [`Resource::ANY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Resource(pub [u8; 32]);

impl Resource {
    /// No resource in particular.
    pub const ANY: Self = Self([0; 32]);
}

/// The step was refused: the claim is unknown, has moved on, or may not move there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClaimConflict;

impl fmt::Display for ClaimConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claim is not in the expected state")
    }
}

impl core::error::Error for ClaimConflict {}

/// Claims in a fixed place, for one thread of one device. They are lost at power-off: use payments
/// that expire, or keep claims elsewhere.
///
/// ```
/// use x402_core::claim::{ClaimKey, ClaimState, ClaimTable, Presented, Resource};
/// let mut table = ClaimTable::<8>::new();
/// let key = ClaimKey::new([7; 32]);
/// let (here, there) = (Resource([1; 32]), Resource([2; 32]));
/// assert_eq!(table.present(key, here, 1_000, 10), Ok(Presented::New));
/// assert_eq!(table.present(key, here, 1_000, 11), Ok(Presented::Known(ClaimState::Claimed)));
/// assert_eq!(table.present(key, there, 1_000, 12), Ok(Presented::ForAnother));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ClaimTable<const N: usize> {
    claims: heapless::Vec<Claim, N>,
}

#[derive(Clone, Debug)]
struct Claim {
    key: ClaimKey,
    resource: Resource,
    expires_at: u64,
    state: ClaimState,
}

impl<const N: usize> ClaimTable<N> {
    /// An empty table.
    pub const fn new() -> Self {
        Self { claims: heapless::Vec::new() }
    }

    /// Presents a payment that can be settled until `expires_at`, for a resource, at `now` (Unix
    /// seconds).
    ///
    /// # Errors
    /// [`Reason::Busy`] if the table is full of claims that may not be forgotten.
    pub fn present(
        &mut self,
        key: ClaimKey,
        resource: Resource,
        expires_at: u64,
        now: u64,
    ) -> Result<Presented, Reason> {
        if let Some(claim) = self.find(&key) {
            return Ok(Presented::again(&claim.state, claim.resource == resource));
        }
        if self.claims.is_full() {
            self.claims.retain(|claim| !claim.state.is_forgettable(claim.expires_at, now));
        }
        let claim = Claim { key, resource, expires_at, state: ClaimState::Claimed };
        self.claims.push(claim).map_err(|_| Reason::Busy)?;
        Ok(Presented::New)
    }

    /// Moves a claim from one state to the next, if it is still there.
    ///
    /// # Errors
    /// [`ClaimConflict`].
    pub fn advance(
        &mut self,
        key: &ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> Result<(), ClaimConflict> {
        match self.find(key) {
            Some(claim) if claim.state == *from && from.may_become(&to) => {
                claim.state = to;
                Ok(())
            }
            _ => Err(ClaimConflict),
        }
    }

    /// Releases a claim that failed or for which nothing has been sent.
    ///
    /// # Errors
    /// [`ClaimConflict`].
    pub fn release(&mut self, key: &ClaimKey) -> Result<(), ClaimConflict> {
        let free = |claim: &Claim| claim.key == *key && claim.state.may_be_released();
        if !self.claims.iter().any(free) {
            return Err(ClaimConflict);
        }
        self.claims.retain(|claim| !free(claim));
        Ok(())
    }

    /// Returns the state of a claim.
    pub fn state(&self, key: &ClaimKey) -> Option<&ClaimState> {
        self.claims.iter().find(|claim| claim.key == *key).map(|claim| &claim.state)
    }

    fn find(&mut self, key: &ClaimKey) -> Option<&mut Claim> {
        self.claims.iter_mut().find(|claim| claim.key == *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Resource = Resource::ANY;

    fn tx(text: &str) -> Transaction {
        text.try_into().unwrap()
    }

    #[test]
    fn every_step_of_the_machine() {
        let states = [
            ClaimState::Claimed,
            ClaimState::Broadcast(tx("")),
            ClaimState::Broadcast(tx("0x1")),
            ClaimState::Settled(tx("0x1")),
            ClaimState::Delivered(tx("0x1")),
            ClaimState::Failed(Reason::InvalidTransactionState),
        ];
        // Row: from; column: to.
        let allowed = [
            [false, true, true, false, false, true],
            [false, false, true, true, false, true],
            [false, false, false, true, false, true],
            [false, false, false, false, true, false],
            [false, false, false, true, false, false],
            [false; 6],
        ];
        for (from, row) in states.iter().zip(allowed) {
            for (to, allowed) in states.iter().zip(row) {
                assert_eq!(from.may_become(to), allowed, "{from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn full_table_refuses_and_live_claims_stay() {
        let key = |n| ClaimKey::new([n; 32]);
        let mut table = ClaimTable::<3>::new();
        for n in 0..3 {
            assert_eq!(table.present(key(n), ANY, 100, 0), Ok(Presented::New));
        }
        assert_eq!(table.present(key(3), ANY, 100, 0), Err(Reason::Busy));
        let broadcast = ClaimState::Broadcast(tx("0x1"));
        table.advance(&key(0), &ClaimState::Claimed, broadcast.clone()).unwrap();
        assert_eq!(table.release(&key(0)), Err(ClaimConflict));
        table.release(&key(1)).unwrap();
        assert_eq!(table.present(key(3), ANY, 100, 0), Ok(Presented::New));
        // After all of them expired, the broadcast one is still there.
        assert_eq!(table.present(key(4), ANY, 1_000, 500), Ok(Presented::New));
        assert_eq!(table.state(&key(0)), Some(&broadcast));
        assert_eq!(table.state(&key(2)), None);
        // A day later its outcome is final.
        assert!(!broadcast.is_forgettable(100, 100 + PENDING_SECONDS));
        assert!(broadcast.is_forgettable(100, 101 + PENDING_SECONDS));
        let stale = table.advance(&key(0), &ClaimState::Claimed, ClaimState::Settled(tx("0x1")));
        assert_eq!(stale, Err(ClaimConflict));
        // A failed payment may be given up, to be claimed anew.
        let failed = ClaimState::Failed(Reason::Busy);
        table.advance(&key(0), &broadcast, failed).unwrap();
        table.release(&key(0)).unwrap();
        assert_eq!(table.state(&key(0)), None);
    }

    #[test]
    fn kept_as_long_as_is_forgettable_says() {
        let states = [
            (ClaimState::Claimed, 0),
            (ClaimState::Broadcast(tx("")), GRACE_SECONDS),
            (ClaimState::Broadcast(tx("0x1")), PENDING_SECONDS),
            (ClaimState::Settled(tx("0x1")), GRACE_SECONDS),
            (ClaimState::Delivered(tx("0x1")), 0),
        ];
        for (state, longer) in states {
            assert_eq!(state.kept_until(1_000), Some(1_000 + longer), "{state:?}");
            for expires_at in [0, 1, 1_700_000_000, u64::MAX / 2, u64::MAX - 86_400, u64::MAX] {
                let last = state.kept_until(expires_at).unwrap();
                assert!(!state.is_forgettable(expires_at, last), "{state:?} {expires_at}");
                let next = last.saturating_add(1);
                assert_eq!(state.is_forgettable(expires_at, next), last != u64::MAX);
            }
        }
        let failed = ClaimState::Failed(Reason::Busy);
        assert_eq!(failed.kept_until(u64::MAX), None);
        assert!(failed.is_forgettable(u64::MAX, 0));
    }
}
