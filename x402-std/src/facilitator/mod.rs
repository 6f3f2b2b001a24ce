//! Facilitators, which verify and settle: over HTTP, or in this process over a ledger.

use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;

use x402_core::claim::{ClaimKey, ClaimState, Resource};
use x402_core::{ParseError, Reason, Scheme, Verified};

use crate::message::{SettleResponse, SupportedResponse, VerifyRequest, VerifyResponse};
use crate::scheme::SharedScheme;

mod accept;
#[cfg(feature = "facilitator")]
mod callers;
pub(crate) mod in_flight;
mod keeper;
pub mod ledger;
mod local;
#[cfg(feature = "client")]
mod remote;
#[cfg(feature = "facilitator")]
mod service;

pub use accept::{Acceptance, AcceptedAsset, Least, NotAccepted, Payee};
#[cfg(feature = "facilitator")]
pub use callers::{Callers, Hosts};
pub use local::{LocalFacilitator, settlement_id};
#[cfg(feature = "client")]
pub use remote::{FacilitatorUrlError, RemoteFacilitator};
#[cfg(feature = "facilitator")]
pub use service::{Service, ServiceLimits, router};

/// The header with which a caller names its request to settle.
#[cfg(any(feature = "client", feature = "facilitator"))]
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Longest text of another party that is passed on, in characters.
const WORDS_CHARS: usize = 300;

/// Returns another party's text for display: cut, without control characters, and without URLs, which may
/// contain keys.
pub(crate) fn words(text: &str) -> String {
    let shown = |word: &str| if word.contains("://") { "(a URL)".into() } else { word.to_owned() };
    let text: Vec<_> = text.split_whitespace().map(shown).collect();
    let text: String = text.join(" ").escape_debug().take(WORDS_CHARS).collect();
    text.replace("\\\"", "\"").replace("\\'", "'")
}

/// A verifier and settler of payments. Spec v2 §7.
///
/// A refusal is an answer (`Ok`). An error means that there was no answer. Nothing may be served after it.
pub trait Facilitator: Send + Sync {
    /// The schemes it settles, by which its sellers check payments too.
    type Scheme: SharedScheme;

    /// Returns its schemes, with its own rules.
    fn scheme(&self) -> &Self::Scheme;

    /// Returns whether a payment would settle; no money moves.
    fn verify(
        &self,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<VerifyResponse, FacilitatorError>> + Send;

    /// Settles a payment. After an error the money may have moved.
    fn settle(
        &self,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<SettleResponse, FacilitatorError>> + Send;

    /// Settles a payment for a particular `caller`: the hash of a secret that only the caller knows. If the
    /// caller lost the answer and asks again, it may get the success again; all others get
    /// `duplicate_settlement`. Facilitators that do not distinguish callers [`settle`](Self::settle).
    fn settle_for(
        &self,
        request: &VerifyRequest,
        caller: CallerId,
    ) -> impl Future<Output = Result<Settlement, FacilitatorError>> + Send {
        let _ = caller;
        async { Ok(Settlement { id: None, answer: self.settle(request).await? }) }
    }

    /// As [`verify`](Self::verify), for a payment that passed the gate by this facilitator's own
    /// [scheme](Self::scheme), for this request. A facilitator in the same process uses the proof.
    fn verify_proven(
        &self,
        request: &VerifyRequest,
        payment: Verified<&PaymentOf<Self>>,
    ) -> impl Future<Output = Result<VerifyResponse, FacilitatorError>> + Send {
        let _ = payment;
        self.verify(request)
    }

    /// As [`settle_for`](Self::settle_for), for a payment that passed the gate by this facilitator's own
    /// [scheme](Self::scheme), for this request.
    fn settle_proven(
        &self,
        request: &VerifyRequest,
        payment: Verified<&PaymentOf<Self>>,
        caller: CallerId,
    ) -> impl Future<Output = Result<Settlement, FacilitatorError>> + Send {
        let _ = payment;
        self.settle_for(request, caller)
    }

    /// Returns the state of a settlement; `None` if it is not known.
    fn settlement(
        &self,
        id: ClaimKey,
    ) -> impl Future<Output = Result<Option<ClaimState>, FacilitatorError>> + Send {
        let _ = id;
        ready(Ok(None))
    }

    /// Returns the schemes and networks it serves.
    fn supported(&self)
    -> impl Future<Output = Result<SupportedResponse, FacilitatorError>> + Send;
}

/// A caller that has payments settled: the hash of a secret that only the caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerId(pub [u8; 32]);

impl CallerId {
    /// No particular caller: success is reported once.
    pub const ANYBODY: Self = Self([0; 32]);
}

impl From<CallerId> for Resource {
    fn from(caller: CallerId) -> Self {
        Self(caller.0)
    }
}

/// A payment of a facilitator's schemes.
pub type PaymentOf<F> = <<F as Facilitator>::Scheme as Scheme>::Payment;

/// The state of a settlement.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The id by which [`Facilitator::settlement`] finds it, if it can.
    pub id: Option<ClaimKey>,
    /// The answer to the caller.
    pub answer: SettleResponse,
}

/// The reason for which a facilitator gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FacilitatorError {
    /// The facilitator could not be reached, or broke off.
    Unreachable,
    /// The answer took too long.
    TimedOut,
    /// The answer has this HTTP status and no content that this library understands.
    Status(u16),
    /// The answer is too long, or not the expected message.
    BadAnswer(ParseError),
}

impl FacilitatorError {
    /// Returns the reason to give a buyer, who is not at fault.
    pub const fn reason(self) -> Reason {
        Reason::FacilitatorUnavailable
    }
}

impl fmt::Display for FacilitatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("facilitator unreachable"),
            Self::TimedOut => f.write_str("facilitator timed out"),
            Self::Status(status) => write!(f, "facilitator answered {status}"),
            Self::BadAnswer(error) => write!(f, "facilitator's answer: {error}"),
        }
    }
}

impl std::error::Error for FacilitatorError {}

/// A facilitator whose sellers check payments by their own scheme or rules. The facilitator checks them again
/// by its own.
#[derive(Clone, Debug)]
pub struct WithScheme<F, X> {
    facilitator: F,
    scheme: X,
}

impl<F, X> WithScheme<F, X> {
    /// Returns a facilitator with this scheme for its sellers.
    pub const fn new(facilitator: F, scheme: X) -> Self {
        Self { facilitator, scheme }
    }
}

impl<F: Facilitator, X: SharedScheme> Facilitator for WithScheme<F, X> {
    type Scheme = X;

    fn scheme(&self) -> &X {
        &self.scheme
    }

    fn verify(
        &self,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<VerifyResponse, FacilitatorError>> + Send {
        self.facilitator.verify(request)
    }

    fn settle(
        &self,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<SettleResponse, FacilitatorError>> + Send {
        self.facilitator.settle(request)
    }

    fn settle_for(
        &self,
        request: &VerifyRequest,
        caller: CallerId,
    ) -> impl Future<Output = Result<Settlement, FacilitatorError>> + Send {
        self.facilitator.settle_for(request, caller)
    }

    fn settlement(
        &self,
        id: ClaimKey,
    ) -> impl Future<Output = Result<Option<ClaimState>, FacilitatorError>> + Send {
        self.facilitator.settlement(id)
    }

    fn supported(
        &self,
    ) -> impl Future<Output = Result<SupportedResponse, FacilitatorError>> + Send {
        self.facilitator.supported()
    }
}

impl<F: Facilitator> Facilitator for Arc<F> {
    type Scheme = F::Scheme;

    fn scheme(&self) -> &F::Scheme {
        (**self).scheme()
    }

    fn verify(
        &self,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<VerifyResponse, FacilitatorError>> + Send {
        (**self).verify(request)
    }

    fn settle(
        &self,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<SettleResponse, FacilitatorError>> + Send {
        (**self).settle(request)
    }

    fn settle_for(
        &self,
        request: &VerifyRequest,
        caller: CallerId,
    ) -> impl Future<Output = Result<Settlement, FacilitatorError>> + Send {
        (**self).settle_for(request, caller)
    }

    fn verify_proven(
        &self,
        request: &VerifyRequest,
        payment: Verified<&PaymentOf<F>>,
    ) -> impl Future<Output = Result<VerifyResponse, FacilitatorError>> + Send {
        (**self).verify_proven(request, payment)
    }

    fn settle_proven(
        &self,
        request: &VerifyRequest,
        payment: Verified<&PaymentOf<F>>,
        caller: CallerId,
    ) -> impl Future<Output = Result<Settlement, FacilitatorError>> + Send {
        (**self).settle_proven(request, payment, caller)
    }

    fn settlement(
        &self,
        id: ClaimKey,
    ) -> impl Future<Output = Result<Option<ClaimState>, FacilitatorError>> + Send {
        (**self).settlement(id)
    }

    fn supported(
        &self,
    ) -> impl Future<Output = Result<SupportedResponse, FacilitatorError>> + Send {
        (**self).supported()
    }
}
