//! Settlements that must not be served.

use x402_core::claim::{ClaimState, Transaction};
use x402_core::{Reason, seller};

use crate::store::StoreError;

/// A settlement that must not be served, with its transaction if there is one.
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) transaction: Transaction,
    /// The cause of [`Reason::Busy`].
    pub(super) busy: Option<&'static str>,
}

/// The cause if the store did not record the claim's step.
pub(super) const UNWRITTEN: &str = "the claim store does not answer";

/// The cause if the ledger sends nothing now.
pub(super) const UNSENT: &str = "no transaction is sent for this payment now: gas costs too much, the sender's funds or \
                      places are used up, or the payer must wait; the facilitator's log says which";

impl Failure {
    /// Returns the failure of a payment that may have been made.
    pub(super) fn pending(transaction: Transaction) -> Self {
        Self { reason: seller::unclear(&transaction), transaction, busy: None }
    }

    /// Returns the failure of a payment that was not sent, for a temporary reason.
    pub(super) fn busy(cause: &'static str) -> Self {
        Self { busy: Some(cause), ..Reason::Busy.into() }
    }

    /// Returns the cause of being busy, for the log and the answer.
    pub(super) fn noted(&self) -> Option<String> {
        let cause = self.busy?;
        tracing::warn!("busy: {cause}");
        Some(cause.into())
    }
}

impl From<ClaimState> for Failure {
    fn from(state: ClaimState) -> Self {
        match state {
            // Another request settles it now, and this one has sent nothing.
            ClaimState::Claimed => Self::busy("another request has this payment settled now"),
            ClaimState::Broadcast(transaction) => Self::pending(transaction),
            ClaimState::Settled(transaction) | ClaimState::Delivered(transaction) => {
                Self { transaction, ..Reason::DuplicateSettlement.into() }
            }
            ClaimState::Failed(reason) => reason.into(),
        }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        let busy = (reason == Reason::Busy).then_some(UNSENT);
        Self { reason, transaction: Transaction::new(), busy }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::busy("the claim store is full"),
            StoreError::Unavailable => Self::busy(UNWRITTEN),
            StoreError::Conflict => Reason::DuplicateSettlement.into(),
        }
    }
}
