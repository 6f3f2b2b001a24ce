use std::fmt;
use std::sync::Arc;

use x402_core::claim::{ClaimKey, ClaimState};
use x402_core::crypto::keccak256;
use x402_core::domain;
use x402_core::gate::{self, Verified};
use x402_core::{Payment, Reason, Scheme, wire};

use super::accept::{Acceptance, NotAccepted};
use super::in_flight::{InFlight, One, Payer, payer};
use super::{CallerId, Facilitator, FacilitatorError, Settlement};
use crate::clock::{Clock, SystemClock};
use crate::extension::{self, FacilitatorExtension};
use crate::facilitator::ledger::{Ledger, Networks};
use crate::message::{Json, SettleResponse, SupportedResponse, VerifyRequest, VerifyResponse};
use crate::scheme::{Exact, ExactOnEvm, ExactOnSvm, SharedScheme};
use crate::store::{ClaimStore, MemoryStore};

mod failure;
mod looks;
mod settling;

use failure::Failure;
use looks::Looks;

/// Default limit of payments of one payer that are worked on at once.
const PAYER_AT_ONCE: usize = 64;

/// A facilitator in this process, over a ledger and a claim store.
///
/// A payment is broadcast at most once and reported as settled at most once, however often and by
/// however many callers it is presented. A broadcast payment with an uncertain outcome is
/// `settlement_pending`, with its transaction. Presenting it again runs every check again and asks the
/// ledger, but sends nothing.
pub struct LocalFacilitator<
    L: Networks,
    S = MemoryStore,
    C = SystemClock,
    X = <L as Networks>::Scheme,
> {
    scheme: X,
    ledger: L,
    store: S,
    clock: C,
    payers: InFlight<Payer>,
    /// Settlements in progress in this process.
    pub(super) working: InFlight<ClaimKey>,
    acceptance: Acceptance,
    extensions: Vec<Arc<dyn FacilitatorExtension>>,
    /// Payments that were just checked against the chain, each with its request and time.
    looks: Looks,
}

impl<L, S, C, X> fmt::Debug for LocalFacilitator<L, S, C, X>
where
    L: Networks + fmt::Debug,
    S: fmt::Debug,
    X: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalFacilitator")
            .field("scheme", &self.scheme)
            .field("ledger", &self.ledger)
            .field("store", &self.store)
            .field("acceptance", &self.acceptance)
            .finish_non_exhaustive()
    }
}

impl<L: Networks> LocalFacilitator<L> {
    /// Returns a facilitator over a ledger and its schemes, with claims in memory and the system's clock.
    pub fn new(ledger: L) -> Self {
        Self::with_parts(ledger, MemoryStore::default(), SystemClock)
    }
}

impl<L: Networks, S, C> LocalFacilitator<L, S, C> {
    /// Returns a facilitator over a ledger, a claim store and a clock.
    pub fn with_parts(ledger: L, store: S, clock: C) -> Self {
        let (payers, working) = (InFlight::new(PAYER_AT_ONCE), InFlight::new(usize::MAX));
        let (scheme, acceptance) = (ledger.scheme(), Acceptance::known());
        let (extensions, looks) = (Vec::new(), Looks::default());
        Self { scheme, ledger, store, clock, payers, working, acceptance, extensions, looks }
    }
}

impl<L: Networks, S, C> LocalFacilitator<L, S, C, Exact> {
    /// Sets other rules for payments on EVM networks.
    pub fn with_evm(mut self, evm: ExactOnEvm) -> Self {
        self.scheme.0 = evm;
        self
    }

    /// Sets other rules for payments on Solana; the fee payers remain the ledger's own.
    pub fn with_svm(mut self, svm: ExactOnSvm) -> Self {
        let fee_payers = self.scheme.1.fee_payers.take();
        self.scheme.1 = ExactOnSvm { fee_payers, ..svm };
        self
    }
}

impl<L: Networks, S, C, X> LocalFacilitator<L, S, C, X> {
    /// Replaces the scheme, or its rules. The ledger must be able to settle its payments.
    pub fn with_scheme<Y: Scheme>(self, scheme: Y) -> LocalFacilitator<L, S, C, Y> {
        let Self { ledger, store, clock, payers, working, acceptance, extensions, .. } = self;
        // The earlier checks were by other rules.
        let looks = Looks::default();
        LocalFacilitator {
            scheme,
            ledger,
            store,
            clock,
            payers,
            working,
            acceptance,
            extensions,
            looks,
        }
    }

    /// Sets how many payments of one payer are worked on at once: 64 by default. More are refused as
    /// [`Reason::Busy`] before any request to a chain.
    pub fn with_payer_limit(mut self, at_once: usize) -> Self {
        self.payers = InFlight::new(at_once);
        self
    }

    /// Sets the accepted payments: payees, tokens, and the least amount. By default any payee is accepted, in
    /// the tokens that this library knows.
    pub fn with_acceptance(self, acceptance: Acceptance) -> Self {
        Self { acceptance, ..self }
    }

    /// Adds an extension, which `/supported` lists.
    pub fn with_extension(mut self, extension: impl FacilitatorExtension + 'static) -> Self {
        self.extensions.push(Arc::new(extension));
        self
    }

    /// Returns the ledger.
    pub fn ledger(&self) -> &L {
        &self.ledger
    }

    /// Returns the claim store.
    pub fn store(&self) -> &S {
        &self.store
    }
}

impl<L, S, C, X> LocalFacilitator<L, S, C, X>
where
    L: Ledger<X::Payment>,
    S: ClaimStore,
    C: Clock,
    X: SharedScheme,
{
    async fn check(&self, verified: Verified<&X::Payment>, now: u64) -> Result<(), Failure> {
        let payment = verified.payment();
        payment.late(now).map_or(Ok(()), Err)?;
        self.takes(payment)?;
        let _one = self.enter(payment)?;
        Ok(self.ledger.check(verified, now).await?)
    }

    /// Runs the gate at the present time; an expired payment passes.
    pub(super) fn gate(
        &self,
        request: &VerifyRequest,
        now: u64,
    ) -> Result<Verified<X::Payment>, Reason> {
        let request = request.as_view();
        let (payment, requirements) = (&request.payment_payload, &request.payment_requirements);
        gate::verify_late(&self.scheme, payment, requirements, now)
    }

    /// Returns the time.
    #[cfg(feature = "tokio")]
    pub(super) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Checks whether payments by an offer are accepted.
    fn accept(&self, offer: &wire::PaymentRequirements<'_>) -> Result<(), NotAccepted> {
        self.acceptance.check(offer).map_err(|declined| {
            let kinds = self.ledger.kinds();
            let is_served = kinds.iter().any(|kind| kind.network.as_view().is_same(offer.network));
            if is_served { declined } else { NotAccepted::Network }
        })
    }

    /// Takes one of the payer's places, unless all are taken.
    fn enter(&self, payment: &X::Payment) -> Result<One<Payer>, Failure> {
        let one = self.payers.enter(payer(payment));
        one.ok_or_else(|| Failure::busy("this payer has too many payments in work"))
    }

    /// Refuses a payment that could be reused if the store forgot its claim.
    fn takes(&self, payment: &X::Payment) -> Result<(), Reason> {
        if payment.needs_durable_claim() && !self.store.is_durable() {
            tracing::warn!("a payment is refused: the claim store forgets it at a restart");
            return Err(Reason::UnsupportedPayloadType);
        }
        Ok(())
    }

    /// Returns the first extension's reason against a payment.
    fn extended(&self, request: &wire::VerifyRequest<'_>) -> Result<(), Reason> {
        self.extensions.iter().try_for_each(|extension| {
            let echo = extension::echo(&request.payment_payload, extension.key());
            extension.check(request, echo)
        })
    }

    /// Returns the answer to a request for verification, by the gate's result.
    async fn answer_verify(
        &self,
        request: &VerifyRequest,
        verified: Result<Verified<&X::Payment>, &Reason>,
    ) -> VerifyResponse {
        let view = request.as_view();
        let (payment, requirements) = (&view.payment_payload, &view.payment_requirements);
        let (payer, failure, declined) = match verified {
            Ok(verified) => {
                let payer = Some(verified.payment().payer().to_string());
                match self.accept(requirements) {
                    Ok(()) => {
                        let failure = match self.extended(&view) {
                            Ok(()) => self.check(verified, self.clock.now()).await.err(),
                            Err(reason) => Some(reason.into()),
                        };
                        (payer, failure, None)
                    }
                    Err(declined) => (payer, Some(declined.reason().into()), Some(declined)),
                }
            }
            Err(reason) => (self.named_payer(&view), Some((*reason).into()), None),
        };
        let busy = failure.as_ref().and_then(Failure::noted);
        let version = payment.x402_version();
        let spelled = |failure: Failure| self.scheme.spelled(failure.reason, requirements, version);
        let reason = failure.map(spelled);
        VerifyResponse {
            is_valid: reason.is_none(),
            invalid_reason: reason.map(|reason| gate::code_of(&self.scheme, reason).into()),
            invalid_message: declined.map(|declined| declined.to_string()).or(busy),
            payer,
            ..VerifyResponse::default()
        }
    }

    /// Returns the answer to a request for settlement, by the gate's result.
    async fn answer_settle(
        &self,
        request: &VerifyRequest,
        verified: Result<Verified<&X::Payment>, &Reason>,
        caller: CallerId,
    ) -> Settlement {
        let view = request.as_view();
        let (payment, requirements) = (&view.payment_payload, &view.payment_requirements);
        let (id, payer, outcome, declined) = match verified {
            Ok(verified) => {
                let payer = Some(verified.payment().payer().to_string());
                match self.accept(requirements) {
                    Ok(()) => {
                        let id = settlement_id(*verified.payment());
                        let now = self.clock.now();
                        let outcome = self.settle_once(id, request, verified, caller, now).await;
                        (Some(id), payer, outcome, None)
                    }
                    Err(declined) => (None, payer, Err(declined.reason().into()), Some(declined)),
                }
            }
            Err(reason) => (None, self.named_payer(&view), Err((*reason).into()), None),
        };
        let busy = outcome.as_ref().err().and_then(Failure::noted);
        let version = payment.x402_version();
        let (reason, transaction) = match outcome {
            Ok(transaction) => (None, transaction),
            Err(Failure { reason, transaction, .. }) => {
                (Some(self.scheme.spelled(reason, requirements, version)), transaction)
            }
        };
        let mut answer = SettleResponse {
            success: reason.is_none(),
            error_reason: reason.map(|reason| gate::code_of(&self.scheme, reason).into()),
            error_message: declined.map(|declined| declined.to_string()).or(busy),
            payer,
            transaction: transaction.as_str().into(),
            network: payment.network().to_string(),
            ..SettleResponse::default()
        };
        let added = self.extensions.iter().filter_map(|extension| {
            Some((extension.key().to_owned(), extension.receipt(&answer)?))
        });
        answer.extensions = extension::merged(None, added.collect::<Vec<_>>());
        Settlement { id, answer }
    }

    fn named_payer(&self, request: &wire::VerifyRequest<'_>) -> Option<String> {
        let (payment, requirements) = (&request.payment_payload, &request.payment_requirements);
        self.scheme.named_payer(payment, requirements).map(|payer| payer.to_string())
    }
}

/// Returns the id of a payment's settlement: Keccak-256 of `x402 settle` and its claim key. It differs from
/// the seller's claim, because both may share a store and make different promises. The seller's claim has a payment
/// served once. This one has it settled once, for callers beside that seller too, and it holds the transaction that
/// a restart resumes.
pub fn settlement_id(payment: &impl Payment) -> ClaimKey {
    ClaimKey::new(keccak256(&[domain::SETTLE, payment.claim_key().as_bytes()]))
}

impl<L, S, C, X> Facilitator for LocalFacilitator<L, S, C, X>
where
    L: Ledger<X::Payment>,
    S: ClaimStore,
    C: Clock,
    X: SharedScheme,
{
    type Scheme = X;

    fn scheme(&self) -> &X {
        &self.scheme
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<VerifyResponse, FacilitatorError> {
        let view = request.as_view();
        let (payment, requirements) = (&view.payment_payload, &view.payment_requirements);
        let verified = gate::verify(&self.scheme, payment, requirements, self.clock.now());
        Ok(self.answer_verify(request, verified.as_ref().map(Verified::as_ref)).await)
    }

    async fn verify_proven(
        &self,
        request: &VerifyRequest,
        payment: Verified<&X::Payment>,
    ) -> Result<VerifyResponse, FacilitatorError> {
        let answer = self.answer_verify(request, Ok(payment)).await;
        if answer.is_valid {
            self.looks.note(request, *payment.payment());
        }
        Ok(answer)
    }

    async fn settle(&self, request: &VerifyRequest) -> Result<SettleResponse, FacilitatorError> {
        Ok(self.settle_for(request, CallerId::ANYBODY).await?.answer)
    }

    /// With [`CallerId::ANYBODY`], which is no particular caller, success is reported once.
    async fn settle_for(
        &self,
        request: &VerifyRequest,
        caller: CallerId,
    ) -> Result<Settlement, FacilitatorError> {
        let verified = self.gate(request, self.clock.now());
        Ok(self.answer_settle(request, verified.as_ref().map(Verified::as_ref), caller).await)
    }

    async fn settle_proven(
        &self,
        request: &VerifyRequest,
        payment: Verified<&X::Payment>,
        caller: CallerId,
    ) -> Result<Settlement, FacilitatorError> {
        Ok(self.answer_settle(request, Ok(payment), caller).await)
    }

    async fn settlement(&self, id: ClaimKey) -> Result<Option<ClaimState>, FacilitatorError> {
        self.store.state(id).await.map_err(|_| FacilitatorError::Unreachable)
    }

    async fn supported(&self) -> Result<SupportedResponse, FacilitatorError> {
        let keys: Vec<_> = self.extensions.iter().map(|extension| extension.key()).collect();
        Ok(SupportedResponse {
            kinds: self.ledger.kinds().into(),
            extensions: Json::from_value(&keys).ok(),
            signers: Json::from_value(&self.ledger.signers()).ok(),
            other: None,
        })
    }
}
