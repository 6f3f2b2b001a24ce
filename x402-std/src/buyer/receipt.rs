//! The proof in a receipt.

use std::fmt;

use x402_core::wire::{self, Message as _};
use x402_core::{Network, buyer};
use x402_evm::{Eip3009Payload, TransferProofPayload};
use x402_svm::message::{TRANSACTION_V1_BYTES, Transaction};

use crate::message::{PaymentRequirements, SettleResponse};
use crate::transport::PaymentText;

/// Why a receipt that says "success" does not prove that a payment was made.
///
/// Nothing here is stricter than the specification: a receipt of which one of these is true belongs to
/// another payment, or to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// The answer is an error, or sends the buyer elsewhere: see
    /// [`Transport::is_delivery`](crate::transport::Transport::is_delivery).
    NotDelivered,
    /// It gives the reason of a failure beside its success.
    Contradiction,
    /// It names no transaction, or one whose id is none of the payment's network.
    Transaction,
    /// It is of another network.
    Network,
    /// Its payer is not the one of this payment.
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
            Self::Network => "it is of another network",
            Self::Payer => "it is of another payer",
            Self::Amount => "its amount is less than the price",
        })
    }
}

impl std::error::Error for Doubt {}

/// Why a receipt does not prove that `payment` was made; `None` if it does. Without an offer, as much
/// is compared as the payment says of itself.
pub(super) fn doubt(
    receipt: &SettleResponse,
    is_delivery: bool,
    payment: &PaymentText,
    offer: Option<&PaymentRequirements>,
) -> Option<Doubt> {
    let sent = wire::PaymentPayload::parse(payment.json.as_bytes()).ok();
    let network = match offer {
        Some(offer) => Some(offer.network.view()),
        None => sent.as_ref().map(wire::PaymentPayload::network),
    };
    // Some facilitators leave empty what others leave out.
    let given = |text: &str| !text.is_empty();
    let same_network = |network: Network<'_>| {
        let theirs = Network::parse(&receipt.network);
        theirs.is_ok_and(|theirs| theirs.is_same(network))
    };
    let payer = sent.as_ref().and_then(payer);
    let theirs = receipt.payer.as_deref().filter(|payer| given(payer));
    let least = offer.map(|offer| offer.amount);
    // Some leave the amount empty. One that cannot be read may be less.
    let odd = |key: &str| {
        let value = receipt.other.as_ref()?.raw().get(key)?;
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

/// Whether a text can be a transaction's id on the payment's network; on Solana it must read as one.
fn is_transaction(text: &str, network: Option<Network<'_>>) -> bool {
    let reads = |network: Network<'_>| {
        network.solana().is_none() || x402_svm::base58::decode::<64>(text).is_some()
    };
    !text.trim().is_empty()
        && network.is_none_or(|network| network.is_transaction(text) && reads(network))
}

/// The payer of a payment of a scheme that is known here.
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
