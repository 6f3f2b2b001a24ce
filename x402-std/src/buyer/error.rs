//! The reasons for which nothing was bought.

use std::fmt;

use x402_core::{Amount, Reason, Retry};

use super::Declined;
use crate::buyer::budget::{BudgetError, Limit};
use crate::buyer::wallet::SignFailure;
use crate::message::{PaymentRequirements, SettleResponse};
use crate::transport::{ChallengeError, PaymentText};

/// An offer that costs more than a wallet has.
#[derive(Clone, Debug, PartialEq)]
pub struct Short {
    /// The account that would pay.
    pub owner: String,
    /// The balance, in units of the token.
    pub has: Amount,
    /// The price.
    pub offer: PaymentRequirements,
    /// Decimals of the token.
    pub decimals: u8,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, has, offer, .. } = self;
        let (asset, network) = (&offer.asset, &offer.network);
        write!(
            f,
            "not enough money: {owner} has {has} of {} units of {asset} on {network}",
            offer.amount
        )
    }
}

/// Why nothing was bought.
#[derive(Debug)]
pub enum BuyError<R, E> {
    /// The seller could not be reached, or may not be paid in this way. Nothing was signed or sent.
    Transport(E),
    /// The challenge cannot be read. Nothing was signed.
    Challenge(ChallengeError),
    /// No offer fits the policy. Nothing was signed.
    Declined(Declined),
    /// Offers fit the policy, but the rest of this limit is too small. Nothing was signed.
    OverBudget(Box<Limit>),
    /// The budget cannot be read or written. Nothing was sent; what was reserved may count.
    Budget(BudgetError),
    /// Every offer is worse than the quoted one. Nothing was signed.
    NotAsQuoted,
    /// The offer needs approval, and got none. Nothing was signed.
    NotApproved,
    /// This id belongs to another purchase.
    AnotherPurchase,
    /// A purchase of this id has no payment yet: it is under way, or its process died. Nothing was sent then,
    /// and nothing now.
    Unfinished,
    /// The purchase was made and paid before, with this receipt. Nothing was sent now.
    AlreadyBought(Box<SettleResponse>),
    /// Offers fit the policy, but a node reports that the wallet has too little. Nothing was signed.
    Short(Box<Short>),
    /// The offer fits the policy, but could not be signed. It counts, and may have been paid, only after
    /// [`SignFailure::Sent`].
    NotSigned(SignFailure),
    /// A payment was presented and refused. `payment` may be presented again only if `retry` allows it.
    Refused {
        /// The seller's answer.
        response: R,
        /// The reason, if the seller gave one that this library knows.
        reason: Option<Reason>,
        /// The reason in the seller's words, which may be anything.
        error: Option<String>,
        /// The way out.
        retry: Retry,
        /// The receipt, if the answer had one.
        receipt: Option<Box<SettleResponse>>,
        /// The payment that was refused.
        payment: PaymentText,
        /// The id of the purchase; empty from [`Buyer::present`](super::Buyer::present).
        id: String,
    },
    /// A payment was sent without an answer, and may have been made. Present it again: order with the same
    /// id, or use [`Buyer::present`](super::Buyer::present).
    Unclear {
        /// The fault.
        error: E,
        /// The payment.
        payment: PaymentText,
        /// The id of the purchase; empty from [`Buyer::present`](super::Buyer::present).
        id: String,
    },
}

impl<R, E: fmt::Display> fmt::Display for BuyError<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "no answer: {error}"),
            Self::Challenge(error) => write!(f, "the challenge cannot be read: {error}"),
            Self::Declined(decline) => write!(f, "declined: {decline}"),
            Self::OverBudget(limit) => {
                write!(f, "declined: the price is above the rest of the limit {limit}")
            }
            Self::Budget(error) => error.fmt(f),
            Self::NotAsQuoted => f.write_str("declined: every offer is worse than the quote"),
            Self::NotApproved => f.write_str("declined: the payment was not approved"),
            Self::AnotherPurchase => {
                f.write_str("the id belongs to another purchase: use another id")
            }
            Self::Unfinished => {
                f.write_str("a purchase of this id has no payment yet: wait, or use another id")
            }
            Self::AlreadyBought(_) => {
                f.write_str("bought and paid before: use another id to buy again")
            }
            Self::Short(short) => short.fmt(f),
            Self::NotSigned(failure) => failure.fmt(f),
            Self::Refused { reason: Some(reason), .. } => write!(f, "payment refused: {reason}"),
            Self::Refused { reason: None, .. } => f.write_str("payment refused"),
            Self::Unclear { error, .. } => {
                write!(f, "a payment was sent, and may have been made; present it again: {error}")
            }
        }
    }
}

impl<R: fmt::Debug, E: std::error::Error + 'static> std::error::Error for BuyError<R, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Transport(error) | Self::Unclear { error, .. } => Some(error),
            _ => None,
        }
    }
}
