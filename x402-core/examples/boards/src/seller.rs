//! A seller: one resource, one offer, a facilitator that settles.

use core::fmt;

use x402_core::claim::{ClaimState, ClaimTable, Presented, Resource, Transaction};
use x402_core::http::{self as names, CACHE_CHALLENGE, CACHE_PAID};
use x402_core::seller::{self, Admitted, Seller};
use x402_core::wire::{
    Message, PaymentRequirements, ResourceInfo, SettleResponse, SupportedResponse,
};
use x402_core::{EncodeError, Payment, Reason, Scheme, Version, base64};

use crate::http::{self, HttpError, Request};
use crate::stream::{Link, Stream};

/// Payments that are remembered at a time; one is forgotten when it has expired.
const CLAIMS: usize = 32;

/// Bytes of a facilitator's answer.
const ANSWER: usize = 8192;

/// All the memory a seller needs besides the stack, its claims and the request.
pub struct Memory {
    /// The payment in JSON.
    json: [u8; 3072],
    /// The request to the facilitator.
    ask: [u8; 4096],
    /// Its answer, head and body: its `/supported` may list every network there is.
    answer: [u8; ANSWER],
    /// A challenge, in base64.
    challenge: [u8; 1536],
    /// A receipt, in base64.
    receipt: [u8; 512],
}

impl Memory {
    /// All zeros, so that it costs no flash.
    pub const fn new() -> Self {
        Self {
            json: [0; 3072],
            ask: [0; 4096],
            answer: [0; ANSWER],
            challenge: [0; 1536],
            receipt: [0; 512],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a facilitator cannot be sold through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    /// It does not answer, or not so that it is understood.
    NoAnswer(HttpError),
    /// The peer is not a facilitator.
    NoFacilitator,
    /// It does not tell the time.
    NoTime,
    /// It does not settle what is offered.
    Unsupported,
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(error) => write!(f, "no answer from the facilitator: {error}"),
            Self::NoFacilitator => f.write_str("what answers is no facilitator"),
            Self::NoTime => f.write_str("the facilitator's answer has no Date header"),
            Self::Unsupported => f.write_str("the facilitator does not settle the offer"),
        }
    }
}

impl core::error::Error for Unready {}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// Nothing was asked, or nobody waited for the answer.
    Nothing,
    /// Something else than the resource was asked, or nothing that is HTTP.
    Status(u16),
    /// The price was named.
    Challenged,
    /// A payment was refused.
    Refused(Reason),
    /// It was sold.
    Sold(Transaction),
}

/// The shop.
pub struct Shop<'a, S> {
    /// The resource for sale.
    pub resource: ResourceInfo<'a>,
    /// Its path.
    pub path: &'a str,
    /// Its price.
    pub offer: PaymentRequirements<'a>,
    /// The scheme that checks the payments.
    pub scheme: S,
    /// The facilitator's `Host` header.
    pub facilitator: &'a str,
    claims: ClaimTable<CLAIMS>,
}

/// A refusal, with the transaction it is about, if there is one.
struct Refusal {
    reason: Reason,
    transaction: Transaction,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, transaction: Transaction::new() }
    }
}

impl From<EncodeError> for Refusal {
    /// A request that exceeds the memory cannot be sent to the facilitator.
    fn from(_: EncodeError) -> Self {
        Reason::InvalidPayload.into()
    }
}

impl<'a, S: Scheme> Shop<'a, S> {
    /// A shop that has sold nothing yet.
    pub const fn new(
        resource: ResourceInfo<'a>,
        path: &'a str,
        offer: PaymentRequirements<'a>,
        scheme: S,
        facilitator: &'a str,
    ) -> Self {
        Self { resource, path, offer, scheme, facilitator, claims: ClaimTable::new() }
    }

    /// Asks the facilitator whether it settles what is offered, and gives its time in Unix seconds.
    ///
    /// # Errors
    /// [`Unready`].
    pub fn prepare(&self, link: &mut impl Link, memory: &mut Memory) -> Result<u64, Unready> {
        let mut ask = || {
            let mut stream = link.open()?;
            let host = self.facilitator;
            http::exchange(&mut stream, "GET", host, "/supported", &[], &[], &mut memory.answer)
        };
        let answer = ask().map_err(Unready::NoAnswer)?;
        let content = answer.content(&memory.answer);
        let supported = SupportedResponse::parse(content.body).ok();
        let supported = supported.filter(|_| answer.status == 200).ok_or(Unready::NoFacilitator)?;
        let settles = supported.kinds.iter().any(|kind| {
            kind.x402_version == 2
                && kind.scheme == self.offer.scheme
                && kind.network.is_same(self.offer.network)
        });
        if !settles {
            return Err(Unready::Unsupported);
        }
        content.unix_time().ok_or(Unready::NoTime)
    }

    /// Answers the request that [`http::read_request`] read: the reading to a client that pays for
    /// it, the price to everybody else.
    pub fn serve(
        &mut self,
        request: Result<Option<Request<'_>>, HttpError>,
        stream: &mut impl Stream,
        facilitator: &mut impl Link,
        now: u64,
        reading: &[u8],
        memory: &mut Memory,
    ) -> Served {
        let Memory { json, ask, answer, challenge, receipt } = memory;
        let status = match request {
            Ok(Some(request)) => match self.route(&request) {
                Ok(None) => {
                    self.refuse(stream, None, challenge, receipt);
                    return Served::Challenged;
                }
                Ok(Some(payment)) => {
                    let sold = self.sell(payment, facilitator, now, json, ask, answer);
                    return match sold {
                        Ok(transaction) => self.deliver(stream, transaction, reading, receipt),
                        Err(refusal) => self.refuse(stream, Some(refusal), challenge, receipt),
                    };
                }
                Err(status) => status,
            },
            Ok(None) | Err(HttpError::Broken) => return Served::Nothing,
            Err(HttpError::TooLong) => 431,
            Err(HttpError::Malformed) => 400,
        };
        // A client that does not wait for it misses nothing.
        http::answer(stream, status, &[], b"{}").ok();
        Served::Status(status)
    }

    /// The payment of a request for the resource, or the status to answer with.
    fn route<'m>(&self, request: &Request<'m>) -> Result<Option<names::Carried<'m>>, u16> {
        let path = request.path.split('?').next();
        if path != Some(self.path) {
            return Err(404);
        }
        if request.method != "GET" {
            return Err(405);
        }
        names::payment(request.content.headers()).map_err(|_| 400)
    }

    /// Checks the payment, claims it and has it settled.
    fn sell(
        &mut self,
        (version, header): names::Carried<'_>,
        link: &mut impl Link,
        now: u64,
        json: &mut [u8],
        ask: &mut [u8],
        answer: &mut [u8],
    ) -> Result<Transaction, Refusal> {
        let json = base64::decode(header, json).map_err(|error| error.reason())?;
        let payload = Seller::read(version, json).map_err(|error| error.reason())?;
        let accepts = [self.offer];
        let seller = Seller { resource: self.resource, accepts: &accepts, extensions: None };
        let admitted: Admitted<'_, _> = seller.admit(&self.scheme, &payload, now)?;
        let payment = admitted.verified.payment();
        let (key, expires_at) = (payment.claim_key(), payment.expires_at());
        // Before the claim, so that nothing is claimed that cannot be asked.
        let ask = admitted.request().encode(ask)?;

        let first = match self.claims.present(key, Resource::ANY, expires_at, now)? {
            Presented::New => true,
            // Nobody knows what became of it: the facilitator is asked once more.
            Presented::Known(ClaimState::Broadcast(_)) => false,
            Presented::Known(
                ClaimState::Settled(transaction) | ClaimState::Delivered(transaction),
            ) => {
                return Err(Refusal { reason: Reason::DuplicateSettlement, transaction });
            }
            Presented::Known(ClaimState::Failed(reason)) => return Err(reason.into()),
            Presented::Known(ClaimState::Claimed) | Presented::ForAnother => {
                return Err(Reason::DuplicateSettlement.into());
            }
        };
        let Ok(mut stream) = link.open() else {
            // Nothing was sent for a new claim; an old one stays.
            self.claims.release(&key).ok();
            return Err(Reason::FacilitatorUnavailable.into());
        };
        if first {
            let sending = ClaimState::Broadcast(Transaction::new());
            let claimed = self.claims.advance(&key, &ClaimState::Claimed, sending);
            claimed.map_err(|_| Reason::UnexpectedSettleError)?;
        }
        let outcome = settle(&mut stream, self.facilitator, ask, answer)
            .map_or(ClaimState::Broadcast(Transaction::new()), |answer| {
                seller::settled(&answer, &self.offer, None, first)
            });
        if let Some(state) = self.claims.state(&key).cloned() {
            // An answer that says no more than was known changes nothing.
            self.claims.advance(&key, &state, outcome.clone()).ok();
        }
        match outcome {
            ClaimState::Settled(transaction) | ClaimState::Delivered(transaction) => {
                Ok(transaction)
            }
            ClaimState::Failed(reason) => Err(reason.into()),
            ClaimState::Broadcast(transaction) => {
                Err(Refusal { reason: seller::unclear(&transaction), transaction })
            }
            ClaimState::Claimed => Err(Reason::UnexpectedSettleError.into()),
        }
    }

    fn deliver(
        &self,
        stream: &mut impl Stream,
        transaction: Transaction,
        reading: &[u8],
        receipt: &mut [u8],
    ) -> Served {
        let receipt = self.receipt(None, &transaction, receipt).unwrap_or_default();
        let headers = [
            (Version::V2.receipt_header(), receipt),
            ("Cache-Control", CACHE_PAID.as_bytes()),
            ("Access-Control-Expose-Headers", names::EXPOSE_HEADERS.as_bytes()),
        ];
        // It is paid for all the same if the buyer does not wait; the transaction tells.
        http::answer(stream, 200, &headers, reading).ok();
        Served::Sold(transaction)
    }

    /// A receipt of success, or of a refusal for a reason.
    fn receipt<'o>(
        &self,
        refused: Option<Reason>,
        transaction: &Transaction,
        out: &'o mut [u8],
    ) -> Result<&'o [u8], EncodeError> {
        let receipt = SettleResponse {
            success: refused.is_none(),
            error_reason: refused.map(|reason| reason.as_str().into()),
            transaction: transaction.as_str().into(),
            network: self.offer.network.as_str().into(),
            ..Default::default()
        };
        receipt.encode_header(out)
    }

    /// Names the price, and says why a payment was refused.
    fn refuse(
        &self,
        stream: &mut impl Stream,
        refusal: Option<Refusal>,
        challenge: &mut [u8],
        receipt: &mut [u8],
    ) -> Served {
        let reason = refusal.as_ref().map(|refusal| refusal.reason);
        let text = reason.map_or("PAYMENT-SIGNATURE header is required", Reason::as_str);
        let accepts = [self.offer];
        let seller = Seller { resource: self.resource, accepts: &accepts, extensions: None };
        let challenge = seller.challenge(Version::V2, text).encode_header(challenge);
        let receipt = refusal.as_ref().map_or(Ok(&[][..]), |Refusal { reason, transaction }| {
            self.receipt(Some(*reason), transaction, receipt)
        });
        let (Ok(challenge), Ok(receipt)) = (challenge, receipt) else {
            http::answer(stream, 500, &[], b"{}").ok();
            return Served::Status(500);
        };
        let headers = [
            (names::PAYMENT_REQUIRED, challenge),
            ("Cache-Control", CACHE_CHALLENGE.as_bytes()),
            ("Access-Control-Expose-Headers", names::EXPOSE_HEADERS.as_bytes()),
            (Version::V2.receipt_header(), receipt),
        ];
        // The last is only for refusals.
        let count = if reason.is_some() { 4 } else { 3 };
        let headers = headers.get(..count).unwrap_or_default();
        http::answer(stream, reason.map_or(402, Reason::status), headers, b"{}").ok();
        reason.map_or(Served::Challenged, Served::Refused)
    }
}

/// Asks the facilitator to settle. `None` if its answer says nothing that counts.
fn settle<'m>(
    stream: &mut impl Stream,
    host: &str,
    ask: &[u8],
    memory: &'m mut [u8],
) -> Option<SettleResponse<'m>> {
    let answer = http::exchange(stream, "POST", host, "/settle", &[], ask, memory).ok()?;
    let body = SettleResponse::parse(answer.content(memory).body).ok()?;
    // Some facilitators refuse with another status and the usual answer; none agrees so.
    ((200..300).contains(&answer.status) || !body.success).then_some(body)
}
