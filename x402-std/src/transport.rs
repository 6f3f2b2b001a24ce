//! Carriers of challenges and payments: HTTP now, others by the same trait.
//!
//! The buyer uses any carrier through [`Transport`]. The [`seller`](crate::seller) serves any carrier: a
//! server of any kind passes it a payment, and gets a challenge or a receipt.

use std::fmt;
use std::future::{Future, ready};
use std::time::Duration;

use x402_core::Version;

use crate::message::{PaymentRequired, ReadError, SettleResponse};

/// The buyer's side of a carrier: sends a request, with a payment or without, and returns the answer.
pub trait Transport: Send + Sync {
    /// A request. It may be sent more than once.
    type Request: Send + Sync;
    /// An answer.
    type Response: Send;
    /// The reason why there is no answer.
    type Error: Send;

    /// The host of a request, and its content.
    fn subject(&self, request: &Self::Request) -> Subject;

    /// Sends `request` once.
    ///
    /// With a payment, it must go only to the host that made the challenge: redirects are not followed.
    fn exchange(
        &self,
        request: &Self::Request,
        payment: Option<&PaymentText>,
    ) -> impl Future<Output = Result<Answer<Self::Response>, Self::Error>> + Send;

    /// Checks that a payment may be sent with a request, before it is signed.
    ///
    /// # Errors
    /// The reason why it may not.
    fn may_pay(&self, _request: &Self::Request) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Returns whether an answer to a payment can be a delivery. Errors and redirects cannot: a receipt with
    /// them proves nothing.
    fn is_delivery(&self, _response: &Self::Response) -> bool {
        true
    }

    /// Waits before a payment is presented again. The default returns at once. A transport with a timer
    /// should override it.
    fn wait(&self, _time: Duration) -> impl Future<Output = ()> + Send {
        ready(())
    }
}

/// The host and the content of a request, for budgets and allow-lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The host, in lower case. Over HTTP it has no final dot, and a port unless that is 80 or 443.
    pub host: String,
    /// The request, in a line for people, without secrets. Over HTTP it is the method and the URL, without
    /// user, query and fragment.
    pub what: String,
    /// A hash that identifies the request. Over HTTP it covers method, URL and body.
    pub digest: [u8; 32],
}

/// A signed payment, ready to be sent any number of times.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentText {
    /// Its version, which decides the header or field for it.
    pub version: Version,
    /// [`PaymentPayload`](crate::message::PaymentPayload) as JSON.
    pub json: String,
}

impl fmt::Debug for PaymentText {
    /// Shows the version only: the holder of a payment can present it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaymentText({:?})", self.version)
    }
}

/// The reason why a challenge cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeError {
    /// The part of the answer with the challenge: a header's name, or `body`.
    pub part: &'static str,
    /// The fault, and its place.
    pub error: ReadError,
    /// Whether the body has a readable challenge. It never replaces the header's.
    pub body_is_good: bool,
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.error)?;
        if self.body_is_good {
            f.write_str(
                "; the challenge in the body is good, but the header counts: ask the seller",
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
    /// The challenge in it, or the reason why it cannot be read. There is one if payment is asked for (over
    /// HTTP, status 402) or was refused (another status with the challenge's header).
    pub challenge: Option<Result<PaymentRequired, ChallengeError>>,
    /// The readable receipt in it, if there is one.
    pub receipt: Option<SettleResponse>,
}

/// Returns whether only the host of a URL can read requests to it: over TLS, or on this machine.
#[cfg(any(feature = "client", feature = "server"))]
pub fn is_private(url: &url::Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_loopback(url)
}

/// Returns whether a URL is this machine's, by its address or as `localhost`.
#[cfg(any(feature = "client", feature = "server"))]
pub fn is_here(url: &url::Url) -> bool {
    is_loopback(url) || url.host() == Some(url::Host::Domain("localhost."))
}

#[cfg(any(feature = "client", feature = "server"))]
fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}
