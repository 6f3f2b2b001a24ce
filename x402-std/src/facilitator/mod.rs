//! Who verifies and settles: somebody over HTTP, or this process over a ledger.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use x402_core::{ParseError, Reason};

use crate::message::{SettleResponse, SupportedResponse, VerifyRequest, VerifyResponse};

mod local;
#[cfg(feature = "client")]
mod remote;
#[cfg(feature = "facilitator")]
mod service;

pub use local::LocalFacilitator;
#[cfg(feature = "client")]
pub use remote::{FacilitatorUrlError, RemoteFacilitator};
#[cfg(feature = "facilitator")]
pub use service::router;

/// Verifies and settles payments. Spec v2 §7.
///
/// A refusal is an answer (`Ok`); an error means that there was none, and nothing may be served
/// on the strength of it.
pub trait Facilitator: Send + Sync {
    /// Whether a payment would settle; nothing is moved.
    fn verify(
        &self,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<VerifyResponse, FacilitatorError>> + Send;

    /// Settles a payment. After an error the money may have moved.
    fn settle(
        &self,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<SettleResponse, FacilitatorError>> + Send;

    /// The schemes and networks it serves.
    fn supported(&self)
    -> impl Future<Output = Result<SupportedResponse, FacilitatorError>> + Send;
}

/// Why a facilitator gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FacilitatorError {
    /// It could not be reached, or broke off.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// It answered with this HTTP status and nothing this library understands.
    Status(u16),
    /// Its answer is too long, or not the message it should be.
    BadAnswer(ParseError),
}

impl FacilitatorError {
    /// The reason to give a buyer: no fault of theirs.
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

impl<F: Facilitator> Facilitator for Arc<F> {
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

    fn supported(
        &self,
    ) -> impl Future<Output = Result<SupportedResponse, FacilitatorError>> + Send {
        (**self).supported()
    }
}
