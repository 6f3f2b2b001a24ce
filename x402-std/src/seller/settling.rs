//! Settling an admitted payment, once.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource, Transaction};
use x402_core::crypto::keccak256;
use x402_core::domain;
use x402_core::{Payment, Reason, Scheme, Verified, seller};

use super::admission::{Admission, Refusal, Said};
use super::record::Kept;
use super::{RequestDigest, Seller};
use crate::clock::Clock;
use crate::extension;
use crate::facilitator::{Facilitator, PaymentOf, words};
use crate::lock;
use crate::message::{SettleResponse, VerifyRequest};
use crate::store::{ClaimStore, StoreError};

impl<F, S, C> Seller<F, S, C>
where
    F: Facilitator,
    S: ClaimStore,
    C: Clock,
{
    /// Settles the payment, and returns the receipt. After writing the answer out, call
    /// [`delivered`](Self::delivered).
    ///
    /// # Errors
    /// [`Refusal`] with a receipt; the resource must then not be served.
    pub async fn settle(
        &self,
        admission: Admission<PaymentOf<F>>,
    ) -> Result<SettleResponse, Refusal> {
        let key = admission.key;
        if let ClaimState::Settled(transaction) = &admission.state {
            // If several requests find the answer lost, one makes it again.
            if self.delivered(key, transaction).await.is_ok() {
                let answer = SettleResponse::default();
                return Ok(
                    self.extended(&admission, admission.receipt(true, None, transaction, &answer))
                );
            }
            return Err(admission.duplicate(transaction));
        }
        let settled = self.settle_claim(&Claim::of(&admission), admission.state.clone()).await;
        settled
            .map_err(|refusal| refusal.into_refusal(&admission))
            .map(|(transaction, answer)| admission.receipt(true, None, &transaction, &answer))
            .map(|receipt| self.extended(&admission, receipt))
    }

    /// Returns a receipt with the extensions' additions.
    fn extended(
        &self,
        admission: &Admission<PaymentOf<F>>,
        mut receipt: SettleResponse,
    ) -> SettleResponse {
        if !self.extensions.is_empty() {
            let payment = admission.accepted();
            let added = self.extensions.iter().filter_map(|extension| {
                // The money has moved: an extension's bug must not cost the buyer the answer.
                let added = AssertUnwindSafe(|| extension.receipt(&payment, &receipt));
                Some((extension.key().to_owned(), catch_unwind(added).ok()??))
            });
            let added: Vec<_> = added.collect();
            receipt.extensions = extension::merged(receipt.extensions.as_ref(), added);
        }
        receipt
    }

    /// Has a claimed payment settled, or finds the outcome of one that was sent before.
    pub(super) async fn settle_claim(
        &self,
        claim: &Claim<'_, PaymentOf<F>>,
        mut state: ClaimState,
    ) -> Result<(Transaction, SettleResponse), Unsettled> {
        let key = claim.key;
        let Some(_turn) = Turn::take(&self.settling, key) else {
            return Err(match state {
                ClaimState::Broadcast(transaction) if !transaction.is_empty() => {
                    Unsettled::pending(transaction)
                }
                _ => Reason::Busy.into(),
            });
        };
        // If nothing can have been sent before, a refusal means that nothing was sent.
        let mut first = state == ClaimState::Claimed;
        if first {
            let sending = ClaimState::Broadcast(Transaction::new());
            let record = Kept::pending(claim.request, claim.digest);
            self.store.advance_with(key, &state, sending.clone(), record).await?;
            state = sending;
        }
        let (mut status, mut said) = (None, None);
        // A pending payment is asked about once more, and so is one whose answer is lost.
        for _ in 0..2 {
            let (facilitator, caller) = (&self.facilitator, self.secret.caller(key));
            let answer = match claim.verified {
                Some(verified) => facilitator.settle_proven(claim.request, verified, caller).await,
                None => facilitator.settle_for(claim.request, caller).await,
            };
            let answer = match answer {
                Ok(settlement) => settlement.answer,
                Err(error) => {
                    tracing::warn!(%error, "settlement unclear; its claim is kept");
                    status = Some(error.reason().status());
                    first = false;
                    continue;
                }
            };
            status = None;
            said =
                Said::by(&answer.error_reason, &answer.error_message, &answer.other, "errorReason");
            if !answer.success {
                let reason = reason_given(&answer);
                let says = answer.error_message.as_deref().map(words);
                tracing::info!(reason, says, "the facilitator did not settle a payment");
            }
            let offer = claim.request.payment_requirements.as_view();
            let payer = claim.payer.as_deref();
            // A scheme's own reason means that nothing was sent, unless a transaction is beside it.
            let own = answer.error_reason.as_deref().filter(|_| first && !answer.success);
            let own = own.filter(|_| answer.transaction.is_empty());
            let own = own.and_then(|reason| own_reason(facilitator.scheme(), reason));
            let mut outcome = match own {
                Some(own) => ClaimState::Failed(own),
                None => answer.with_view(|answer| seller::settled(answer, &offer, payer, first)),
            };
            if answer.success && !matches!(outcome, ClaimState::Settled(_)) {
                tracing::warn!("the facilitator's success contradicts itself: payment pending");
            }
            if let ClaimState::Settled(transaction) = &outcome {
                match self.is_own(claim, transaction).await {
                    Ok(true) => {}
                    Ok(false) => {
                        tracing::warn!(%transaction, "the facilitator names a transaction for two payments");
                        outcome = ClaimState::Broadcast(Transaction::new());
                    }
                    // A full store must not lose a paid settlement, though it cannot be compared with others.
                    Err(StoreError::Full) => {
                        tracing::warn!(%transaction, "store full: a transaction is not compared with others");
                    }
                    Err(_) => {
                        let pending = ClaimState::Broadcast(transaction.clone());
                        self.store.advance(key, &state, pending).await.ok();
                        return Err(Unsettled::unwritten(transaction.clone()));
                    }
                }
            }
            match &outcome {
                ClaimState::Settled(transaction) => {
                    return match self.record_settled(claim, state, transaction).await {
                        Ok(()) => Ok((transaction.clone(), answer)),
                        // Served by another process that shares the store.
                        Err(StoreError::Conflict) => {
                            Err(Unsettled::of(Reason::DuplicateSettlement, transaction.clone()))
                        }
                        Err(_) => Err(Unsettled::unwritten(transaction.clone())),
                    };
                }
                ClaimState::Failed(reason) => {
                    self.store.advance(key, &state, outcome.clone()).await.ok();
                    // Nothing was sent: the payment may be presented again as if it were new.
                    if *reason == Reason::Busy {
                        self.store.release(key).await.ok();
                    }
                    let transaction = Transaction::try_from(answer.transaction.as_str());
                    let unsettled = Unsettled::of(*reason, transaction.unwrap_or_default());
                    return Err(Unsettled { said, ..unsettled });
                }
                _ => {}
            }
            first = false;
            if state.may_become(&outcome)
                && self.store.advance(key, &state, outcome.clone()).await.is_ok()
            {
                state = outcome;
            }
            if answer.success || reason_of(&answer) != Some(Reason::SettlementPending) {
                break;
            }
        }
        let ClaimState::Broadcast(transaction) = state else {
            return Err(Unsettled::pending(Transaction::new()));
        };
        let pending = Unsettled::pending(transaction);
        // A facilitator's own reason must not replace `settlement_pending`.
        let said = said.filter(|_| pending.reason != Reason::SettlementPending);
        Err(Unsettled { status: status.unwrap_or(pending.status), said, ..pending })
    }

    /// Returns whether a transaction settles this payment and no other known one.
    async fn is_own(
        &self,
        claim: &Claim<'_, PaymentOf<F>>,
        transaction: &Transaction,
    ) -> Result<bool, StoreError> {
        let network = claim.request.payment_requirements.network.as_view();
        let network = network.caip2().unwrap_or(network);
        // Hexadecimal digits are the same in either letter case, base58's are not.
        let id = match transaction.starts_with("0x") {
            true => transaction.to_ascii_lowercase(),
            false => transaction.to_string(),
        };
        let hash = |part: &str| keccak256(&[part.as_bytes()]);
        let parts: [&[u8]; 3] = [domain::TRANSACTION, &hash(network.as_str()), &hash(&id)];
        let (of, now) = (ClaimKey::new(keccak256(&parts)), self.clock.now());
        let by = Resource(*claim.key.as_bytes());
        match self.store.present(of, by, claim.expires_at, now).await? {
            Presented::New | Presented::Known(_) => Ok(true),
            Presented::ForAnother => Ok(false),
        }
    }
}

impl<F, S, C> Seller<F, S, C>
where
    S: ClaimStore,
    C: Clock,
{
    /// Moves the claim to settled. Meanwhile another process may have recorded the transaction, or its keeper
    /// the settlement. Then the request that has an answer to give takes it.
    async fn record_settled<P>(
        &self,
        claim: &Claim<'_, P>,
        state: ClaimState,
        transaction: &Transaction,
    ) -> Result<(), StoreError> {
        let (key, settled) = (claim.key, ClaimState::Settled(transaction.clone()));
        let record = || Kept::settled(claim.digest, self.clock.now(), claim.untold);
        match self.store.advance_with(key, &state, settled.clone(), record()).await {
            Err(StoreError::Conflict) => {}
            done => return done,
        }
        match self.store.state(key).await? {
            Some(now @ ClaimState::Broadcast(_)) => {
                self.store.advance_with(key, &now, settled, record()).await
            }
            Some(ClaimState::Settled(found)) if found == *transaction && !claim.untold => {
                let kept = self.store.find(key).await?.and_then(|found| found.record);
                if !kept.and_then(|it| Kept::read(&it.bytes)).is_some_and(|kept| kept.untold) {
                    return Err(StoreError::Conflict);
                }
                // If there are several, one takes it.
                let taken = ClaimState::Delivered(transaction.clone());
                self.store.advance(key, &settled, taken.clone()).await?;
                self.store.advance_with(key, &taken, settled, record()).await
            }
            _ => Err(StoreError::Conflict),
        }
    }
}

/// The data needed to settle a claimed payment.
pub(super) struct Claim<'a, P> {
    pub(super) key: ClaimKey,
    pub(super) request: &'a VerifyRequest,
    /// `None` for a payment that comes from a record, without a new check.
    pub(super) verified: Option<Verified<&'a P>>,
    /// `None` if the scheme names no payer before its checks.
    pub(super) payer: Option<String>,
    pub(super) expires_at: u64,
    pub(super) digest: Option<RequestDigest>,
    /// Whether no caller waits for the outcome.
    pub(super) untold: bool,
}

impl<'a, P: Payment> Claim<'a, P> {
    fn of(admission: &'a Admission<P>) -> Self {
        Self {
            key: admission.key,
            request: &admission.request,
            verified: Some(admission.verified.as_ref()),
            payer: Some(admission.payment().payer().to_string()),
            expires_at: admission.payment().expires_at(),
            digest: admission.digest,
            untold: false,
        }
    }
}

/// A payment that is unsettled, or must not be served.
pub(super) struct Unsettled {
    pub(super) reason: Reason,
    pub(super) status: u16,
    pub(super) transaction: Transaction,
    pub(super) said: Option<Box<Said>>,
}

impl Unsettled {
    fn of(reason: Reason, transaction: Transaction) -> Self {
        Self { reason, status: reason.status(), transaction, said: None }
    }

    fn pending(transaction: Transaction) -> Self {
        Self::of(seller::unclear(&transaction), transaction)
    }

    /// Returns the outcome of a payment that settled by the facilitator's answer, but could not be recorded.
    fn unwritten(transaction: Transaction) -> Self {
        Self { status: 503, ..Self::pending(transaction) }
    }

    fn into_refusal(self, admission: &Admission<impl Payment>) -> Refusal {
        let Self { reason, status, transaction, said } = self;
        let key = (reason == Reason::DuplicateSettlement).then_some(admission.key);
        let mut refusal =
            Refusal { status, settled: key, ..admission.refused(reason, &transaction) };
        if let (Some(said), Some(receipt)) = (&said, &mut refusal.receipt) {
            receipt.error_reason = Some(said.reason.clone());
            receipt.error_message.clone_from(&said.message);
        }
        Refusal { said, ..refusal }
    }
}

impl From<Reason> for Unsettled {
    fn from(reason: Reason) -> Self {
        Self::of(reason, Transaction::new())
    }
}

impl From<StoreError> for Unsettled {
    fn from(error: StoreError) -> Self {
        let Refusal { reason, .. } = error.into();
        reason.into()
    }
}

/// The right to settle one payment, given back when dropped.
struct Turn<'s> {
    settling: &'s Mutex<HashSet<ClaimKey>>,
    key: ClaimKey,
}

impl<'s> Turn<'s> {
    fn take(settling: &'s Mutex<HashSet<ClaimKey>>, key: ClaimKey) -> Option<Self> {
        let taken = lock(settling).insert(key);
        // Made only if taken, because a dropped `Turn` gives the turn back.
        taken.then(|| Self { settling, key })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(self.settling).remove(&self.key);
    }
}

/// Returns the scheme's own reason with this code.
fn own_reason(scheme: &impl Scheme, code: &str) -> Option<Reason> {
    (0..=u8::MAX).find(|own| scheme.own_reason(*own) == Some(code)).map(Reason::Own)
}

fn reason_of(receipt: &SettleResponse) -> Option<Reason> {
    receipt.error_reason.as_deref().and_then(Reason::parse)
}

/// Returns the reason in an answer, for the log.
fn reason_given(answer: &SettleResponse) -> Option<String> {
    answer.error_reason.as_deref().map(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_refused_leaves_the_one_taken_alone() {
        let (settling, key) = (Mutex::default(), ClaimKey::new([1; 32]));
        let turn = Turn::take(&settling, key).unwrap();
        for _ in 0..3 {
            assert!(Turn::take(&settling, key).is_none());
        }
        drop(turn);
        assert!(Turn::take(&settling, key).is_some());
    }
}
