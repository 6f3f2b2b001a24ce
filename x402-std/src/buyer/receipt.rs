//! Checks that a receipt proves a payment.

use std::fmt;

use x402_core::wire::{self, Message as _};
use x402_core::{Network, buyer};
use x402_evm::{Eip3009Payload, TransferProofPayload};
use x402_svm::message::{TRANSACTION_V1_BYTES, Transaction};

use crate::message::{PaymentRequirements, SettleResponse};
use crate::transport::PaymentText;

/// The reason why a receipt with "success" does not prove a payment.
///
/// A receipt with one of these faults belongs to another payment, or to none. No check is stricter than the
/// specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// The answer is an error or a redirect: see
    /// [`Transport::is_delivery`](crate::transport::Transport::is_delivery).
    NotDelivered,
    /// It gives an error beside its success.
    Contradiction,
    /// It names no transaction, or one whose id does not fit the payment's network.
    Transaction,
    /// It names another network.
    Network,
    /// It names another payer.
    Payer,
    /// Its amount is less than the offer's.
    Amount,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDelivered => "the answer is an error or a redirect",
            Self::Contradiction => "it gives an error beside its success",
            Self::Transaction => "it names no transaction of the payment's network",
            Self::Network => "it names another network",
            Self::Payer => "it names another payer",
            Self::Amount => "its amount is less than the price",
        })
    }
}

impl std::error::Error for Doubt {}

/// Returns why a receipt does not prove `payment`; `None` if it does. Without an offer, it is compared with
/// the payment alone.
pub(super) fn doubt(
    receipt: &SettleResponse,
    is_delivery: bool,
    payment: &PaymentText,
    offer: Option<&PaymentRequirements>,
) -> Option<Doubt> {
    let sent = wire::PaymentPayload::parse(payment.json.as_bytes()).ok();
    let network = match offer {
        Some(offer) => Some(offer.network.as_view()),
        None => sent.as_ref().map(wire::PaymentPayload::network),
    };
    // Some facilitators send empty members where others leave them out.
    let given = |text: &str| !text.is_empty();
    let same_network = |network: Network<'_>| {
        let theirs = Network::parse(&receipt.network);
        theirs.is_ok_and(|theirs| theirs.is_same(network))
    };
    let payer = sent.as_ref().and_then(payer);
    let theirs = receipt.payer.as_deref().filter(|payer| given(payer));
    let least = offer.map(|offer| offer.amount);
    // Some facilitators leave the amount empty. An unreadable amount may be less.
    let odd = |key: &str| {
        let value = receipt.other.as_ref()?.as_raw().get(key)?;
        (!matches!(value.as_str(), "\"\"" | "null")).then_some(value)
    };
    if !is_delivery {
        Some(Doubt::NotDelivered)
    } else if receipt.error_reason.as_deref().is_some_and(given) || odd("errorReason").is_some() {
        Some(Doubt::Contradiction)
    } else if !is_transaction(&receipt.transaction, network) {
        Some(Doubt::Transaction)
    } else if odd("network").is_some()
        || given(&receipt.network) && !network.is_none_or(same_network)
    {
        Some(Doubt::Network)
    } else if odd("payer").is_some() {
        Some(Doubt::Payer)
    } else if let (Some(payer), Some(theirs)) = (&payer, theirs)
        && !buyer::same_address(payer, Some(theirs))
    {
        Some(Doubt::Payer)
    } else if let (Some(least), Some(amount)) = (least, receipt.amount)
        && amount < least
    {
        Some(Doubt::Amount)
    } else if odd("amount").is_some() {
        Some(Doubt::Amount)
    } else {
        None
    }
}

/// Returns whether a text can be a transaction's id on the payment's network. On Solana it must parse as one.
fn is_transaction(text: &str, network: Option<Network<'_>>) -> bool {
    let reads = |network: Network<'_>| {
        network.solana().is_none() || x402_svm::base58::decode::<64>(text).is_some()
    };
    !text.trim().is_empty()
        && network.is_none_or(|network| network.is_transaction(text) && reads(network))
}

/// Returns the payer of a payment in a known scheme.
fn payer(payment: &wire::PaymentPayload<'_>) -> Option<String> {
    let payload = payment.payload;
    if payment.network().solana().is_some() {
        let mut scratch = [0; TRANSACTION_V1_BYTES];
        let bytes = x402_svm::read_transaction(payload, &mut scratch).ok()?;
        let transaction = Transaction::parse(bytes).ok()?;
        return x402_svm::payer(transaction.message()).map(|payer| payer.to_string());
    }
    let from = if TransferProofPayload::is_one(payload) {
        TransferProofPayload::read(payload).ok()?.from
    } else {
        Eip3009Payload::read(payload).ok()?.authorization.from
    };
    Some(from.to_string())
}
