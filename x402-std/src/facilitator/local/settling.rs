//! The settlement of a payment, at most once.

use x402_core::claim::{ClaimKey, ClaimState, Presented, Transaction};
use x402_core::gate::Verified;
use x402_core::{Payment, Reason};

use super::LocalFacilitator;
use super::failure::{Failure, UNWRITTEN};
use crate::clock::Clock;
use crate::facilitator::CallerId;
use crate::facilitator::keeper::{UNTOLD, beside, kept};
use crate::facilitator::ledger::{Ledger, Outcome};
use crate::message::VerifyRequest;
use crate::scheme::SharedScheme;
use crate::store::{ClaimStore, StoreError};

impl<L, S, C, X> LocalFacilitator<L, S, C, X>
where
    L: Ledger<X::Payment>,
    S: ClaimStore,
    C: Clock,
    X: SharedScheme,
{
    pub(super) async fn settle_once(
        &self,
        key: ClaimKey,
        request: &VerifyRequest,
        verified: Verified<&X::Payment>,
        caller: CallerId,
        now: u64,
    ) -> Result<Transaction, Failure> {
        let payment = verified.payment();
        let late = payment.late(now);
        self.takes(payment)?;
        let _one = self.enter(payment)?;
        let _working = self.working.enter(key);
        // A caller without a proof has no part in the payment, and must not delay others.
        self.ledger.prove(verified).await?;
        match self.store.present(key, caller.into(), payment.expires_at(), now).await? {
            Presented::New => {}
            Presented::Known(
                ClaimState::Settled(transaction) | ClaimState::Delivered(transaction),
            ) if caller != CallerId::ANYBODY => {
                return Ok(transaction);
            }
            Presented::Known(ClaimState::Settled(transaction)) => {
                return self.untold(key, transaction).await;
            }
            // Its work was abandoned, nothing was sent, and now it is too late to send.
            Presented::Known(ClaimState::Claimed) if late.is_some() => {
                return Err(late.unwrap_or(Reason::UnknownSettlementError).into());
            }
            Presented::Known(ClaimState::Broadcast(transaction)) => {
                return self.resume(key, verified, transaction, caller).await;
            }
            Presented::Known(state) => return Err(state.into()),
            Presented::ForAnother => return Err(self.told(key).await),
        }
        // Extensions may refuse until something is sent. After that, only the outcome matters.
        let refusal = match late.or(self.extended(&request.as_view()).err()) {
            Some(reason) => Err(reason),
            None if self.looks.take(request, *payment) => Ok(()),
            None => self.ledger.check(verified, now).await,
        };
        if let Err(reason) = refusal {
            self.store.release(key).await?;
            return Err(reason.into());
        }
        let (transaction, unsent) = match self.ledger.prepare(verified).await {
            Ok(prepared) => prepared,
            Err(reason) => {
                self.store.release(key).await?;
                return Err(reason.into());
            }
        };
        // From here on the money may move. Before sending, the claim records that, and the data to resume is
        // stored beside it.
        let sending = ClaimState::Broadcast(transaction.clone());
        let record = kept(request, &self.ledger.raw(&unsent));
        match self.store.advance_with(key, &ClaimState::Claimed, sending, record).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return Err(self.told(key).await),
            // If the record was written all the same, the keeper sends it, or the next request for it does.
            Err(_) => {
                return Err(match self.store.release(key).await {
                    Ok(()) => Failure::busy(UNWRITTEN),
                    Err(_) => Failure::pending(transaction),
                });
            }
        }
        self.ledger.send(unsent).await;
        self.resume(key, verified, transaction, caller).await
    }

    /// Returns the answer about a settled payment. If the keeper settled it, the first caller gets the
    /// success.
    async fn untold(
        &self,
        key: ClaimKey,
        transaction: Transaction,
    ) -> Result<Transaction, Failure> {
        let found = self.store.find(key).await?;
        let untold = found.and_then(|found| found.record).is_some_and(|it| it.bytes == UNTOLD);
        let settled = ClaimState::Settled(transaction.clone());
        let told = ClaimState::Delivered(transaction.clone());
        if untold && self.store.advance(key, &settled, told).await.is_ok() {
            return Ok(transaction);
        }
        Err(settled.into())
    }

    /// Finds the outcome of a sent payment, without a caller.
    #[cfg(feature = "tokio")]
    pub(in crate::facilitator) async fn finish(
        &self,
        key: ClaimKey,
        verified: Verified<&X::Payment>,
        transaction: Transaction,
    ) -> Outcome {
        let state = ClaimState::Broadcast(transaction.clone());
        let outcome = self.ledger.confirm(verified, &transaction).await;
        let (next, record) = match &outcome {
            Outcome::Settled(moved) => (ClaimState::Settled(moved.clone()), Some(beside(UNTOLD))),
            Outcome::Failed(reason) => (ClaimState::Failed(*reason), None),
            Outcome::Pending => return outcome,
        };
        // A faster request has written the same.
        self.store.advance_with(key, &state, next, record).await.ok();
        outcome
    }

    /// Finds the outcome of a sent payment. If several callers ask, one gets the success. A particular caller
    /// gets it every time, because it counts as one.
    async fn resume(
        &self,
        key: ClaimKey,
        verified: Verified<&X::Payment>,
        transaction: Transaction,
        caller: CallerId,
    ) -> Result<Transaction, Failure> {
        let state = ClaimState::Broadcast(transaction.clone());
        match self.ledger.confirm(verified, &transaction).await {
            Outcome::Settled(moved) => {
                let settled = ClaimState::Settled(moved.clone());
                // There is nothing left to resume.
                let record = Some(beside(b""));
                match self.store.advance_with(key, &state, settled, record).await {
                    Ok(()) => Ok(moved),
                    Err(StoreError::Conflict) => match self.store.state(key).await {
                        Err(_) => Err(Failure::pending(transaction)),
                        Ok(Some(ClaimState::Settled(moved))) if caller != CallerId::ANYBODY => {
                            Ok(moved)
                        }
                        Ok(Some(ClaimState::Settled(moved))) => self.untold(key, moved).await,
                        Ok(_) => Err(self.told(key).await),
                    },
                    Err(_) => Err(Failure::pending(transaction)),
                }
            }
            Outcome::Failed(reason) => {
                // A faster request has written the same.
                self.store.advance(key, &state, ClaimState::Failed(reason)).await.ok();
                Err(Failure { reason, transaction, busy: None })
            }
            Outcome::Pending => Err(Failure::pending(transaction)),
        }
    }

    /// Returns the answer about a settlement to callers without a part in it.
    async fn told(&self, key: ClaimKey) -> Failure {
        match self.store.state(key).await {
            Ok(Some(state)) => state.into(),
            // Forgotten meanwhile, or unreadable: the payment may have been made.
            Ok(None) | Err(_) => Failure::pending(Transaction::new()),
        }
    }
}
