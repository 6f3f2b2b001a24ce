//! Selling, whatever the transport: admit a payment, settle it once, give the receipt.
//!
//! [`server`] does this over HTTP, [`mcp`](crate::mcp) for tools, and `driver` over any
//! other carrier. Without a runtime, serve a request as follows, with offers from [`Seller::announce`]:
//!
//! ```
//! use x402_std::core::{Reason, Version, buyer::Flow};
//! use x402_std::facilitator::Facilitator;
//! use x402_std::message::SettleResponse;
//! use x402_std::seller::{Refusal, Seller, Offers};
//!
//! async fn serve(
//!     seller: &Seller<impl Facilitator>,
//!     offers: &Offers, // whose `resource.url` says what is sold
//!     payment: Option<&[u8]>, // PaymentPayload as JSON
//! ) -> Result<(&'static str, SettleResponse), Refusal> {
//!     let Some(payment) = payment else {
//!         // Send `offers.challenge(Version::V2, "payment required")`, also with a refusal's reason.
//!         return Err(Reason::InvalidPaymentRequirements.into());
//!     };
//!     let admission = seller.admit(offers, Version::V2, payment).await?;
//!     if admission.flow() == Flow::Upfront {
//!         let receipt = seller.settle(admission).await?;
//!         return Ok(("the work", receipt));
//!     }
//!     // Work first; if that fails, `seller.release(admission)` instead.
//!     let work = "the work";
//!     Ok((work, seller.settle(admission).await?))
//! }
//! ```

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use x402_core::Message as _;
use x402_core::buyer::Flow;
use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource, Transaction};
use x402_core::crypto::keccak256;
use x402_core::domain;
use x402_core::gate::code_of;
use x402_core::{Payment, Reason, Scheme, Version, seller, wire};

use crate::clock::{Clock, SystemClock};
use crate::extension::{self, Before, PaidRequest, SellerExtension};
use crate::facilitator::in_flight::{InFlight, Payer, payer};
use crate::facilitator::{Facilitator, FacilitatorError, PaymentOf, words};
use crate::lock;
use crate::message::{Json, ReadError, SupportedResponse, VerifyRequest};
use crate::store::{ClaimStore, MemoryStore, StoreError};

mod admission;
#[cfg(feature = "tokio")]
mod answers;
#[cfg(feature = "tokio")]
pub mod driver;
#[cfg(feature = "tokio")]
mod keeper;
mod offers;
mod record;
mod secret;
#[cfg(feature = "server")]
pub mod server;
mod settling;

pub(crate) use admission::busy;
pub use admission::{AcceptedPayment, Admission, Refusal, Said};
#[cfg(feature = "tokio")]
pub use driver::ConnectionEnd;
pub use offers::{NotCompleted, OfferError, Offers, OffersError, Unsupported, exact, exact_in};
use record::Kept;
pub use secret::RequestDigest;
use secret::Secret;

/// Seconds a buyer has to pay, unless an offer sets another number; the official SDKs allow the same.
pub const MAX_TIMEOUT_SECONDS: u64 = 300;

/// Default limit of payments of one payer that are worked on at once.
pub const PAYER_AT_ONCE: usize = 64;

/// Seconds in which a paid answer must be written out. After that time, an answer that a possibly dead
/// process left unwritten is made again.
pub const DELIVERY_SECONDS: u64 = 15;

/// Time for which a facilitator's `/supported` answer is used without asking again.
pub const SUPPORTED_FRESH: Duration = Duration::from_secs(600);

/// Time for which a `/supported` answer is used while the facilitator does not answer.
pub const SUPPORTED_STALE: Duration = Duration::from_secs(24 * 3600);

/// Least time between two requests for `/supported`.
const SUPPORTED_AGAIN: Duration = Duration::from_secs(10);

/// Greatest length, in bytes, of a facilitator's extensions that a receipt passes on.
const EXTENSIONS_BYTES: usize = 4096;

/// Ties of a payment to its resource, beyond those of its offer. By default there is none: a payment buys,
/// once, any resource that the seller offers on the same terms.
///
/// Two ties are stronger because they are signed: [`Offers::with_memo`] on Solana, and a separate payee for
/// each resource on EVM networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// A payment of version 2 must name the resource by the URL of the challenge. The sender of a payment can
    /// write any URL there, so this guards against mix-ups, not against theft.
    pub must_name_url: bool,
    /// A payment belongs to the URL it was first presented for. A payment with an uncertain settlement cannot
    /// be resumed for another URL.
    pub one_url: bool,
}

/// A seller of any number of resources: it checks payments, claims them, and has them settled.
///
/// A payment is claimed before any work for it, and served at most once by all sellers that share the store.
/// A payment that may have been sent, with an uncertain outcome, keeps its claim. Its buyer gets
/// `settlement_pending` and may present the same payment again.
pub struct Seller<F, S = MemoryStore, C = SystemClock> {
    binding: Binding,
    facilitator: F,
    store: S,
    clock: C,
    secret: Secret,
    extensions: Vec<Arc<dyn SellerExtension>>,
    supported: Mutex<Supported>,
    payers: InFlight<Payer>,
    /// Payments being settled by this seller: each has one settlement at a time.
    settling: Mutex<HashSet<ClaimKey>>,
}

/// The facilitator's `/supported` answer, when it was last asked for, and when that last failed.
#[derive(Clone, Default)]
struct Supported {
    answer: Option<(Instant, Arc<SupportedResponse>)>,
    asked: Option<Instant>,
    failed: Option<(Instant, FacilitatorError)>,
}

/// Leaves the secret out.
impl<F: fmt::Debug, S: fmt::Debug, C> fmt::Debug for Seller<F, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extensions: Vec<_> = self.extensions.iter().map(|it| it.key()).collect();
        f.debug_struct("Seller")
            .field("binding", &self.binding)
            .field("facilitator", &self.facilitator)
            .field("store", &self.store)
            .field("extensions", &extensions)
            .finish_non_exhaustive()
    }
}

impl<F: Facilitator> Seller<F> {
    /// Returns a seller with a facilitator, the system's clock, and claims in memory. Its [`MemoryStore`] has
    /// room for 100 000 claims and refuses more; [`Seller::with_parts`] takes a larger one.
    pub fn new(facilitator: F) -> Self {
        Self::with_parts(facilitator, MemoryStore::default(), SystemClock)
    }
}

impl<F, S, C> Seller<F, S, C> {
    /// Sets the secret by which the facilitator recognises this seller; no other seller may have it. If the
    /// answer to a settlement is lost, the facilitator repeats it to the owner of the secret. By default the
    /// secret is random, and lost when the process ends. Set it only beside a claim store that survives too.
    /// The seller's claim is then the only guard against serving a payment twice.
    pub fn with_secret(mut self, secret: [u8; 32]) -> Self {
        self.secret = Secret(Some(secret));
        self
    }

    /// Sets how many payments of one payer are worked on at once; more are refused as [`Reason::Busy`]. The
    /// default is [`PAYER_AT_ONCE`]. The limit is needed because a payment costs its payer nothing until it
    /// is settled.
    pub fn with_payer_limit(mut self, at_once: usize) -> Self {
        self.payers = InFlight::new(at_once);
        self
    }

    /// Returns the claim store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Adds an extension. Extensions are asked in the order in which they were added.
    pub fn with_extension(mut self, extension: impl SellerExtension + 'static) -> Self {
        self.extensions.push(Arc::new(extension));
        self
    }

    /// Returns the offers together with the extensions' announcements. Carriers challenge and serve with
    /// these.
    pub fn announce(&self, mut offers: Offers) -> Offers {
        let declared = self.extensions.iter().filter_map(|extension| {
            Some((extension.key().to_owned(), extension.declare(&offers)?))
        });
        offers.extensions =
            extension::merged(offers.extensions.as_ref(), declared.collect::<Vec<_>>());
        offers
    }

    /// Returns whether a request's payment passes the gate and has this claim.
    #[cfg(feature = "tokio")]
    fn is_payment(&self, request: &PaidRequest, key: ClaimKey) -> bool
    where
        F: Facilitator,
        C: Clock,
    {
        let Some((version, json)) = &request.payment else { return false };
        request.offers.with_seller(|seller| {
            let payload = seller::Seller::read(*version, json).ok();
            let scheme = self.facilitator.scheme();
            let admitted =
                payload.and_then(|it| seller.admit_late(scheme, &it, self.clock.now()).ok());
            admitted.is_some_and(|admitted| admitted.verified.payment().claim_key() == key)
        })
    }

    /// Returns whether every challenge differs, because an extension makes new members for each.
    pub fn announces_anew(&self) -> bool {
        self.extensions.iter().any(|extension| !extension.may_differ().is_empty())
    }

    /// Returns the headers, in lower case, by which a request without a payment may be served.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().filter_map(|extension| extension.header())
    }

    /// Asks the extensions about a request before its payment is checked. The first answer other than
    /// [`Before::GoOn`] decides.
    pub async fn before(&self, request: &PaidRequest) -> Before {
        if self.extensions.is_empty() {
            return Before::GoOn;
        }
        let payment = request.payment.as_ref().filter(|(version, _)| *version == Version::V2);
        let payment = match payment.map(|(_, json)| wire::PaymentPayload::parse(json)) {
            // Admission refuses it, with the place of its fault.
            Some(Err(_)) => return Before::GoOn,
            payment => payment.and_then(Result::ok),
        };
        for extension in &self.extensions {
            // A request without a proof or a payment gets the challenge.
            let proves = || extension.header().is_some_and(|name| request.header(name).is_some());
            if request.payment.is_none() && !proves() {
                continue;
            }
            let echo =
                payment.as_ref().and_then(|payment| extension::echo(payment, extension.key()));
            match extension.before(request, echo).await {
                Before::GoOn => {}
                step => return step,
            }
        }
        Before::GoOn
    }

    /// Ties payments to their resources.
    pub fn with_binding(mut self, binding: Binding) -> Self {
        self.binding = binding;
        self
    }
}

impl<F: Facilitator, S, C> Seller<F, S, C> {
    /// Completes offers by the facilitator's `/supported` answer: see [`Offers::with_supported`]. The seller
    /// asks for the answer when it needs it, and keeps it for [`SUPPORTED_FRESH`]. While the facilitator does
    /// not answer, the last one is used for [`SUPPORTED_STALE`].
    ///
    /// # Errors
    /// [`NotCompleted`].
    pub async fn complete(&self, offers: Offers) -> Result<Offers, NotCompleted> {
        let known = || lock(&self.supported).clone();
        let known = known();
        let younger = |most| known.answer.clone().filter(|(at, _)| at.elapsed() < most);
        let recent = |at: Instant| at.elapsed() < SUPPORTED_AGAIN;
        let supported = match (younger(SUPPORTED_FRESH), younger(SUPPORTED_STALE), known.failed) {
            (Some((_, fresh)), ..) => fresh,
            // Another caller is asking, or has just asked in vain.
            (None, Some((_, stale)), _) if known.asked.is_some_and(recent) => stale,
            (None, None, Some((at, error))) if recent(at) => {
                return Err(NotCompleted::Facilitator(error));
            }
            (None, stale, _) => {
                lock(&self.supported).asked = Some(Instant::now());
                let answer = self.facilitator.supported().await;
                let mut state = lock(&self.supported);
                match answer {
                    Ok(supported) => {
                        let supported = Arc::new(supported);
                        state.answer = Some((Instant::now(), Arc::clone(&supported)));
                        supported
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the facilitator does not answer /supported");
                        state.failed = Some((Instant::now(), error));
                        stale.ok_or(NotCompleted::Facilitator(error))?.1
                    }
                }
            }
        };
        offers.with_supported(&supported).map_err(NotCompleted::Unsupported)
    }

    /// Checks that there is at least one offer, and that the facilitator's schemes can pay and check each.
    ///
    /// # Errors
    /// [`OffersError`].
    pub fn check(&self, offers: &Offers) -> Result<(), OffersError> {
        let fault = |offer, reason| OffersError { offer, reason };
        let extensions = offers.extensions.as_ref().is_none_or(|json| json.as_raw().is_object());
        if offers.accepts.is_empty() || !extensions {
            return Err(fault(None, Reason::InvalidPaymentRequirements));
        }
        for (index, offer) in offers.accepts.iter().enumerate() {
            let view = offer.as_view();
            let payable = self.facilitator.scheme().check_offer(&view);
            let flow = Flow::from_requirements(&view).ok_or(Reason::InvalidPaymentRequirements);
            payable.and(flow).map_err(|reason| fault(Some(index), reason))?;
        }
        Ok(())
    }
}

impl<F, S, C> Seller<F, S, C>
where
    F: Facilitator,
    S: ClaimStore,
    C: Clock,
{
    /// Returns a seller with a facilitator, a claim store and a clock.
    pub fn with_parts(facilitator: F, store: S, clock: C) -> Self {
        let settling = Mutex::default();
        let binding = Binding::default();
        let (secret, payers) = (Secret::random(), InFlight::new(PAYER_AT_ONCE));
        let (extensions, supported) = (Vec::new(), Mutex::default());
        Self { binding, facilitator, store, clock, secret, extensions, supported, payers, settling }
    }

    /// Checks a payment, given as JSON in `version`, against the offers, claims it, and has the facilitator
    /// verify it.
    ///
    /// A payment that may have been sent before is admitted again with [`Flow::Upfront`], whatever its offer
    /// says and even if it has expired.
    ///
    /// # Errors
    /// [`Refusal`]; the claim is given back then.
    pub async fn admit(
        &self,
        offers: &Offers,
        version: Version,
        payment: &[u8],
    ) -> Result<Admission<PaymentOf<F>>, Refusal> {
        self.admit_for(offers, version, payment, None).await
    }

    /// Extensions see no headers here. A request that they would grant or replay is refused as
    /// `duplicate_settlement`; the driver supports both.
    ///
    /// As [`admit`](Self::admit), for a request with a digest. If the payment was settled for the same
    /// request, and its answer was never [delivered](Self::delivered), it is admitted again.
    ///
    /// # Errors
    /// [`Refusal`]; the claim is given back then.
    pub async fn admit_for(
        &self,
        offers: &Offers,
        version: Version,
        payment: &[u8],
        digest: Option<RequestDigest>,
    ) -> Result<Admission<PaymentOf<F>>, Refusal> {
        if !self.extensions.is_empty() {
            let (offers, payment) = (Arc::new(offers.clone()), Some((version, payment.to_vec())));
            let digest = digest.unwrap_or(RequestDigest([0; 32]));
            let request =
                PaidRequest { offers, payment, digest, again: false, headers: Vec::new() };
            match self.before(&request).await {
                Before::GoOn => {}
                Before::Refuse(refusal) => return Err(*refusal),
                // The caller cannot give an answer that costs nothing: see `driver`.
                Before::Grant | Before::Replay(_) => {
                    return Err(Reason::DuplicateSettlement.into());
                }
            }
        }
        self.admit_checked(offers, version, payment, digest).await
    }

    /// As [`admit_for`](Self::admit_for), for a request about which the extensions were asked already.
    async fn admit_checked(
        &self,
        offers: &Offers,
        version: Version,
        payment: &[u8],
        digest: Option<RequestDigest>,
    ) -> Result<Admission<PaymentOf<F>>, Refusal> {
        let now = self.clock.now();
        let binding = extension::binding(offers.extensions.as_ref(), &self.extensions);
        let (request, verified, flow) = offers.with_seller(|seller| {
            let seller =
                seller::Seller { extensions: binding.as_ref().map(Json::as_raw), ..seller };
            let payload = seller::Seller::read(version, payment);
            let payload =
                payload.map_err(|error| match wire::PaymentPayload::parse_located(payment) {
                    Err(located) => ReadError::new(located, payment),
                    Ok(_) => error.into(),
                })?;
            let named = |resource: wire::ResourceInfo<'_>| resource.url == *offers.resource.url;
            if self.binding.must_name_url
                && version == Version::V2
                && !payload.resource.is_some_and(named)
            {
                return Err(Reason::InvalidPaymentRequirements.into());
            }
            let scheme = self.facilitator.scheme();
            let admitted = seller.admit_late(scheme, &payload, now);
            let admitted = admitted.map_err(|reason| self.refusal(reason))?;
            let flow = Flow::from_requirements(&admitted.requirements)
                .ok_or(Reason::InvalidPaymentRequirements)?;
            let request = VerifyRequest::from(&admitted.request());
            Ok::<_, Refusal>((request, admitted.verified, flow))
        })?;
        let late = verified.payment().late(now);
        let (key, expires_at) = (verified.payment().claim_key(), verified.payment().expires_at());
        let resource = if self.binding.one_url {
            Resource(keccak256(&[domain::RESOURCE, offers.resource.url.as_bytes()]))
        } else {
            Resource::ANY
        };
        let one = self.payers.enter(payer(verified.payment()));
        let _one = one.ok_or_else(|| busy("this payer has too many payments in work"))?;
        let state = ClaimState::Claimed;
        let mut admission =
            Admission { request, verified, key, version, flow, state, digest, _one };
        let mut presented = self.store.present(key, resource, expires_at, now).await?;
        // The facilitator was busy and sent nothing, so the payment counts as new.
        if presented == Presented::Known(ClaimState::Failed(Reason::Busy)) {
            self.store.release(key).await?;
            presented = self.store.present(key, resource, expires_at, now).await?;
        }
        let refusal = match presented {
            Presented::New => match late {
                Some(reason) => reason.into(),
                // Also for `upfront`: a payer without the money is refused before settlement.
                None => match self.ask_verify(&admission).await {
                    Ok(()) => return Ok(admission),
                    Err(refusal) => refusal,
                },
            },
            // Sent earlier, outcome unknown: find out before any more work is done for it.
            Presented::Known(state @ ClaimState::Broadcast(_)) => {
                (admission.flow, admission.state) = (Flow::Upfront, state);
                return Ok(admission);
            }
            // Nothing was sent, and now it is too late.
            Presented::Known(ClaimState::Claimed) if late.is_some() => {
                return Err(late.unwrap_or(Reason::UnknownSettlementError).into());
            }
            Presented::Known(ClaimState::Claimed) => {
                return Err(admission.refused(Reason::Busy, &Transaction::new()));
            }
            Presented::Known(ClaimState::Settled(transaction)) => {
                return self.settled_before(admission, transaction, now).await;
            }
            Presented::Known(ClaimState::Delivered(transaction)) => {
                let refusal = admission.duplicate(&transaction);
                return Err(Refusal { delivered: true, ..refusal });
            }
            Presented::Known(ClaimState::Failed(reason)) => return Err(self.refusal(reason)),
            Presented::ForAnother => return Err(Reason::DuplicateSettlement.into()),
        };
        self.release(admission).await;
        Err(refusal)
    }

    /// Returns the refusal for a reason, which may be the scheme's own.
    fn refusal(&self, reason: Reason) -> Refusal {
        let code = || code_of(self.facilitator.scheme(), reason).to_owned();
        let said = matches!(reason, Reason::Own(_)).then(code);
        let said = said.map(|reason| Box::new(Said { reason, message: None }));
        Refusal { said, ..reason.into() }
    }

    /// Returns the outcome for a payment that was settled before, with no known delivery.
    async fn settled_before(
        &self,
        mut admission: Admission<PaymentOf<F>>,
        transaction: Transaction,
        now: u64,
    ) -> Result<Admission<PaymentOf<F>>, Refusal> {
        let found = self.store.find(admission.key).await?;
        let kept = found.and_then(|found| Kept::read(&found.record?.bytes));
        let same = |kept: &Kept| admission.digest.is_some() && kept.digest == admission.digest;
        let Some(kept) = kept.filter(same) else {
            return Err(admission.duplicate(&transaction));
        };
        // Another task may still be writing the answer, unless it was settled in an earlier run of this
        // process.
        let earlier_life = || self.store.alone_since().is_some_and(|then| kept.settled_at < then);
        if now < kept.settled_at.saturating_add(DELIVERY_SECONDS) && !earlier_life() {
            let refusal = admission.pending(&transaction);
            return Err(Refusal { settled: Some(admission.key), ..refusal });
        }
        (admission.flow, admission.state) = (Flow::Upfront, ClaimState::Settled(transaction));
        Ok(admission)
    }

    /// Records that the answer to a settled payment was written out.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the delivery was recorded already. After any other store error, the answer
    /// may be made again.
    pub async fn delivered(&self, key: ClaimKey, transaction: &str) -> Result<(), StoreError> {
        let transaction = Transaction::try_from(transaction).map_err(|_| StoreError::Conflict)?;
        let from = ClaimState::Settled(transaction.clone());
        let noted = self.store.advance(key, &from, ClaimState::Delivered(transaction)).await;
        if let Err(error) = &noted
            && *error != StoreError::Conflict
        {
            tracing::warn!(%error, "a delivery is not noted: its answer may be made once more");
        }
        noted
    }

    /// Withdraws the record of a delivery whose attempt failed.
    pub async fn undelivered(&self, key: ClaimKey, transaction: &str) {
        let Ok(transaction) = Transaction::try_from(transaction) else { return };
        let from = ClaimState::Delivered(transaction.clone());
        let noted = self.store.advance(key, &from, ClaimState::Settled(transaction)).await;
        if let Err(error) = noted {
            tracing::warn!(%error, "an answer that was paid for is lost");
        }
    }

    async fn ask_verify(&self, admission: &Admission<PaymentOf<F>>) -> Result<(), Refusal> {
        let (request, verified) = (&admission.request, admission.verified.as_ref());
        let answer = self.facilitator.verify_proven(request, verified).await?;
        let named = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        if answer.is_valid && !named(&answer.invalid_reason) {
            return Ok(());
        }
        if answer.is_valid {
            tracing::warn!("the facilitator calls a payment valid, and gives a reason against it");
        }
        let said = Said::by(
            &answer.invalid_reason,
            &answer.invalid_message,
            &answer.other,
            "invalidReason",
        );
        let (reason, says) = (&answer.invalid_reason, answer.invalid_message.as_deref().map(words));
        tracing::info!(
            reason = reason.as_deref().map(words),
            says,
            "the facilitator refused a payment"
        );
        let reason = reason.as_deref().and_then(Reason::parse);
        // A reason of the facilitator's own is a refusal too; a missing reason is a fault.
        let own = said.as_ref().map(|_| Reason::VerificationFailed);
        let reason = reason.or(own).unwrap_or(Reason::UnexpectedVerifyError);
        Err(Refusal { said, ..reason.into() })
    }

    /// Releases an unused payment: nothing was sent, and it may be presented again.
    pub async fn release(&self, admission: Admission<PaymentOf<F>>) {
        if admission.state == ClaimState::Claimed
            && let Err(error) = self.store.release(admission.key).await
        {
            tracing::warn!(%error, "claim not released; it ends when the payment expires");
        }
    }
}
