use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource, Transaction};
use x402_core::crypto::keccak256;
use x402_core::gate::{self, Verified};
use x402_core::{Payment as _, Reason};

use super::{Facilitator, FacilitatorError};
use crate::clock::{Clock, SystemClock};
use crate::ledger::{BroadcastError, Ledger, Outcome};
use crate::message::{Json, SettleResponse, SupportedResponse, VerifyRequest, VerifyResponse};
use crate::payment::{Payment, Schemes, SvmRules, check_late, payer, spelled};
use crate::store::{ClaimStore, MemoryStore, StoreError};

/// A facilitator in this process, over a ledger and a claim store.
///
/// A payment is broadcast at most once and reported as settled at most once, however often and by
/// however many it is presented. What was broadcast and is not certain is `settlement_pending`,
/// with its transaction; presenting it again runs every check again and asks the ledger, but
/// sends nothing.
#[derive(Debug)]
pub struct LocalFacilitator<L, S = MemoryStore, C = SystemClock> {
    schemes: Schemes,
    ledger: L,
    store: S,
    clock: C,
}

impl<L: Ledger> LocalFacilitator<L> {
    /// Over a ledger, with claims in memory and the system's clock.
    pub fn new(ledger: L) -> Self {
        Self::with(ledger, MemoryStore::default(), SystemClock)
    }
}

impl<L: Ledger, S, C> LocalFacilitator<L, S, C> {
    /// Over a ledger, a claim store and a clock.
    pub fn with(ledger: L, store: S, clock: C) -> Self {
        let facilitator = Self { schemes: Schemes::default(), ledger, store, clock };
        facilitator.with_svm_rules(SvmRules::default())
    }

    /// With rules for payments on Solana; the fee payers are the ledger's own.
    pub fn with_svm_rules(mut self, rules: SvmRules) -> Self {
        let fee_payers = Some(self.ledger.fee_payers());
        self.schemes.svm = SvmRules { fee_payers, ..rules };
        self
    }

    /// The ledger.
    pub fn ledger(&self) -> &L {
        &self.ledger
    }
}

impl<L, S, C> LocalFacilitator<L, S, C>
where
    L: Ledger,
    S: ClaimStore,
    C: Clock,
{
    fn gate(&self, request: &VerifyRequest, now: u64) -> Result<Verified<Payment>, Reason> {
        let view = request.view();
        gate::verify(&self.schemes, &view.payment_payload, &view.payment_requirements, now)
    }

    async fn check(&self, request: &VerifyRequest) -> Result<(), Reason> {
        let now = self.clock.now();
        let verified = self.gate(request, now)?;
        self.ledger.check(&verified, now).await
    }

    async fn settle_once(&self, request: &VerifyRequest) -> Result<Transaction, Failure> {
        let now = self.clock.now();
        let payment = request.payment_payload.view();
        let (verified, late) = check_late(&payment, now, |now| self.gate(request, now))?;
        let key = claim_key(&verified);
        match self.store.present(key, Resource::ANY, verified.payment().expires_at(), now).await? {
            Presented::New => {}
            Presented::Known(ClaimState::Broadcast(transaction)) => {
                return self.resume(&verified, transaction).await;
            }
            Presented::Elsewhere => return Err(Reason::DuplicateSettlement.into()),
            Presented::Known(ClaimState::Failed(reason)) => return Err(reason.into()),
            Presented::Known(ClaimState::Settled(transaction)) => {
                return Err(Failure { reason: Reason::DuplicateSettlement, transaction });
            }
            // Somebody is at it: whether it will be sent is not certain yet.
            Presented::Known(ClaimState::Claimed) => {
                return Err(Failure::pending(Transaction::new()));
            }
        }
        let refusal = match late {
            Some(reason) => Err(reason),
            None => self.ledger.check(&verified, now).await,
        };
        if let Err(reason) = refusal {
            self.store.release(key).await?;
            return Err(reason.into());
        }
        // From here on the money may move: the claim says so before the ledger is asked to.
        let sending = ClaimState::Broadcast(Transaction::new());
        self.store.advance(key, &ClaimState::Claimed, sending.clone()).await?;
        match self.ledger.broadcast(&verified, now).await {
            Ok(transaction) => {
                let sent = ClaimState::Broadcast(transaction.clone());
                self.store.advance(key, &sending, sent).await?;
                self.resume(&verified, transaction).await
            }
            Err(BroadcastError::Refused(reason)) => {
                self.store.advance(key, &sending, ClaimState::Failed(reason)).await?;
                Err(reason.into())
            }
            Err(BroadcastError::Unclear) => Err(Failure::pending(Transaction::new())),
        }
    }

    /// Asks what became of a broadcast. Of several who ask, one is told that it settled.
    async fn resume(
        &self,
        verified: &Verified<Payment>,
        transaction: Transaction,
    ) -> Result<Transaction, Failure> {
        if transaction.is_empty() {
            return Err(Failure::pending(transaction));
        }
        let key = claim_key(verified);
        let state = ClaimState::Broadcast(transaction.clone());
        match self.ledger.confirm(verified, &transaction).await {
            Outcome::Settled => {
                let settled = ClaimState::Settled(transaction.clone());
                match self.store.advance(key, &state, settled).await {
                    Ok(()) => Ok(transaction),
                    Err(StoreError::Conflict) => Err(Reason::DuplicateSettlement.into()),
                    Err(_) => Err(Failure::pending(transaction)),
                }
            }
            Outcome::Failed(reason) => {
                // Whoever was faster has written the same.
                self.store.advance(key, &state, ClaimState::Failed(reason)).await.ok();
                Err(Failure { reason, transaction })
            }
            Outcome::Pending => Err(Failure::pending(transaction)),
        }
    }
}

/// The claim to settle a payment is not the seller's claim to serve it: both may share a store.
fn claim_key(verified: &Verified<Payment>) -> ClaimKey {
    ClaimKey::new(keccak256(&[b"x402 settle", verified.payment().claim_key().as_bytes()]))
}

/// A settlement that is not to be served, with its transaction if there is one.
struct Failure {
    reason: Reason,
    transaction: Transaction,
}

impl Failure {
    fn pending(transaction: Transaction) -> Self {
        Self { reason: Reason::SettlementPending, transaction }
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, transaction: Transaction::new() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full | StoreError::Unavailable => Reason::Busy.into(),
            StoreError::Conflict => Reason::DuplicateSettlement.into(),
        }
    }
}

impl<L, S, C> Facilitator for LocalFacilitator<L, S, C>
where
    L: Ledger,
    S: ClaimStore,
    C: Clock,
{
    async fn verify(&self, request: &VerifyRequest) -> Result<VerifyResponse, FacilitatorError> {
        let payment = request.payment_payload.view();
        let reason = self.check(request).await.err();
        let reason = reason.map(|reason| spelled(reason, payment.x402_version()));
        Ok(VerifyResponse {
            is_valid: reason.is_none(),
            invalid_reason: reason.map(|reason| reason.as_str().into()),
            payer: payer(&payment),
            ..VerifyResponse::default()
        })
    }

    async fn settle(&self, request: &VerifyRequest) -> Result<SettleResponse, FacilitatorError> {
        let payment = request.payment_payload.view();
        let outcome = self.settle_once(request).await;
        let (reason, transaction) = match outcome {
            Ok(transaction) => (None, transaction),
            Err(Failure { reason, transaction }) => {
                (Some(spelled(reason, payment.x402_version())), transaction)
            }
        };
        Ok(SettleResponse {
            success: reason.is_none(),
            error_reason: reason.map(|reason| reason.as_str().into()),
            payer: payer(&payment),
            transaction: transaction.as_str().into(),
            network: payment.network().to_string(),
            ..SettleResponse::default()
        })
    }

    async fn supported(&self) -> Result<SupportedResponse, FacilitatorError> {
        let fee_payers: Vec<_> = self.ledger.fee_payers().iter().map(ToString::to_string).collect();
        let signers = match fee_payers.as_slice() {
            [] => serde_json::json!({}),
            all => serde_json::json!({ "solana:*": all }),
        };
        Ok(SupportedResponse {
            kinds: self.ledger.kinds(),
            extensions: Json::parse("[]").ok(),
            signers: Json::of(&signers).ok(),
            other: None,
        })
    }
}
