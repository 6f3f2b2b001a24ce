//! Selling, whatever the transport: admit a payment, settle it once, give the receipt.
//!
//! [`server`](crate::seller::server) does this over HTTP. Over another carrier, a request is served so:
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
use x402_core::gate::code_of;
use x402_core::{
    Money, Network, ParseError, Payment, Reason, Scheme, Verified, Version, seller, wire,
};
use x402_evm::SETTLEMENT_SECONDS;

use crate::clock::{Clock, SystemClock};
use crate::extension::{self, Before, PaidRequest, SellerExtension};
use crate::facilitator::in_flight::{InFlight, One, Payer, payer};
use crate::facilitator::{Facilitator, FacilitatorError, PaymentOf, words};
use crate::lock;
use crate::message::{
    Json, PaymentRequirements, ReadError, ResourceInfo, SettleResponse, SupportedResponse,
    VerifyRequest, to_json,
};
use crate::store::{ClaimStore, MemoryStore, StoreError};

#[cfg(feature = "tokio")]
mod answers;
#[cfg(feature = "tokio")]
pub mod driver;
#[cfg(feature = "tokio")]
mod keeper;
mod record;
#[cfg(feature = "server")]
pub mod server;

#[cfg(feature = "tokio")]
pub use driver::ConnectionEnd;
use record::Kept;

/// Seconds a buyer has to pay, unless an offer says otherwise: what the official SDKs allow.
pub const MAX_TIMEOUT_SECONDS: u64 = 300;

/// Payments of one payer that are worked on at once, unless set otherwise.
pub const PAYER_AT_ONCE: usize = 64;

/// Seconds in which an answer that was paid for must be written out. One that was not, in a process
/// that may be dead, is made once more after that.
pub const DELIVERY_SECONDS: u64 = 15;

/// How long a facilitator's `/supported` answer is taken as it is.
pub const SUPPORTED_FRESH: Duration = Duration::from_secs(600);

/// How long it counts while the facilitator does not answer.
pub const SUPPORTED_STALE: Duration = Duration::from_secs(24 * 3600);

/// Longest extensions of a facilitator's answer that are passed on in a receipt, in bytes.
const EXTENSIONS_BYTES: usize = 4096;

/// The resource that one request buys, and its offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Offers {
    /// The resource. An empty `url` is filled in by the transport.
    pub resource: ResourceInfo,
    /// The offers, in the order the seller likes them.
    pub accepts: Vec<PaymentRequirements>,
    /// Extensions announced, an object.
    pub extensions: Option<Json>,
}

impl Offers {
    /// One or more offers for a resource that describes itself.
    pub fn new(accepts: impl IntoIterator<Item = PaymentRequirements>) -> Self {
        let accepts = accepts.into_iter().collect();
        Self { resource: ResourceInfo::default(), accepts, extensions: None }
    }

    /// Says what is sold.
    pub fn with_description(
        mut self,
        description: impl Into<String>,
        mime_type: impl Into<String>,
    ) -> Self {
        self.resource.description = Some(description.into());
        self.resource.mime_type = Some(mime_type.into());
        self
    }

    fn with_seller<T>(&self, use_it: impl FnOnce(seller::Seller<'_>) -> T) -> T {
        let accepts: Vec<_> = self.accepts.iter().map(PaymentRequirements::as_view).collect();
        use_it(seller::Seller {
            resource: self.resource.as_view(),
            accepts: &accepts,
            extensions: self.extensions.as_ref().map(Json::as_raw),
        })
    }

    /// Takes what the facilitator adds to its offers from its `/supported` answer: on Solana, who
    /// pays the fee, and from a simulated one the blockhash that never ends.
    ///
    /// # Errors
    /// [`Unsupported`] names the first offer that the facilitator does not settle.
    pub fn with_supported(mut self, supported: &SupportedResponse) -> Result<Self, Unsupported> {
        let complete = |(index, offer): (usize, PaymentRequirements)| {
            offer.with_supported(supported).ok_or(Unsupported { index })
        };
        self.accepts =
            self.accepts.into_iter().enumerate().map(complete).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Ties payments on Solana to what they are for: their memo, which the buyer signs, must be one
    /// that only this secret gives for `method`, `path` and the offer. An offer with a memo keeps its
    /// own. On EVM networks nothing that is signed can name the resource but the payee.
    pub fn with_memo(mut self, secret: &[u8; 32], method: &str, path: &str) -> Self {
        for offer in &mut self.accepts {
            let has_memo =
                offer.extra.as_ref().is_some_and(|extra| extra.as_raw().get("memo").is_some());
            if offer.network.as_view().solana().is_none() || has_memo {
                continue;
            }
            // Of one length each, so that no two lists of parts read the same.
            let hash = |part: &str| keccak256(&[part.as_bytes()]);
            let memo = keccak256(&[
                b"x402 memo",
                secret,
                &hash(method),
                &hash(path),
                &hash(&offer.network),
                &hash(&offer.asset),
                &hash(&offer.pay_to),
                &offer.amount.to_be_bytes(),
            ]);
            *offer = offer.clone().with_extra("memo", hex::encode(&memo[..16]));
        }
        self
    }

    /// The challenge as JSON. In version 1 it has the offers on networks that v1 has a name for.
    ///
    /// # Errors
    /// [`Reason::InvalidPaymentRequirements`] if no offer is left.
    pub fn challenge(&self, version: Version, error: &str) -> Result<String, Reason> {
        let written = self.with_seller(|seller| {
            let named = |offer: &&wire::PaymentRequirements<'_>| {
                version == Version::V2 || offer.network.v1_name().is_some()
            };
            let accepts: Vec<_> = seller.accepts.iter().filter(named).copied().collect();
            let seller = seller::Seller {
                resource: seller.resource,
                accepts: &accepts,
                extensions: seller.extensions,
            };
            (!accepts.is_empty()).then(|| to_json(&seller.challenge(version, error)))
        });
        written.and_then(Result::ok).ok_or(Reason::InvalidPaymentRequirements)
    }
}

impl From<PaymentRequirements> for Offers {
    fn from(offer: PaymentRequirements) -> Self {
        Self::new([offer])
    }
}

/// An offer that a facilitator does not settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Its place among the offers.
    pub index: usize,
}

/// Why a seller cannot complete its offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotCompleted {
    /// The facilitator did not answer.
    Facilitator(FacilitatorError),
    /// The facilitator does not settle one of them.
    Unsupported(Unsupported),
}

impl fmt::Display for NotCompleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Facilitator(error) => write!(f, "/supported: {error}"),
            Self::Unsupported(unsupported) => unsupported.fmt(f),
        }
    }
}

impl std::error::Error for NotCompleted {}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the facilitator does not support offer {}", self.index)
    }
}

impl std::error::Error for Unsupported {}

/// Why an offer cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferError {
    /// Not an EVM or Solana network, as CAIP-2 id or v1 name.
    Network,
    /// No token of this name that can be paid with is known on this network: build the offer by hand.
    NoKnownAsset,
    /// The payee is not an address, or one whose checksum says it was mistyped.
    PayTo,
    /// The price is not an amount of money above zero that the token can express.
    Price(ParseError),
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("not an EVM or Solana network"),
            Self::NoKnownAsset => f.write_str("no known token on this network"),
            Self::PayTo => f.write_str("payee is not an address of the network, or mistyped"),
            Self::Price(error) => write!(f, "price: {error} (such as $0.01)"),
        }
    }
}

impl std::error::Error for OfferError {}

/// An offer of the scheme `exact` in the network's default stablecoin. The network may be a CAIP-2
/// id or a v1 name; the offer has the id. On Solana it lacks the fee payer, which is the
/// facilitator's to name: see [`Offers::with_supported`]; a memo can be asked for by
/// [`with_extra`](PaymentRequirements::with_extra).
///
/// ```
/// let offer = x402_std::seller::exact(
///     "eip155:1328",
///     "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
///     "$0.01",
/// )?;
/// assert_eq!(offer.amount.to_string(), "10000");
/// assert_eq!(offer.asset, "0x4fCF1784B31630811181f670Aea7A7bEF803eaED");
/// # Ok::<(), x402_std::seller::OfferError>(())
/// ```
///
/// # Errors
/// [`OfferError`].
pub fn exact(network: &str, pay_to: &str, price: &str) -> Result<PaymentRequirements, OfferError> {
    exact_in(None, network, pay_to, price)
}

/// As [`exact`], in a known token by its symbol, in any letter case.
///
/// ```
/// let payee = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
/// let offer = x402_std::seller::exact_in("USDC", "base", payee, "$0.01")?;
/// assert_eq!(offer.asset, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
/// assert!(x402_std::seller::exact_in("DOGE", "base", payee, "$0.01").is_err());
/// # Ok::<(), x402_std::seller::OfferError>(())
/// ```
///
/// # Errors
/// [`OfferError`].
pub fn exact_in<'t>(
    token: impl Into<Option<&'t str>>,
    network: &str,
    pay_to: &str,
    price: &str,
) -> Result<PaymentRequirements, OfferError> {
    let network =
        Network::parse(network).ok().and_then(Network::caip2).ok_or(OfferError::Network)?;
    let symbol = token.into();
    let token = match (network.eip155(), network.solana()) {
        (Some(chain_id), _) => evm_token(symbol, chain_id, pay_to)?,
        (_, Some(reference)) => svm_token(symbol, reference, pay_to)?,
        _ => return Err(OfferError::Network),
    };
    let price = Money::parse(price).and_then(|money| money.to_units(token.decimals));
    let amount = price.map_err(OfferError::Price)?;
    // On Solana an amount has 64 bits.
    if amount.is_zero() || network.solana().is_some() && amount.as_u64().is_none() {
        return Err(OfferError::Price(ParseError::InvalidMoney));
    }
    Ok(PaymentRequirements {
        scheme: "exact".into(),
        network: network.into(),
        amount,
        asset: token.asset,
        pay_to: token.pay_to,
        max_timeout_seconds: MAX_TIMEOUT_SECONDS,
        extra: Json::from_value(&token.extra).ok(),
        v1: None,
        other: None,
    })
}

/// The fields of an offer about its token and payee.
struct Token {
    asset: String,
    decimals: u8,
    pay_to: String,
    extra: serde_json::Value,
}

fn evm_token(symbol: Option<&str>, chain_id: u64, pay_to: &str) -> Result<Token, OfferError> {
    use x402_evm::{Address, assets};
    let named = |symbol| assets::by_symbol(chain_id, symbol);
    let asset = symbol.map_or_else(|| assets::default_of(chain_id), named);
    let asset = asset
        .filter(|asset| asset.transfer_method == assets::AssetTransferMethod::Eip3009)
        .ok_or(OfferError::NoKnownAsset)?;
    Ok(Token {
        asset: asset.address.to_string(),
        decimals: asset.decimals,
        pay_to: Address::parse_typed(pay_to).ok_or(OfferError::PayTo)?.to_string(),
        extra: serde_json::json!({ "name": asset.name, "version": asset.version }),
    })
}

fn svm_token(symbol: Option<&str>, reference: &str, pay_to: &str) -> Result<Token, OfferError> {
    use x402_svm::{Address, assets};
    let named = |symbol| assets::by_symbol(reference, symbol);
    let asset = symbol.map_or_else(|| assets::default_of(reference), named);
    let asset = asset.ok_or(OfferError::NoKnownAsset)?;
    Ok(Token {
        asset: asset.address.to_string(),
        decimals: asset.mint.decimals,
        pay_to: Address::parse(pay_to).ok_or(OfferError::PayTo)?.to_string(),
        extra: serde_json::json!({}),
    })
}

/// How a payment is tied to the resource it is for, beyond what its offer says. The default is not
/// at all: a payment buys, once, any resource of the seller's that is offered for the same.
///
/// Stronger, because signed: [`Offers::with_memo`] on Solana, and a payee of its own for each resource on
/// EVM networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// A payment of version 2 must name the resource by the URL of the challenge. Whoever presents
    /// it can write so; this guards against mix-ups, not against them.
    pub echo: bool,
    /// A payment is known for the URL it was presented for first: one whose settlement is not
    /// certain cannot be resumed for another.
    pub claim: bool,
}

/// Sells for any number of resources: checks payments, claims them, and has them settled.
///
/// A payment is claimed before anything is done for it and served at most once by all who share
/// the store. What may have been sent and is not certain keeps its claim; the buyer is told
/// `settlement_pending` and may present the same payment again.
pub struct Seller<F, S = MemoryStore, C = SystemClock> {
    binding: Binding,
    facilitator: F,
    store: S,
    clock: C,
    secret: Secret,
    extensions: Vec<Arc<dyn SellerExtension>>,
    supported: Mutex<Option<(Instant, Arc<SupportedResponse>)>>,
    payers: InFlight<Payer>,
    /// Payments that are being settled here now: of one payment, one settlement at a time.
    settling: Mutex<HashSet<ClaimKey>>,
}

/// A hash of all that a request asks for: of HTTP its method, URL and body. Only the same request
/// gets what a payment has bought a second time, if its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestDigest(pub [u8; 32]);

impl RequestDigest {
    /// The digest of a request's parts, in their order.
    pub fn from_parts(parts: &[&[u8]]) -> Self {
        let mut all = b"x402 paid request".to_vec();
        for part in parts {
            all.extend_from_slice(&keccak256(&[part]));
        }
        Self(keccak256(&[&all]))
    }
}

/// By which a facilitator knows who asks; `None` where there is no randomness.
struct Secret(Option<[u8; 32]>);

impl Secret {
    fn random() -> Self {
        let mut secret = [0; 32];
        Self(getrandom::fill(&mut secret).ok().map(|()| secret))
    }

    /// This seller's name in all that it asks about one payment.
    fn caller(&self, key: ClaimKey) -> Resource {
        let hash = |secret: &[u8; 32]| keccak256(&[b"x402 caller", secret, key.as_bytes()]);
        self.0.as_ref().map_or(Resource::ANY, |secret| Resource(hash(secret)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// Shows no secret.
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
    /// With a facilitator, the system's clock, and claims in memory: [`MemoryStore`] has room for
    /// 100 000 and refuses what comes then, unless [`Seller::with_parts`] gives one with more.
    pub fn new(facilitator: F) -> Self {
        Self::with_parts(facilitator, MemoryStore::default(), SystemClock)
    }
}

impl<F, S, C> Seller<F, S, C> {
    /// A secret, of this seller's and of nobody else's, by which its facilitator knows it: if the
    /// answer to a settlement is lost, it is told again. It is a random one unless set, and lost
    /// when the process ends. Set it only beside a claim store that is not lost either: the seller's
    /// claim is then all that keeps a payment from being served twice.
    pub fn with_secret(mut self, secret: [u8; 32]) -> Self {
        self.secret = Secret(Some(secret));
        self
    }

    /// How many payments of one payer are worked on at once; more are [`Reason::Busy`].
    /// [`PAYER_AT_ONCE`] unless set. A payment costs its payer nothing until it is settled.
    pub fn with_payer_limit(mut self, at_once: usize) -> Self {
        self.payers = InFlight::new(at_once);
        self
    }

    /// The claim store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// With another extension. Extensions are asked in the order in which they were given.
    pub fn with_extension(mut self, extension: impl SellerExtension + 'static) -> Self {
        self.extensions.push(Arc::new(extension));
        self
    }

    /// The offers with what the extensions announce beside them. Carriers challenge and serve by these.
    pub fn announce(&self, mut offers: Offers) -> Offers {
        let declared = self.extensions.iter().filter_map(|extension| {
            Some((extension.key().to_owned(), extension.declare(&offers)?))
        });
        offers.extensions =
            extension::merged(offers.extensions.as_ref(), declared.collect::<Vec<_>>());
        offers
    }

    /// Whether each challenge is another one, since extensions make members anew for it.
    pub fn announces_anew(&self) -> bool {
        self.extensions.iter().any(|extension| !extension.may_differ().is_empty())
    }

    /// The headers, in lower case, by which a request without a payment may be served.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().filter_map(|extension| extension.header())
    }

    /// Asks the extensions about a request, before its payment is checked: the first that does not go on
    /// decides.
    pub async fn before(&self, request: &PaidRequest) -> Before {
        if self.extensions.is_empty() {
            return Before::GoOn;
        }
        let payment = request.payment.as_ref().filter(|(version, _)| *version == Version::V2);
        let payment = payment.and_then(|(_, json)| wire::PaymentPayload::parse(json).ok());
        for extension in &self.extensions {
            // A request that proves nothing and pays nothing gets the challenge.
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

    /// Ties payments to the resources they are for.
    pub fn with_binding(mut self, binding: Binding) -> Self {
        self.binding = binding;
        self
    }
}

impl<F: Facilitator, S, C> Seller<F, S, C> {
    /// Completes offers by the facilitator's `/supported` answer: see [`Offers::with_supported`]. The answer is
    /// asked for when it is needed, and kept for [`SUPPORTED_FRESH`]. While the facilitator does not answer, the
    /// last one counts for [`SUPPORTED_STALE`].
    ///
    /// # Errors
    /// [`NotCompleted`].
    pub async fn complete(&self, offers: Offers) -> Result<Offers, NotCompleted> {
        let known = || lock(&self.supported).clone();
        let fresh = known().filter(|(at, _)| at.elapsed() < SUPPORTED_FRESH);
        let supported = match fresh {
            Some((_, supported)) => supported,
            None => match self.facilitator.supported().await {
                Ok(supported) => {
                    let supported = Arc::new(supported);
                    *lock(&self.supported) = Some((Instant::now(), Arc::clone(&supported)));
                    supported
                }
                Err(error) => {
                    let stale = known().filter(|(at, _)| at.elapsed() < SUPPORTED_STALE);
                    tracing::warn!(%error, "the facilitator does not answer /supported");
                    stale.ok_or(NotCompleted::Facilitator(error))?.1
                }
            },
        };
        offers.with_supported(&supported).map_err(NotCompleted::Unsupported)
    }

    /// Whether there is an offer in the offers, and each can be paid and checked by the facilitator's
    /// schemes.
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

/// Why offers cannot be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffersError {
    /// The offer nobody can pay; `None` if there are no offers, or the extensions are no object.
    pub offer: Option<usize>,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for OffersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(offer) = self.offer else {
            return f.write_str("no offers, or extensions that are no object");
        };
        write!(f, "offer {offer} cannot be paid: {}", self.reason)?;
        f.write_str(match self.reason {
            Reason::InvalidExactSvmPayloadMissingFeePayer => " (Offers::with_supported names one)",
            Reason::InvalidExactSvmPayloadMemoMismatch => " (memo above 256 bytes)",
            Reason::InvalidExactSvmPayloadMintMismatch => {
                " (unknown token: see ExactOnSvm::assets)"
            }
            _ => "",
        })
    }
}

impl std::error::Error for OffersError {}

/// A payment that was checked and claimed, and awaits settlement.
///
/// It must be given to [`Seller::settle`] or [`Seller::release`]: a dropped one stays claimed
/// until the payment expires.
#[derive(Debug)]
#[must_use]
pub struct Admission<P> {
    request: VerifyRequest,
    verified: Verified<P>,
    /// The payment's.
    key: ClaimKey,
    version: Version,
    flow: Flow,
    state: ClaimState,
    digest: Option<RequestDigest>,
    /// Counted among the payer's until it is done.
    _one: One<Payer>,
}

impl<P> Admission<P> {
    /// When to settle: with [`Flow::Upfront`] before anything is done for the payment. It is so,
    /// whatever the offer says, for a payment that may have been sent already, and for one that was
    /// settled and whose answer was lost.
    pub const fn flow(&self) -> Flow {
        self.flow
    }

    /// Whether it was settled before, and its answer was lost: [`Seller::settle`] gives the receipt
    /// again, once.
    pub const fn is_settled(&self) -> bool {
        matches!(self.state, ClaimState::Settled(_))
    }

    /// The transaction it was settled in before.
    #[cfg(feature = "tokio")]
    fn settled_in(&self) -> Option<String> {
        match &self.state {
            ClaimState::Settled(transaction) => Some(transaction.to_string()),
            _ => None,
        }
    }

    /// Its claim.
    pub const fn claim_key(&self) -> ClaimKey {
        self.key
    }

    /// The payment.
    pub const fn payment(&self) -> &P {
        self.verified.payment()
    }

    /// The offer that is paid.
    pub const fn requirements(&self) -> &PaymentRequirements {
        &self.request.payment_requirements
    }

    /// The version the payment is made in, which the receipt must be given in.
    pub const fn version(&self) -> Version {
        self.version
    }
}

/// An admitted payment, for the handler that works for it: in the extensions of an HTTP request (in axum,
/// `Extension<AcceptedPayment>`) and of a call of an MCP tool.
///
/// It is checked and claimed. Unless the offer is paid upfront, it is not settled yet, and may still fail.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedPayment {
    /// The payer's address, as the network writes it.
    pub payer: String,
    /// The offer that is paid, amount included.
    pub requirements: PaymentRequirements,
    /// The version of the protocol it is paid in.
    pub version: Version,
    /// The payment's identity: the same for every presentation of it.
    pub claim_key: ClaimKey,
}

impl<P: Payment> Admission<P> {
    /// The payment, as handlers see it.
    pub fn accepted(&self) -> AcceptedPayment {
        AcceptedPayment {
            payer: self.payment().payer().to_string(),
            requirements: self.requirements().clone(),
            version: self.version,
            claim_key: self.key,
        }
    }

    /// The last second at which work for it can still be paid for: after it, the payment cannot be
    /// settled in time, or the offer's time is over. `now` is when work begins.
    pub fn work_until(&self, now: u64) -> u64 {
        let offered = now.saturating_add(self.requirements().max_timeout_seconds);
        let valid = self.payment().expires_at().saturating_sub(SETTLEMENT_SECONDS);
        // A payment that is settled already has no end of its own.
        if self.state == ClaimState::Claimed { offered.min(valid) } else { offered }
    }
}

/// A payment that is not served.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// HTTP status to answer with.
    pub status: u16,
    /// The fault of a payment that could not be read, and its place.
    pub malformed: Option<Box<ReadError>>,
    /// The reason of the facilitator or of a scheme from elsewhere, if it is none of the specification's.
    pub said: Option<Box<Said>>,
    /// The claim of a payment that was settled before.
    pub settled: Option<ClaimKey>,
    /// Whether that claim says that its answer was delivered.
    pub delivered: bool,
    /// The receipt of a settlement that failed or is not certain.
    pub receipt: Option<Box<SettleResponse>>,
}

impl Refusal {
    /// The refusal of an extension: a reason, and a text for people, without secrets.
    pub fn of_extension(reason: Reason, message: impl Into<String>) -> Self {
        let said = Said { reason: reason.as_str().into(), message: Some(message.into()) };
        Self { said: Some(Box::new(said)), ..reason.into() }
    }

    /// With another HTTP status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        let (malformed, said, settled, receipt) = (None, None, None, None);
        let status = reason.status();
        Self { reason, status, malformed, said, settled, delivered: false, receipt }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        let reason = error.error.reason();
        Self { malformed: Some(Box::new(error)), status: 400, ..reason.into() }
    }
}

/// A reason of a facilitator's own, and what it says of it, without URLs and control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The reason.
    pub reason: String,
    /// Its explanation, for people.
    pub message: Option<String>,
}

impl Said {
    /// The reason in the fields of an answer, if it is none of the specification's.
    /// One that is no text is in `other`.
    fn by(
        reason: &Option<String>,
        message: &Option<String>,
        other: &Option<Json>,
        key: &str,
    ) -> Option<Box<Self>> {
        let odd = || Some(other.as_ref()?.as_raw().get(key)?.as_str());
        let reason = reason.as_deref().or_else(odd).filter(|reason| !reason.is_empty())?;
        let is_own = Reason::parse(reason).is_none();
        let message = || message.as_deref().map(words);
        is_own.then(|| Box::new(Self { reason: words(reason), message: message() }))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        self.message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
    }
}

impl From<FacilitatorError> for Refusal {
    fn from(error: FacilitatorError) -> Self {
        error.reason().into()
    }
}

/// [`Reason::Busy`], with its cause in the log.
pub(crate) fn busy(cause: impl fmt::Display) -> Reason {
    tracing::warn!("busy: {cause}");
    Reason::Busy
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Reason::DuplicateSettlement.into(),
            StoreError::Full | StoreError::Unavailable => busy(error).into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(said) = &self.said {
            return said.fmt(f);
        }
        self.reason.fmt(f)?;
        self.malformed.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))
    }
}

impl std::error::Error for Refusal {}

impl<F, S, C> Seller<F, S, C>
where
    F: Facilitator,
    S: ClaimStore,
    C: Clock,
{
    /// With a facilitator, a claim store and a clock.
    pub fn with_parts(facilitator: F, store: S, clock: C) -> Self {
        let settling = Mutex::default();
        let binding = Binding::default();
        let (secret, payers) = (Secret::random(), InFlight::new(PAYER_AT_ONCE));
        let (extensions, supported) = (Vec::new(), Mutex::default());
        Self { binding, facilitator, store, clock, secret, extensions, supported, payers, settling }
    }

    /// Checks a payment, given as JSON in `version`, against the offers, claims it, and asks the
    /// facilitator whether it would settle.
    ///
    /// One that may have been sent before, and is presented again, is admitted with
    /// [`Flow::Upfront`] whatever its offer says, also when it has expired in the meantime.
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

    /// As [`admit`](Self::admit), for a request that is told from others. If the payment was settled
    /// for the same request, and its answer was never [delivered](Self::delivered), it is admitted
    /// once more.
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
            let request = PaidRequest { offers, payment, digest, headers: Vec::new() };
            match self.before(&request).await {
                Before::GoOn => {}
                Before::Refuse(refusal) => return Err(*refusal),
                // The caller has no place for an answer that costs nothing: see `driver`.
                Before::Grant | Before::Replay(_) => {
                    return Err(Reason::DuplicateSettlement.into());
                }
            }
        }
        self.admit_checked(offers, version, payment, digest).await
    }

    /// As [`admit_for`](Self::admit_for), of a request about which the extensions were asked.
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
            if self.binding.echo && version == Version::V2 && !payload.resource.is_some_and(named) {
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
        let resource = if self.binding.claim {
            Resource(keccak256(&[b"x402 resource", offers.resource.url.as_bytes()]))
        } else {
            Resource::ANY
        };
        let one = self.payers.enter(payer(verified.payment()));
        let _one = one.ok_or_else(|| busy("this payer has too many payments in work"))?;
        let state = ClaimState::Claimed;
        let mut admission =
            Admission { request, verified, key, version, flow, state, digest, _one };
        let mut presented = self.store.present(key, resource, expires_at, now).await?;
        // Whoever was asked to settle it was busy, and nothing was sent: it is as new.
        if presented == Presented::Known(ClaimState::Failed(Reason::Busy)) {
            self.store.release(key).await?;
            presented = self.store.present(key, resource, expires_at, now).await?;
        }
        let refusal = match presented {
            Presented::New => match late {
                Some(reason) => reason.into(),
                // Also for `upfront`: nobody without the money gets as far as a settlement.
                None => match self.ask_verify(&admission).await {
                    Ok(()) => return Ok(admission),
                    Err(refusal) => refusal,
                },
            },
            // Sent earlier, outcome unknown: find out before anything is done for it again.
            Presented::Known(state @ ClaimState::Broadcast(_)) => {
                (admission.flow, admission.state) = (Flow::Upfront, state);
                return Ok(admission);
            }
            // Too late to be sent, and nothing was.
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

    /// The refusal for a reason, which may be the scheme's own.
    fn refusal(&self, reason: Reason) -> Refusal {
        let code = || code_of(self.facilitator.scheme(), reason).to_owned();
        let said = matches!(reason, Reason::Own(_)).then(code);
        let said = said.map(|reason| Box::new(Said { reason, message: None }));
        Refusal { said, ..reason.into() }
    }

    /// The outcome for a payment that was settled before, and is not known to be delivered.
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
        // Somebody may be writing it out still, unless that was in an earlier life of this process.
        let earlier_life = || self.store.alone_since().is_some_and(|then| kept.settled_at < then);
        if now < kept.settled_at.saturating_add(DELIVERY_SECONDS) && !earlier_life() {
            let refusal = admission.pending(&transaction);
            return Err(Refusal { settled: Some(admission.key), ..refusal });
        }
        (admission.flow, admission.state) = (Flow::Upfront, ClaimState::Settled(transaction));
        Ok(admission)
    }

    /// Notes that the answer to a settled payment was written out.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if it is not in that state any more: somebody else has noted so. Others
    /// of the store's: the answer may be made once more then.
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

    /// Takes back that an answer was written out: the attempt came to nothing.
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
        // One of the facilitator's own is a refusal too; none at all is a fault.
        let own = said.as_ref().map(|_| Reason::VerificationFailed);
        let reason = reason.or(own).unwrap_or(Reason::UnexpectedVerifyError);
        Err(Refusal { said, ..reason.into() })
    }

    /// Gives a payment back unused: nothing was sent, and it may be presented again.
    pub async fn release(&self, admission: Admission<PaymentOf<F>>) {
        if admission.state == ClaimState::Claimed
            && let Err(error) = self.store.release(admission.key).await
        {
            tracing::warn!(%error, "claim not released; it ends when the payment expires");
        }
    }

    /// Settles the payment, and gives the receipt. Whoever writes the answer out notes so by
    /// [`delivered`](Self::delivered).
    ///
    /// # Errors
    /// [`Refusal`] with a receipt: the resource must not be served.
    pub async fn settle(
        &self,
        admission: Admission<PaymentOf<F>>,
    ) -> Result<SettleResponse, Refusal> {
        let key = admission.key;
        if let ClaimState::Settled(transaction) = &admission.state {
            // Of several who find the answer lost, one makes it once more.
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

    /// A receipt with what the extensions add.
    fn extended(
        &self,
        admission: &Admission<PaymentOf<F>>,
        mut receipt: SettleResponse,
    ) -> SettleResponse {
        if !self.extensions.is_empty() {
            let payment = admission.accepted();
            let added = self.extensions.iter().filter_map(|extension| {
                Some((extension.key().to_owned(), extension.receipt(&payment, &receipt)?))
            });
            let added: Vec<_> = added.collect();
            receipt.extensions = extension::merged(receipt.extensions.as_ref(), added);
        }
        receipt
    }

    /// Has a claimed payment settled, or asks what became of one that was sent before.
    async fn settle_claim(
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
        // As long as nothing can have been sent before, a refusal means that nothing was.
        let mut first = state == ClaimState::Claimed;
        if first {
            let sending = ClaimState::Broadcast(Transaction::new());
            let record = Kept::pending(claim.request, claim.digest);
            self.store.advance_with(key, &state, sending.clone(), record).await?;
            state = sending;
        }
        let (mut status, mut said) = (None, None);
        // What is pending is asked about once more, and so it is when the answer is lost.
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
            // A scheme's own reason is one for doing nothing, unless there is a transaction beside it.
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
                    // What was paid is not lost for want of room to compare it with others.
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
                        // Served by another who shares the store.
                        Err(StoreError::Conflict) => {
                            Err(Unsettled::of(Reason::DuplicateSettlement, transaction.clone()))
                        }
                        Err(_) => Err(Unsettled::unwritten(transaction.clone())),
                    };
                }
                ClaimState::Failed(reason) => {
                    self.store.advance(key, &state, outcome.clone()).await.ok();
                    // Nothing was sent: it may be presented again as if it were new.
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
        // What a facilitator says of its own is not in place of `settlement_pending`.
        let said = said.filter(|_| pending.reason != Reason::SettlementPending);
        Err(Unsettled { status: status.unwrap_or(pending.status), said, ..pending })
    }

    /// Whether a transaction settles this payment and no other that is known here.
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
        let parts: [&[u8]; 3] = [b"x402 transaction", &hash(network.as_str()), &hash(&id)];
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
    /// Moves the claim to settled. Another process may have noted the transaction meanwhile, or its
    /// keeper that it settled: then it is for the one who has an answer to give.
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
                // Of several, one takes it.
                let taken = ClaimState::Delivered(transaction.clone());
                self.store.advance(key, &settled, taken.clone()).await?;
                self.store.advance_with(key, &taken, settled, record()).await
            }
            _ => Err(StoreError::Conflict),
        }
    }
}

/// The data that settling a claimed payment takes.
struct Claim<'a, P> {
    key: ClaimKey,
    request: &'a VerifyRequest,
    /// Not there for a payment that was written down, and not checked anew.
    verified: Option<Verified<&'a P>>,
    /// None if the scheme names none before its checks.
    payer: Option<String>,
    expires_at: u64,
    digest: Option<RequestDigest>,
    /// Whether there is nobody to tell that it settled.
    untold: bool,
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

/// A payment that is not settled, or not to be served.
struct Unsettled {
    reason: Reason,
    status: u16,
    transaction: Transaction,
    said: Option<Box<Said>>,
}

impl Unsettled {
    fn of(reason: Reason, transaction: Transaction) -> Self {
        Self { reason, status: reason.status(), transaction, said: None }
    }

    fn pending(transaction: Transaction) -> Self {
        Self::of(seller::unclear(&transaction), transaction)
    }

    /// It settled, as far as the facilitator says, and that cannot be written down now.
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

impl<P: Payment> Admission<P> {
    /// The answer to a payment whose settlement is not certain.
    fn pending(&self, transaction: &Transaction) -> Refusal {
        self.refused(seller::unclear(transaction), transaction)
    }

    /// The answer to a payment that was settled before.
    fn duplicate(&self, transaction: &Transaction) -> Refusal {
        let refusal = self.refused(Reason::DuplicateSettlement, transaction);
        Refusal { settled: Some(self.key), ..refusal }
    }

    fn refused(&self, reason: Reason, transaction: &Transaction) -> Refusal {
        let receipt = self.receipt(false, Some(reason), transaction, &SettleResponse::default());
        Refusal { receipt: Some(Box::new(receipt)), ..reason.into() }
    }

    /// The buyer's receipt. Of the facilitator's answer it has the amount and short extensions only:
    /// explanations and additions may be long, and quote what is not the buyer's to know.
    fn receipt(
        &self,
        success: bool,
        reason: Option<Reason>,
        transaction: &Transaction,
        answer: &SettleResponse,
    ) -> SettleResponse {
        let short = |json: &&Json| json.as_str().len() <= EXTENSIONS_BYTES;
        SettleResponse {
            success,
            error_reason: reason.map(|reason| reason.as_str().into()),
            payer: Some(self.payment().payer().to_string()),
            transaction: transaction.as_str().into(),
            network: self.request.payment_payload.network().to_string(),
            amount: answer.amount,
            extensions: answer.extensions.as_ref().filter(short).cloned(),
            ..SettleResponse::default()
        }
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
        // Made only if taken: one that is dropped gives the turn back.
        taken.then(|| Self { settling, key })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(self.settling).remove(&self.key);
    }
}

/// The scheme's own reason that a code spells.
fn own_reason(scheme: &impl Scheme, code: &str) -> Option<Reason> {
    (0..=u8::MAX).find(|own| scheme.own_reason(*own) == Some(code)).map(Reason::Own)
}

fn reason_of(receipt: &SettleResponse) -> Option<Reason> {
    receipt.error_reason.as_deref().and_then(Reason::parse)
}

/// The reason in an answer, to be logged.
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
