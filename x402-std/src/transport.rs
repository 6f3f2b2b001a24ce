//! Carriers of challenges and payments: HTTP now, others by the same trait.
//!
//! Buying is written once over [`Transport`]; selling once in [`seller`](crate::seller), which a
//! server of any kind feeds with a payment and asks for a challenge or a receipt.

use std::fmt;
use std::future::{Future, ready};
use std::time::Duration;

use x402_core::Version;

use crate::message::{PaymentRequired, ReadError, SettleResponse};

/// The buyer's side of a carrier: sends a request, with a payment or without, and says what came
/// back.
pub trait Transport: Send + Sync {
    /// A request. It may be sent more than once.
    type Request: Send + Sync;
    /// An answer.
    type Response: Send;
    /// Why there is no answer.
    type Error: Send;

    /// Whom a request asks, and for what.
    fn subject(&self, request: &Self::Request) -> Subject;

    /// Sends `request` once.
    ///
    /// With a payment, it must go nowhere but to the one who made the challenge: redirects are
    /// answers then, not directions.
    fn exchange(
        &self,
        request: &Self::Request,
        payment: Option<&PaymentText>,
    ) -> impl Future<Output = Result<Answer<Self::Response>, Self::Error>> + Send;

    /// Whether a payment may be sent along with a request; asked before one is signed.
    ///
    /// # Errors
    /// Why not.
    fn may_pay(&self, _request: &Self::Request) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Whether an answer to a payment can be what was asked for, rather than an error or a direction
    /// elsewhere, with which no receipt proves anything.
    fn is_delivery(&self, _response: &Self::Response) -> bool {
        true
    }

    /// Waits before a payment is presented again. Without a timer, not at all, which a seller will
    /// not like: override it.
    fn wait(&self, _time: Duration) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// Whom a request asks, and for what: what budgets and allow-lists go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The host, in lower case: over HTTP without a final dot, and with the port unless it
    /// is 80 or 443.
    pub host: String,
    /// The request, in a line for people, with nothing secret: over HTTP the method and the
    /// URL without user, query and fragment.
    pub what: String,
    /// A hash of what is asked, so that the same can be told from another: over HTTP of method, URL
    /// and body.
    pub digest: [u8; 32],
}

/// A signed payment, ready to be sent and to be sent again.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentText {
    /// The version it is in, which decides where a transport puts it.
    pub version: Version,
    /// [`PaymentPayload`](crate::message::PaymentPayload) as JSON.
    pub json: String,
}

impl fmt::Debug for PaymentText {
    /// Shows the version only: whoever has the payment can present it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentText({:?})", self.version)
    }
}

/// Why a challenge cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeError {
    /// In which part of the answer it is: a header's name, or `body`.
    pub part: &'static str,
    /// The fault, and its place.
    pub error: ReadError,
    /// Whether the body has a challenge that can be read. It is not used: two accounts of one price are
    /// not weighed against each other.
    pub body_is_good: bool,
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.error)?;
        if self.body_is_good {
            f.write_str(
                "; the challenge in the body is good, and is not used while there is a header",
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for ChallengeError {}

/// An answer, with the protocol's messages in it.
#[derive(Debug)]
pub struct Answer<R> {
    /// The answer itself.
    pub response: R,
    /// The challenge in it, if payment is asked for (HTTP: status 402) or was refused (another
    /// status and the challenge's header), or why it cannot be read.
    pub challenge: Option<Result<PaymentRequired, ChallengeError>>,
    /// The receipt in it, if there is one that can be read.
    pub receipt: Option<SettleResponse>,
}
