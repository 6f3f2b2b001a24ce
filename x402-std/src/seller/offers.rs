//! Offers: the goods and prices of one request.

use std::fmt;

use x402_core::crypto::keccak256;
use x402_core::domain;
use x402_core::{Money, Network, ParseError, Reason, Version, seller, wire};

use super::MAX_TIMEOUT_SECONDS;
use crate::facilitator::FacilitatorError;
use crate::message::{Json, PaymentRequirements, ResourceInfo, SupportedResponse, to_json};

/// The resource that one request buys, and its offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Offers {
    /// The resource. The transport fills in an empty `url`.
    pub resource: ResourceInfo,
    /// The offers, in the seller's order of preference.
    pub accepts: Vec<PaymentRequirements>,
    /// The announced extensions, an object.
    pub extensions: Option<Json>,
}

impl Offers {
    /// Returns one or more offers for a resource without a description.
    pub fn new(accepts: impl IntoIterator<Item = PaymentRequirements>) -> Self {
        let accepts = accepts.into_iter().collect();
        Self { resource: ResourceInfo::default(), accepts, extensions: None }
    }

    /// Sets the description of the resource.
    pub fn with_description(
        mut self,
        description: impl Into<String>,
        mime_type: impl Into<String>,
    ) -> Self {
        self.resource.description = Some(description.into());
        self.resource.mime_type = Some(mime_type.into());
        self
    }

    pub(super) fn with_seller<T>(&self, use_it: impl FnOnce(seller::Seller<'_>) -> T) -> T {
        let accepts: Vec<_> = self.accepts.iter().map(PaymentRequirements::as_view).collect();
        use_it(seller::Seller {
            resource: self.resource.as_view(),
            accepts: &accepts,
            extensions: self.extensions.as_ref().map(Json::as_raw),
        })
    }

    /// Adds the facilitator's part of the offers from its `/supported` answer. On Solana it is the fee payer;
    /// from a simulated facilitator, also the blockhash that never expires.
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

    /// Ties payments on Solana to their request. The buyer signs a memo, which must be the one that this
    /// secret gives for `method`, `path` and the offer. An offer with a memo keeps its own. On EVM networks,
    /// the payee is the only signed field that can name the resource.
    pub fn with_memo(mut self, secret: &[u8; 32], method: &str, path: &str) -> Self {
        for offer in &mut self.accepts {
            let has_memo =
                offer.extra.as_ref().is_some_and(|extra| extra.as_raw().get("memo").is_some());
            if offer.network.as_view().solana().is_none() || has_memo {
                continue;
            }
            // Each has one length, so that different parts never join to the same bytes.
            let hash = |part: &str| keccak256(&[part.as_bytes()]);
            let memo = keccak256(&[
                domain::MEMO,
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

    /// Returns the challenge as JSON. In version 1 it has only the offers on networks with a v1 name.
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

/// The error for an offer that a facilitator does not settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Its place among the offers.
    pub index: usize,
}

/// The reason for which a seller cannot complete its offers.
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

/// The reason for which an offer cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OfferError {
    /// Not an EVM or Solana network, as CAIP-2 id or v1 name.
    Network,
    /// This network has no known token of this name that can be paid with: build the offer by hand.
    NoKnownAsset,
    /// The payee is not an address, or its checksum is wrong.
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

/// Returns an offer of the scheme `exact` in the network's default stablecoin. The network may be a CAIP-2 id
/// or a v1 name; the offer has the id. On Solana it lacks the fee payer, which the facilitator names: see
/// [`Offers::with_supported`]. [`with_extra`](PaymentRequirements::with_extra) can demand a memo.
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

/// As [`exact`], in a known token, given by its symbol in any letter case.
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

/// An offer's fields about its token and payee.
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

/// The reason for which offers are unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffersError {
    /// The index of the offer that cannot be paid; `None` if there are no offers, or the extensions are not
    /// an object.
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
