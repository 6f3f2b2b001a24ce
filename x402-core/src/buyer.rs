//! The buyer without sockets: read a challenge, choose an offer within limits, make the payment,
//! read the receipt.

use core::fmt;

use crate::amount::Money;
use crate::budget::{Key, Limit, Spend, admit};
use crate::error::ParseError;
use crate::http;
use crate::json::RawJson;
use crate::network::{Network, Version};
use crate::reason::{Reason, Retry};
use crate::wire::{
    Accepted, Entry, Message, PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse,
};

/// The offers that the holder of a key can pay; the schemes' buyers implement it.
pub trait Wallet {
    /// Returns whether the wallet pays offers of this scheme, network and transfer method.
    fn pays(&self, offer: &PaymentRequirements<'_>) -> bool;

    /// Returns whether a buyer can mean the payee of an offer that the wallet pays. Money to nobody's
    /// address, to the token itself, or to a mistyped address (by its checksum) is lost; money to the
    /// payer is for nothing.
    fn pays_to(&self, _offer: &PaymentRequirements<'_>) -> bool {
        true
    }

    /// Returns the decimals of the offer's asset, if it is a stablecoin this library knows and
    /// trusts.
    fn decimals(&self, offer: &PaymentRequirements<'_>) -> Option<u8>;
}

/// A wallet that pays with either.
impl<A: Wallet, B: Wallet> Wallet for (A, B) {
    fn pays(&self, offer: &PaymentRequirements<'_>) -> bool {
        self.0.pays(offer) || self.1.pays(offer)
    }

    fn pays_to(&self, offer: &PaymentRequirements<'_>) -> bool {
        if self.0.pays(offer) { self.0.pays_to(offer) } else { self.1.pays_to(offer) }
    }

    fn decimals(&self, offer: &PaymentRequirements<'_>) -> Option<u8> {
        self.0.decimals(offer).or_else(|| self.1.decimals(offer))
    }
}

/// `None` pays nothing.
impl<W: Wallet> Wallet for Option<W> {
    fn pays(&self, offer: &PaymentRequirements<'_>) -> bool {
        self.as_ref().is_some_and(|wallet| wallet.pays(offer))
    }

    fn pays_to(&self, offer: &PaymentRequirements<'_>) -> bool {
        self.as_ref().is_some_and(|wallet| wallet.pays_to(offer))
    }

    fn decimals(&self, offer: &PaymentRequirements<'_>) -> Option<u8> {
        self.as_ref()?.decimals(offer)
    }
}

/// A buyer's limits on prices and payees. By default: at most one dollar a payment, in known
/// stablecoins, on any network the wallet pays on, to anybody, without end.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'p> {
    /// Most for one payment. A stablecoin counts as the money it stands for.
    pub max: Money,
    /// Limits on the sum of many payments. A payment that alone exceeds one is not chosen;
    /// [`Spending`](crate::budget::Spending) knows the earlier ones.
    pub limits: &'p [Limit<'p>],
    /// Above this, a payment needs a person's consent: see [`Choice::asks`].
    pub ask_above: Option<Money>,
    /// Hosts allowed, in any letter case, without a final dot, and with the port unless it is 80 or 443;
    /// `None` allows all.
    pub hosts: Option<&'p [&'p str]>,
    /// Networks allowed, in either version's spelling; `None` allows all.
    pub networks: Option<&'p [Network<'p>]>,
    /// Assets allowed besides those the wallet knows.
    pub assets: &'p [Asset<'p>],
    /// Payees allowed, compared without letter case if they start with `0x`; `None` allows all.
    pub payees: Option<&'p [&'p str]>,
}

/// An asset a buyer accepts on its own judgement.
#[derive(Clone, Copy, Debug)]
pub struct Asset<'p> {
    /// Its network.
    pub network: Network<'p>,
    /// Its address, compared without letter case if it starts with `0x`.
    pub address: &'p str,
    /// Its decimals, which turn the limit in money into units.
    pub decimals: u8,
}

impl Asset<'_> {
    /// Returns whether an offer asks for this asset.
    pub fn matches(&self, offer: &PaymentRequirements<'_>) -> bool {
        self.network.is_same(offer.network) && same_address(self.address, offer.asset.as_str())
    }
}

impl Default for Policy<'_> {
    fn default() -> Self {
        Self {
            max: Money::ONE,
            limits: &[],
            ask_above: None,
            hosts: None,
            networks: None,
            assets: &[],
            payees: None,
        }
    }
}

/// Why no offer of a challenge was chosen: the last hurdle that any of them reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Decline {
    /// There are no offers.
    NoOffers,
    /// No offer can be read.
    Unreadable,
    /// The wallet pays none of the schemes and networks offered, or the offers lack something it
    /// needs. On Solana that is a fee payer, a known token, or a memo of at most 256 bytes.
    Unpayable,
    /// No payee can be meant: each is nobody's address, the token's, the buyer's own, or a mistyped
    /// one.
    NoPayee,
    /// The policy does not allow the host.
    Host,
    /// The payment flow is one this library does not support.
    PaymentFlow,
    /// The policy allows none of the networks.
    Network,
    /// None of the assets is known or allowed.
    Asset,
    /// None of the payees is allowed.
    Payee,
    /// All are above the limit.
    OverLimit,
}

impl fmt::Display for Decline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOffers => "no offers",
            Self::Unreadable => "no offer that can be read",
            Self::Unpayable => "no offer this wallet can pay",
            Self::NoPayee => "no offer to an address that can be meant",
            Self::Host => "not an allowed host",
            Self::PaymentFlow => "no offer with a known payment flow",
            Self::Network => "no offer on an allowed network",
            Self::Asset => "no offer in a known asset",
            Self::Payee => "no offer to an allowed payee",
            Self::OverLimit => "every offer is above the limit",
        })
    }
}

impl core::error::Error for Decline {}

/// The offer chosen from a challenge.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The challenge.
    pub required: PaymentRequired<'a>,
    /// The offer.
    pub offer: PaymentRequirements<'a>,
    /// Its place in `accepts`.
    pub index: usize,
    /// When it is settled.
    pub flow: Flow,
    /// Decimals of its token.
    pub decimals: u8,
    /// Whether a person must consent before it is signed: it is above [`Policy::ask_above`].
    pub asks: bool,
}

/// Chooses the first offer of `host` that the wallet pays and the policy allows. An offer that
/// settles after the resource was made comes before one that settles first.
///
/// # Errors
/// [`Decline`].
pub fn choose<'a>(
    required: &PaymentRequired<'a>,
    host: &str,
    wallet: &impl Wallet,
    policy: &Policy<'_>,
) -> Result<Choice<'a>, Decline> {
    let mut decline = Decline::NoOffers;
    let mut upfront = None;
    // Not through `choices`: its choices within results within options take a kilobyte of stack.
    for (index, entry) in considered(required) {
        match consider(required, (index, &entry), host, wallet, policy) {
            Ok(choice) if choice.flow == Flow::Authorization => return Ok(choice),
            Ok(choice) => upfront = upfront.or(Some(choice)),
            Err(hurdle) => decline = decline.max(hurdle),
        }
    }
    upfront.ok_or(decline)
}

/// Returns, for each offer in the challenge's order, its [`Choice`], or the [`Decline`] of wallet or
/// policy. Only the first [`OFFERS`](crate::limits::OFFERS) are considered.
pub fn choices<'c, 'a: 'c>(
    required: &'c PaymentRequired<'a>,
    host: &'c str,
    wallet: &'c impl Wallet,
    policy: &'c Policy<'_>,
) -> impl Iterator<Item = Result<Choice<'a>, Decline>> + 'c {
    considered(required)
        .map(move |(index, entry)| consider(required, (index, &entry), host, wallet, policy))
}

fn considered<'a>(
    required: &PaymentRequired<'a>,
) -> impl Iterator<Item = (usize, Entry<'a, PaymentRequirements<'a>>)> + use<'a> {
    required.accepts.entries().take(crate::limits::OFFERS).enumerate()
}

fn consider<'a>(
    required: &PaymentRequired<'a>,
    (index, entry): (usize, &Entry<'a, PaymentRequirements<'a>>),
    host: &str,
    wallet: &impl Wallet,
    policy: &Policy<'_>,
) -> Result<Choice<'a>, Decline> {
    let offer = entry.read.as_ref().map_err(|_| Decline::Unreadable)?;
    let (flow, decimals) = policy.allows(offer, host, wallet)?;
    let asks = policy.ask_above.is_some_and(|above| !above.covers(offer.amount, decimals));
    Ok(Choice { required: *required, offer: *offer, index, flow, decimals, asks })
}

/// When a payment is settled: `extra.paymentFlow`, `"authorization"` or `"upfront"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Flow {
    /// After the resource was made (the default).
    Authorization,
    /// Before anything is done.
    Upfront,
}

impl Flow {
    /// Returns the flow of an offer; `None` for one this library does not support.
    pub fn from_requirements(offer: &PaymentRequirements<'_>) -> Option<Self> {
        let Some(flow) = offer.extra.and_then(|extra| extra.get("paymentFlow")) else {
            return Some(Self::Authorization);
        };
        if flow.as_str() == "null" {
            return Some(Self::Authorization);
        }
        match flow.as_string()?.as_str()? {
            "authorization" => Some(Self::Authorization),
            "upfront" => Some(Self::Upfront),
            _ => None,
        }
    }
}

impl Policy<'_> {
    fn allows(
        &self,
        offer: &PaymentRequirements<'_>,
        host: &str,
        wallet: &impl Wallet,
    ) -> Result<(Flow, u8), Decline> {
        if !wallet.pays(offer) {
            return Err(Decline::Unpayable);
        }
        if !wallet.pays_to(offer) {
            return Err(Decline::NoPayee);
        }
        let same = |allowed: &&str| allowed.eq_ignore_ascii_case(host);
        if !self.hosts.is_none_or(|hosts| hosts.iter().any(same)) {
            return Err(Decline::Host);
        }
        let flow = Flow::from_requirements(offer).ok_or(Decline::PaymentFlow)?;
        let among = |networks: &[Network<'_>]| networks.iter().any(|n| n.is_same(offer.network));
        if !self.networks.is_none_or(among) {
            return Err(Decline::Network);
        }
        let own = self.assets.iter().find(|asset| asset.matches(offer));
        let known = own.map(|asset| asset.decimals).or_else(|| wallet.decimals(offer));
        let decimals = known.ok_or(Decline::Asset)?;
        let pays = |payees: &[&str]| payees.iter().any(|p| same_address(p, offer.pay_to.as_str()));
        if !self.payees.is_none_or(pays) {
            return Err(Decline::Payee);
        }
        if !self.max.covers(offer.amount, decimals) {
            return Err(Decline::OverLimit);
        }
        if !self.limits.is_empty() {
            let spend = spend(offer, host, decimals, 0).ok_or(Decline::Unpayable)?;
            let fits = admit(self.limits, core::iter::empty(), &spend);
            fits.map_err(|_| Decline::OverLimit)?;
        }
        Ok((flow, decimals))
    }
}

/// Returns a payment of an offer as limits see it; `None` if an address of it is no plain text.
fn spend(offer: &PaymentRequirements<'_>, host: &str, decimals: u8, at: u64) -> Option<Spend> {
    Some(Spend {
        at,
        host: Key::host(host),
        payee: Key::address(offer.pay_to.as_str()?),
        asset: Key::asset(offer.network, offer.asset.as_str()?),
        decimals,
        amount: offer.amount,
    })
}

/// Returns whether two addresses are the same. Those with `0x` are one in any letter case, others
/// only as written. `None` is an address that is no plain text.
pub fn same_address(mine: &str, theirs: Option<&str>) -> bool {
    theirs.is_some_and(|theirs| {
        theirs == mine || (mine.starts_with("0x") && mine.eq_ignore_ascii_case(theirs))
    })
}

impl<'a> Choice<'a> {
    /// Returns the payment as limits see it, at `at` (see [`Spend::at`]). `None` if an address of the
    /// offer is no plain text; wallets of this library do not pay such an offer.
    pub fn spend(&self, host: &str, at: u64) -> Option<Spend> {
        spend(&self.offer, host, self.decimals, at)
    }

    /// Returns the payment that accepts the offer, see [`payment`].
    pub fn payment(&self, payload: RawJson<'a>) -> PaymentPayload<'a> {
        payment(&self.required, &self.offer, payload)
    }
}

/// Returns the payment that accepts one of a challenge's offers with the scheme's signed `payload`.
/// Resource, offer and extensions are echoed as they came. Extensions that no payment may have, such as
/// those with repeated keys, are left out.
pub fn payment<'a>(
    required: &PaymentRequired<'a>,
    offer: &PaymentRequirements<'a>,
    payload: RawJson<'a>,
) -> PaymentPayload<'a> {
    let v2 = required.x402_version == Version::V2;
    PaymentPayload {
        resource: required.resource.filter(|_| v2),
        accepted: if v2 {
            Accepted::V2(*offer)
        } else {
            // An offer in v2's shape has v2's spelling.
            let name = offer.network.v1_name().filter(|_| offer.v1.is_none());
            let name = name.and_then(|name| Network::parse(name).ok());
            Accepted::V1 { scheme: offer.scheme, network: name.unwrap_or(offer.network) }
        },
        payload,
        // Extensions that the reader of payments refuses are left out.
        extensions: required.extensions.filter(|it| v2 && it.is_strict(1)),
        other: Default::default(),
    }
}

/// Reads the challenge of a 402: from the header if there is one, else from a body whose `x402Version`
/// names the version. `scratch` must hold [`decoded_len`](crate::base64::decoded_len) bytes of the header.
///
/// # Errors
/// [`ParseError`]; also for an unreadable header, even beside a readable body: two accounts of one
/// price are not weighed against each other.
pub fn read_challenge<'a>(
    header: Option<&[u8]>,
    body: &'a [u8],
    scratch: &'a mut [u8],
) -> Result<PaymentRequired<'a>, ParseError> {
    match header {
        Some(header) => PaymentRequired::decode_header(header, scratch),
        None => PaymentRequired::parse(body),
    }
}

/// The next step after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Next {
    /// A 402 before anything was paid: read the challenge, choose, sign, then
    /// [`PayOnce::paid`].
    Pay,
    /// Hand the answer to the caller; there may be a receipt with it.
    Done,
    /// A 402 although a payment was sent: it was refused, and no other may be signed.
    Refused,
}

/// One purchase, at most one signature.
///
/// A seller cannot get a second payment out of it by another challenge or a redirect. The same
/// payment may be presented again: it is the same money.
#[derive(Debug, Default)]
pub struct PayOnce {
    paid: bool,
}

impl PayOnce {
    /// Returns a purchase before its first request.
    pub const fn new() -> Self {
        Self { paid: false }
    }

    /// Returns the next step after an answer of this status.
    pub const fn answered(&self, status: u16) -> Next {
        match (status, self.paid) {
            (http::STATUS_PAYMENT_REQUIRED, false) => Next::Pay,
            (http::STATUS_PAYMENT_REQUIRED, true) => Next::Refused,
            _ => Next::Done,
        }
    }

    /// Notes that a payment is about to be signed; returns `false` from the second time on, when
    /// none may be signed.
    #[must_use]
    pub const fn paid(&mut self) -> bool {
        !core::mem::replace(&mut self.paid, true)
    }
}

/// Returns a buyer's way out of a refusal, as far as the seller's answer shows it. No reason, or an
/// unknown one, counts as "the same again": the payment may have been made.
pub fn retry(receipt: Option<&SettleResponse<'_>>) -> Retry {
    let reason = receipt.and_then(|receipt| receipt.error_reason?.as_str()).and_then(Reason::parse);
    reason.map_or(Retry::SameAgain, Reason::retry)
}
