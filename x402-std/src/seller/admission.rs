//! Payments that a seller admitted, and the refusals of others.

use std::fmt;

use x402_core::buyer::Flow;
use x402_core::claim::{ClaimKey, ClaimState, Transaction};
use x402_core::{Payment, Reason, Verified, Version, seller};
use x402_evm::SETTLEMENT_SECONDS;

use super::{EXTENSIONS_BYTES, RequestDigest};
use crate::facilitator::in_flight::{One, Payer};
use crate::facilitator::{FacilitatorError, words};
use crate::message::{Json, PaymentRequirements, ReadError, SettleResponse, VerifyRequest};
use crate::store::StoreError;

/// A payment that was checked and claimed, and awaits settlement.
///
/// It must be given to [`Seller::settle`](super::Seller::settle) or [`Seller::release`](super::Seller::release): a dropped one stays claimed
/// until the payment expires.
#[derive(Debug)]
#[must_use]
pub struct Admission<P> {
    pub(super) request: VerifyRequest,
    pub(super) verified: Verified<P>,
    /// The payment's.
    pub(super) key: ClaimKey,
    pub(super) version: Version,
    pub(super) flow: Flow,
    pub(super) state: ClaimState,
    pub(super) digest: Option<RequestDigest>,
    /// Counted among the payer's until it is done.
    pub(super) _one: One<Payer>,
}

impl<P> Admission<P> {
    /// When to settle: with [`Flow::Upfront`] before anything is done for the payment. It is so,
    /// whatever the offer says, for a payment that may have been sent already, and for one that was
    /// settled and whose answer was lost.
    pub const fn flow(&self) -> Flow {
        self.flow
    }

    /// Whether it was settled before, and its answer was lost: [`Seller::settle`](super::Seller::settle) gives the receipt
    /// again, once.
    pub const fn is_settled(&self) -> bool {
        matches!(self.state, ClaimState::Settled(_))
    }

    /// The transaction it was settled in before.
    #[cfg(feature = "tokio")]
    pub(super) fn settled_in(&self) -> Option<String> {
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

/// An admitted payment, for the handler that works for it: in the extensions of an HTTP request (with
/// the feature `axum` an extractor) and of a call of an MCP tool.
///
/// It is checked and claimed. Unless the offer is paid upfront, it is not settled yet, and may still fail.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
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

/// In a handler behind a [`PaymentLayer`](super::server::PaymentLayer). A request that is free, or that an extension
/// grants, has no payment and is answered with 500: take `Option<AcceptedPayment>` there.
#[cfg(feature = "axum")]
impl<S: Send + Sync> axum::extract::FromRequestParts<S> for AcceptedPayment {
    type Rejection = axum::http::StatusCode;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<Self, Self::Rejection> {
        let accepted = parts.extensions.get().cloned();
        accepted.ok_or_else(|| {
            tracing::error!("a handler takes a payment, and its request has none: take an Option");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

/// `None` for a request that costs nothing.
#[cfg(feature = "axum")]
impl<S: Send + Sync> axum::extract::OptionalFromRequestParts<S> for AcceptedPayment {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        _: &S,
    ) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get().cloned())
    }
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
    pub(super) fn by(
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

impl<P: Payment> Admission<P> {
    /// The answer to a payment whose settlement is not certain.
    pub(super) fn pending(&self, transaction: &Transaction) -> Refusal {
        self.refused(seller::unclear(transaction), transaction)
    }

    /// The answer to a payment that was settled before.
    pub(super) fn duplicate(&self, transaction: &Transaction) -> Refusal {
        let refusal = self.refused(Reason::DuplicateSettlement, transaction);
        Refusal { settled: Some(self.key), ..refusal }
    }

    pub(super) fn refused(&self, reason: Reason, transaction: &Transaction) -> Refusal {
        let receipt = self.receipt(false, Some(reason), transaction, &SettleResponse::default());
        Refusal { receipt: Some(Box::new(receipt)), ..reason.into() }
    }

    /// The buyer's receipt. Of the facilitator's answer it has the amount and short extensions only:
    /// explanations and additions may be long, and quote what is not the buyer's to know.
    pub(super) fn receipt(
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
