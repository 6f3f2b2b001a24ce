//! Why no offer of a challenge was chosen.

use std::fmt;

use x402_core::Money;
use x402_core::buyer::{Decline, Wallet};

use super::Policy;
use crate::message::{Entry, PaymentRequirements, ReadError};

/// Highest number of offers that are shown with a reason.
const SHOWN: usize = 8;

/// Highest number of characters that are shown of a seller's text.
const WORD_CHARS: usize = 40;

/// Why no offer of a challenge was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// The last check that any offer reached.
    pub reason: Decline,
    /// Each offer, in the challenge's order.
    pub offers: Vec<DeclinedOffer>,
}

/// The reason why an offer was not chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclinedOffer {
    /// Its place in the challenge, from 0.
    pub index: usize,
    /// The failed check.
    pub reason: Decline,
    /// The fault, as text. It can quote the seller, without control characters.
    pub detail: String,
}

impl From<Decline> for Declined {
    fn from(reason: Decline) -> Self {
        Self { reason, offers: Vec::new() }
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)?;
        for (place, offer) in self.offers.iter().take(SHOWN).enumerate() {
            f.write_str(if place == 0 { ": " } else { "; " })?;
            write!(f, "offer {} {}", offer.index, offer.detail)?;
        }
        match self.offers.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Declined {}

impl DeclinedOffer {
    pub(super) fn new(
        index: usize,
        reason: Decline,
        entry: &Entry<PaymentRequirements>,
        policy: &Policy,
        wallet: &impl Wallet,
    ) -> Self {
        let detail = match entry {
            Entry::Unread { json, error } => {
                format!("cannot be read: {}", ReadError::new(*error, json.as_str().as_bytes()))
            }
            Entry::Read(offer) => detail(reason, offer, policy, wallet),
        };
        Self { index, reason, detail }
    }
}

fn detail(
    reason: Decline,
    offer: &PaymentRequirements,
    policy: &Policy,
    wallet: &impl Wallet,
) -> String {
    let network = &offer.network;
    let (asset, payee) = (word(&offer.asset), word(&offer.pay_to));
    match reason {
        Decline::Unpayable => {
            format!(
                "is for the scheme {} on {network}: the wallet has no key for it, or the offer is \
                     incomplete",
                word(&offer.scheme)
            )
        }
        Decline::NoPayee => format!("pays {payee}, which is not a possible payee"),
        Decline::PaymentFlow => "has an unknown payment flow".into(),
        Decline::Network => format!("is on {network}"),
        Decline::Asset => format!("is in {asset} on {network}, which is not a known token"),
        Decline::Payee => format!("pays {payee}"),
        Decline::OverLimit => {
            let view = offer.as_view();
            let own = policy.assets.iter().find(|asset| asset.as_view().matches(&view));
            let decimals = own.map(|asset| asset.decimals).or_else(|| wallet.decimals(&view));
            match decimals.and_then(|decimals| Money::from_units(offer.amount, decimals)) {
                Some(price) => format!("asks {price} on {network}"),
                None => format!("asks {} units of {asset} on {network}", offer.amount),
            }
        }
        Decline::NoOffers | Decline::Unreadable | Decline::Host => format!("is on {network}"),
    }
}

/// Returns a seller's text for display, cut and escaped.
fn word(text: &str) -> String {
    let cut = text.char_indices().nth(WORD_CHARS).map_or(text.len(), |(at, _)| at);
    let more = if cut < text.len() { "…" } else { "" };
    format!("{}{more}", text[..cut].escape_debug())
}
