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

use x402_core::Message as _;
use x402_core::buyer::Flow;
use x402_core::claim::{ClaimKey, ClaimState, Transaction};
use x402_core::{Reason, Scheme, Version, wire};

use crate::clock::{Clock, SystemClock};
use crate::extension::{self, Before, PaidRequest, SellerExtension};
use crate::facilitator::Facilitator;
use crate::facilitator::in_flight::{InFlight, Payer};
use crate::store::{ClaimStore, MemoryStore, StoreError};

mod admission;
mod admitting;
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
mod supported;

pub(crate) use admission::busy;
pub use admission::{AcceptedPayment, Admission, Refusal, Said};
#[cfg(feature = "tokio")]
pub use driver::ConnectionEnd;
pub use offers::{NotCompleted, OfferError, Offers, OffersError, Unsupported, exact, exact_in};
pub use secret::RequestDigest;
use secret::Secret;
use supported::Supported;
pub use supported::{SUPPORTED_FRESH, SUPPORTED_STALE};

/// Seconds a buyer has to pay, unless an offer sets another number; the official SDKs allow the same.
pub const MAX_TIMEOUT_SECONDS: u64 = 300;

/// Default limit of payments of one payer that are worked on at once.
pub const PAYER_AT_ONCE: usize = 64;

/// Seconds in which a paid answer must be written out. After that time, an answer that a possibly dead
/// process left unwritten is made again.
pub const DELIVERY_SECONDS: u64 = 15;

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
}
