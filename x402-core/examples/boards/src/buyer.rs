//! A buyer: one resource, at most one signature.

use core::fmt;

use x402_core::budget::{Exceeded, Spending};
use x402_core::buyer::{self, Choice, Decline, Next, PayOnce, Policy, Wallet};
use x402_core::crypto::ed25519::Dalek;
use x402_core::crypto::{Ed25519, Secp256k1, SignError, Signer};
use x402_core::json::RawJson;
use x402_core::wire::{Message, PaymentRequired, PaymentRequirements, SettleResponse};
use x402_core::{EncodeError, ParseError, Reason, Retry, Version};
use x402_evm::{Eip3009Unsigned, ExactEvmWallet};
use x402_svm::{ExactSvmWallet, Inputs, SvmUnsigned, UnsignedError};

use crate::http::{self, Answer, Content, HttpError};
use crate::stream::{Clock, Entropy, Link};

/// How often a payment is presented, in all, while nobody knows what became of it.
const PRESENTATIONS: u64 = 3;

/// Milliseconds between them.
const PAUSE: u64 = 1000;

/// All the memory a purchase needs besides the stack.
pub struct Memory {
    /// The answer, head and body: a challenge in its header, and what is bought.
    answer: [u8; 4096],
    /// The challenge in JSON, then the receipt.
    json: [u8; 3072],
    /// The scheme's signed payload, in JSON.
    payload: [u8; PAYLOAD],
    /// The payment header: resource, offer and payload in base64.
    header: [u8; 3072],
    /// The sum spent since the start. A product that may be switched off to make it forget keeps
    /// this over a reset.
    spending: Spending<16>,
}

const PAYLOAD: usize = if x402_svm::PAYLOAD_BYTES > x402_evm::PAYLOAD_BYTES {
    x402_svm::PAYLOAD_BYTES
} else {
    x402_evm::PAYLOAD_BYTES
};

impl Memory {
    /// All zeros, so that it costs no flash.
    pub const fn new() -> Self {
        Self {
            answer: [0; 4096],
            json: [0; 3072],
            payload: [0; PAYLOAD],
            header: [0; 3072],
            spending: Spending::new(),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// A wallet that signs.
pub trait Pays: Wallet {
    /// Signs a payment of the offer into `payload`. `unix_time` is the server's, if it tells.
    ///
    /// # Errors
    /// [`BuyError`].
    fn pay<'p>(
        &self,
        offer: &PaymentRequirements<'_>,
        unix_time: Option<u64>,
        entropy: &mut impl Entropy,
        payload: &'p mut [u8],
    ) -> Result<RawJson<'p>, BuyError>;
}

/// Pays on EVM networks with a key in memory, or with one that never leaves a secure element.
pub struct Evm<S>(pub S);

impl<S> Wallet for Evm<S> {
    fn pays(&self, offer: &PaymentRequirements<'_>) -> bool {
        ExactEvmWallet.pays(offer)
    }

    fn pays_to(&self, offer: &PaymentRequirements<'_>) -> bool {
        ExactEvmWallet.pays_to(offer)
    }

    fn decimals(&self, offer: &PaymentRequirements<'_>) -> Option<u8> {
        ExactEvmWallet.decimals(offer)
    }
}

impl<S: Signer<Secp256k1>> Pays for Evm<S> {
    fn pay<'p>(
        &self,
        offer: &PaymentRequirements<'_>,
        unix_time: Option<u64>,
        entropy: &mut impl Entropy,
        payload: &'p mut [u8],
    ) -> Result<RawJson<'p>, BuyError> {
        let payer = x402_evm::Address(self.0.public_key());
        let mut nonce = [0; 32];
        entropy.fill(&mut nonce);
        let now = unix_time.ok_or(BuyError::NoTime)?;
        let unsigned = Eip3009Unsigned::new(offer, payer, now, nonce).map_err(BuyError::Offer)?;
        let signature = self.0.sign(unsigned.digest())?;
        Ok(unsigned.payload(&signature, payload)?)
    }
}

/// Pays on Solana, offers that bring a recent blockhash.
pub struct Svm<S>(pub S);

impl<S> Wallet for Svm<S> {
    fn pays(&self, offer: &PaymentRequirements<'_>) -> bool {
        x402_svm::offered_blockhash(offer).is_some() && ExactSvmWallet::default().pays(offer)
    }

    fn pays_to(&self, offer: &PaymentRequirements<'_>) -> bool {
        ExactSvmWallet::default().pays_to(offer)
    }

    fn decimals(&self, offer: &PaymentRequirements<'_>) -> Option<u8> {
        ExactSvmWallet::default().decimals(offer)
    }
}

impl<S: Signer<Ed25519>> Pays for Svm<S> {
    fn pay<'p>(
        &self,
        offer: &PaymentRequirements<'_>,
        _: Option<u64>,
        entropy: &mut impl Entropy,
        payload: &'p mut [u8],
    ) -> Result<RawJson<'p>, BuyError> {
        let payer = x402_svm::Address(self.0.public_key());
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let inputs = Inputs { payer, blockhash: None, nonce, assets: &[] };
        let mut transaction = [0; x402_svm::PAYMENT_BYTES];
        let unsigned = SvmUnsigned::new(offer, &inputs, &Dalek, &mut transaction)?;
        let signature = self.0.sign(unsigned.message())?;
        Ok(unsigned.payload(&signature, payload)?)
    }
}

/// The first that pays the offer.
impl<A: Pays, B: Pays> Pays for (A, B) {
    fn pay<'p>(
        &self,
        offer: &PaymentRequirements<'_>,
        unix_time: Option<u64>,
        entropy: &mut impl Entropy,
        payload: &'p mut [u8],
    ) -> Result<RawJson<'p>, BuyError> {
        if self.0.pays(offer) {
            self.0.pay(offer, unix_time, entropy, payload)
        } else {
            self.1.pay(offer, unix_time, entropy, payload)
        }
    }
}

/// The outcome of a purchase.
#[derive(Clone, Copy, Debug)]
pub struct Paid<'m> {
    /// Status of the answer.
    pub status: u16,
    /// Its body.
    pub body: &'m [u8],
    /// The receipt, if there is one and it can be read.
    pub receipt: Option<SettleResponse<'m>>,
}

/// Why nothing was bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuyError {
    /// No answer, before anything was paid.
    NoAnswer(HttpError),
    /// The challenge cannot be read.
    Challenge(ParseError),
    /// No offer was chosen.
    Declined(Decline),
    /// The offer does not fit what is left of a limit.
    OverBudget(Exceeded),
    /// The answer has no `Date` header that can be read, and the payment needs the time.
    NoTime,
    /// The chosen offer cannot be paid.
    Offer(Reason),
    /// A transaction cannot be made of the chosen offer.
    Transaction(UnsignedError),
    /// The signer did not sign.
    Signer(SignError),
    /// The payment does not fit its memory.
    TooLarge(EncodeError),
    /// The payment was refused, and will not be made.
    Refused(Reason),
    /// The payment was sent, and it is not known whether it was made: with the server's reason. A
    /// new purchase may pay twice.
    Unclear(Option<Reason>),
    /// The payment was sent and no answer came: as [`Unclear`](Self::Unclear).
    Unanswered(HttpError),
    /// The server asks for a second payment.
    PaidBefore,
}

impl fmt::Display for BuyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(error) => write!(f, "no answer: {error}"),
            Self::Challenge(error) => write!(f, "unreadable challenge: {error}"),
            Self::Declined(decline) => write!(f, "not bought: {decline}"),
            Self::OverBudget(exceeded) => write!(f, "not bought: {exceeded}"),
            Self::NoTime => f.write_str("the answer has no Date header"),
            Self::Offer(reason) => write!(f, "unpayable offer: {reason}"),
            Self::Transaction(error) => write!(f, "no transaction: {error}"),
            Self::Signer(error) => write!(f, "{error}"),
            Self::TooLarge(error) => write!(f, "payment too large: {error}"),
            Self::Refused(reason) => write!(f, "payment refused: {reason}"),
            Self::Unclear(Some(reason)) => {
                write!(f, "payment sent, not known whether it was made: {reason}")
            }
            Self::Unclear(None) => f.write_str("payment sent, not known whether it was made"),
            Self::Unanswered(error) => write!(f, "payment sent, but no answer: {error}"),
            Self::PaidBefore => f.write_str("asked for a second payment"),
        }
    }
}

impl core::error::Error for BuyError {}

impl From<UnsignedError> for BuyError {
    fn from(error: UnsignedError) -> Self {
        Self::Transaction(error)
    }
}

impl From<SignError> for BuyError {
    fn from(error: SignError) -> Self {
        Self::Signer(error)
    }
}

impl From<EncodeError> for BuyError {
    fn from(error: EncodeError) -> Self {
        Self::TooLarge(error)
    }
}

/// Where to buy.
#[derive(Clone, Copy, Debug)]
pub struct Shop<'a> {
    /// The `Host` header.
    pub host: &'a str,
    /// Path and query.
    pub path: &'a str,
}

/// Gets a resource, and pays for it if that is asked, the policy allows it and there is something
/// left of its limits.
///
/// # Errors
/// [`BuyError`].
pub fn buy<'m>(
    shop: Shop<'_>,
    link: &mut impl Link,
    wallet: &impl Pays,
    policy: &Policy<'_>,
    clock: &impl Clock,
    entropy: &mut impl Entropy,
    memory: &'m mut Memory,
) -> Result<Paid<'m>, BuyError> {
    let Memory { answer, json, payload, header, spending } = memory;
    let mut purchase = PayOnce::new();
    let challenged = get(shop, link, &[], answer).map_err(BuyError::NoAnswer)?;
    if purchase.answered(challenged.status) != Next::Pay {
        let body = challenged.content(answer).body;
        return Ok(Paid { status: challenged.status, body, receipt: None });
    }

    let content = challenged.content(answer);
    let required = challenge(&content, json).map_err(BuyError::Challenge)?;
    let choice: Choice<'_> =
        buyer::choose(&required, shop.host, wallet, policy).map_err(BuyError::Declined)?;
    if !purchase.paid() {
        return Err(BuyError::PaidBefore);
    }
    // By the board's own clock: the seller's would let it forget what was spent.
    let now = clock.millis() / 1000;
    let spend = choice.spend(shop.host, now).ok_or(BuyError::Declined(Decline::Unpayable))?;
    spending.reserve(policy.limits, spend).map_err(BuyError::OverBudget)?;
    let payload = wallet.pay(&choice.offer, content.unix_time(), entropy, payload);
    let payload = payload.inspect_err(|_| spending.release(&spend))?;
    let payment = choice.payment(payload).encode_header(header)?;
    let version = required.x402_version;

    let mut presented = 1;
    loop {
        let again = presented < PRESENTATIONS;
        match get(shop, link, &[(version.payment_header(), payment)], answer) {
            Err(error) if !again => return Err(BuyError::Unanswered(error)),
            Err(_) => {}
            Ok(paid) => {
                let content = paid.content(answer);
                let receipt = receipt(&content, version, json);
                let refused = purchase.answered(paid.status) == Next::Refused
                    || receipt.is_some_and(|it| !it.success);
                if !refused {
                    // Read once more, for as long as the caller keeps the memory.
                    let content = paid.content(answer);
                    let receipt = self::receipt(&content, version, json);
                    return Ok(Paid { status: paid.status, body: content.body, receipt });
                }
                let reason = receipt.and_then(|it| Reason::parse(it.error_reason?.as_str()?));
                // Where there is no receipt, the new challenge says why there is one.
                let reason = reason
                    .or_else(|| Reason::parse(challenge(&content, json).ok()?.error?.as_str()?));
                match reason {
                    Some(reason) if reason.retry() != Retry::SameAgain => {
                        return Err(BuyError::Refused(reason));
                    }
                    reason if !again => return Err(BuyError::Unclear(reason)),
                    _ => {}
                }
            }
        }
        presented = presented.saturating_add(1);
        let until = clock.millis().saturating_add(PAUSE);
        while clock.millis() < until {}
    }
}

fn challenge<'a>(
    content: &Content<'a>,
    json: &'a mut [u8],
) -> Result<PaymentRequired<'a>, ParseError> {
    let header = content.header(x402_core::http::PAYMENT_REQUIRED);
    buyer::read_challenge(header, content.body, json)
}

fn receipt<'j>(
    content: &Content<'_>,
    version: Version,
    json: &'j mut [u8],
) -> Option<SettleResponse<'j>> {
    SettleResponse::decode_header(content.header(version.receipt_header())?, json).ok()
}

fn get(
    shop: Shop<'_>,
    link: &mut impl Link,
    headers: &[(&str, &[u8])],
    memory: &mut [u8],
) -> Result<Answer, HttpError> {
    let mut stream = link.open()?;
    http::exchange(&mut stream, "GET", shop.host, shop.path, headers, &[], memory)
}
