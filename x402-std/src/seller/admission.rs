//! Admitted payments, and refusals.

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

/// A checked and claimed payment that awaits settlement.
///
/// Pass it to [`Seller::settle`](super::Seller::settle) or [`Seller::release`](super::Seller::release): when
/// dropped, it stays claimed until the payment expires.
#[derive(Debug)]
#[must_use]
pub struct Admission<P> {
    pub(super) request: VerifyRequest,
    pub(super) verified: Verified<P>,
    /// The payment's claim.
    pub(super) key: ClaimKey,
    pub(super) version: Version,
    pub(super) flow: Flow,
    pub(super) state: ClaimState,
    pub(super) digest: Option<RequestDigest>,
    /// Its place among the payer's payments, held until it is done.
    pub(super) _one: One<Payer>,
}

impl<P> Admission<P> {
    /// Returns when to settle: with [`Flow::Upfront`], before any work for the payment. Two kinds are upfront
    /// whatever the offer says: a payment that may have been sent already, and a settled one whose answer was
    /// lost.
    pub const fn flow(&self) -> Flow {
        self.flow
    }

    /// Returns whether it was settled before, and its answer was lost.
    /// [`Seller::settle`](super::Seller::settle) then returns the receipt again, once.
    pub const fn is_settled(&self) -> bool {
        matches!(self.state, ClaimState::Settled(_))
    }

    /// Returns the transaction that settled it before.
    #[cfg(feature = "tokio")]
    pub(super) fn settled_in(&self) -> Option<String> {
        match &self.state {
            ClaimState::Settled(transaction) => Some(transaction.to_string()),
            _ => None,
        }
    }

    /// Returns its claim.
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

    /// Returns the payment's version, which the receipt must have too.
    pub const fn version(&self) -> Version {
        self.version
    }
}

/// An admitted payment, as its handler sees it. It is in the extensions of an HTTP request (with the feature
/// `axum`, an extractor) and of an MCP tool call.
///
/// The payment is checked and claimed. Unless the offer is paid upfront, it still awaits settlement, which
/// may fail.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AcceptedPayment {
    /// The payer's address, as the network writes it.
    pub payer: String,
    /// The paid offer, amount included.
    pub requirements: PaymentRequirements,
    /// The payment's version of the protocol.
    pub version: Version,
    /// The payment's identity, the same at every presentation.
    pub claim_key: ClaimKey,
}

/// An extractor for handlers behind a [`PaymentLayer`](super::server::PaymentLayer). A request that is free,
/// or that an extension grants, has no payment and is answered with 500: use `Option<AcceptedPayment>` there.
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
    /// Returns the payment, as handlers see it.
    pub fn accepted(&self) -> AcceptedPayment {
        AcceptedPayment {
            payer: self.payment().payer().to_string(),
            requirements: self.requirements().clone(),
            version: self.version,
            claim_key: self.key,
        }
    }

    /// Returns the last second (Unix time) at which work for it can still be paid for. After it, the payment
    /// is too late to settle, or the offer's time is over. `now` is when work begins.
    pub fn work_until(&self, now: u64) -> u64 {
        let offered = now.saturating_add(self.requirements().max_timeout_seconds);
        let valid = self.payment().expires_at().saturating_sub(SETTLEMENT_SECONDS);
        // A settled payment has no end of its own.
        if self.state == ClaimState::Claimed { offered.min(valid) } else { offered }
    }
}

/// The refusal of a payment.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The fault of an unreadable payment, and its place.
    pub malformed: Option<Box<ReadError>>,
    /// The reason of the facilitator or of another crate's scheme, if it is outside the specification.
    pub said: Option<Box<Said>>,
    /// The claim of a payment that was settled before.
    pub settled: Option<ClaimKey>,
    /// Whether that claim is recorded as delivered.
    pub delivered: bool,
    /// The receipt of a failed or uncertain settlement.
    pub receipt: Option<Box<SettleResponse>>,
}

impl Refusal {
    /// Returns an extension's refusal: a reason, and a text for people, without secrets.
    pub fn of_extension(reason: Reason, message: impl Into<String>) -> Self {
        let said = Said { reason: reason.as_str().into(), message: Some(message.into()) };
        Self { said: Some(Box::new(said)), ..reason.into() }
    }

    /// Sets the HTTP status.
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

/// A facilitator's own reason and explanation, without URLs and control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The reason.
    pub reason: String,
    /// Its explanation, for people.
    pub message: Option<String>,
}

impl Said {
    /// Returns the reason in an answer's fields, if it is outside the specification. A reason that is not
    /// text is in `other`.
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

/// Returns [`Reason::Busy`], and logs its cause.
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
    /// Returns the answer to a payment with an uncertain settlement.
    pub(super) fn pending(&self, transaction: &Transaction) -> Refusal {
        self.refused(seller::unclear(transaction), transaction)
    }

    /// Returns the answer to a payment that was settled before.
    pub(super) fn duplicate(&self, transaction: &Transaction) -> Refusal {
        let refusal = self.refused(Reason::DuplicateSettlement, transaction);
        Refusal { settled: Some(self.key), ..refusal }
    }

    pub(super) fn refused(&self, reason: Reason, transaction: &Transaction) -> Refusal {
        let receipt = self.receipt(false, Some(reason), transaction, &SettleResponse::default());
        Refusal { receipt: Some(Box::new(receipt)), ..reason.into() }
    }

    /// Returns the buyer's receipt. Of the facilitator's answer it has only the amount and short extensions.
    /// Explanations and additions may be long, and may quote private data.
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
