//! Purchases, and limits on their sum, which hold over crashes and between processes.
//!
//! A payment is reserved before it is signed: it is recorded if it fits all [`Limit`]s, in one step with the
//! sum of earlier payments. A reservation without a signature is given back, unless the transfer [may have
//! been sent](crate::buyer::wallet::SignFailure::Sent). Every other payment counts from then on, even if the
//! seller reports a refusal: the holder of a signed payment can settle it. There is one bounded exception. Of
//! the payments that were refused because the wallet has too little, three a day stop counting once they have
//! expired ([`State::Unfunded`]). A limit per day forgets a payment a day after it was reserved, even if it
//! is settled later. A payment can be settled as late as its offer allows: the limit is on authorisations.
//!
//! | budget | feature | for | forgets when |
//! |---|---|---|---|
//! | [`MemoryBudget`] | | tests, one process | the process ends |
//! | [`SqliteBudget`] | `sqlite` | the processes of one host | its disk is lost |
//!
//! The rules are the core's ([`x402_core::budget`]), the same for a board.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use x402_core::Reason;
pub use x402_core::budget::Per;
use x402_core::budget::{Exceeded, Key, Spend};

use crate::message::{NetworkId, PaymentRequirements, SettleResponse};
use crate::transport::PaymentText;

mod host;
mod limit;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use host::{HostError, host};
pub use limit::{Limit, LimitError, Most, Scope, Usage, usage};
pub use memory::MemoryBudget;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteBudget;

/// A purchase, finished or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Purchase {
    /// Its id, chosen by the buyer.
    pub id: String,
    /// When it was reserved, in Unix seconds.
    pub at: u64,
    /// The host of the request; see [`Subject`](crate::transport::Subject).
    pub host: String,
    /// The request, in a line for people.
    pub what: String,
    /// A hash of the request.
    pub digest: [u8; 32],
    /// The offer that is paid.
    pub offer: PaymentRequirements,
    /// Decimals of its token.
    pub decimals: u8,
    /// The payment, from its signature until its receipt.
    pub payment: Option<PaymentText>,
    /// Its outcome.
    pub state: State,
}

/// The outcome of a purchase. All of them count; [`State::Unfunded`] counts until the payment has expired.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The payment is about to be signed, or its process died before that.
    Reserved,
    /// The payment was signed, and may have been sent and made.
    Signed,
    /// The payment was made: the seller gave a receipt.
    Paid(Box<SettleResponse>),
    /// The seller reported a refusal, with its reason if that is known.
    Refused(Option<Reason>),
    /// The seller reported a refusal because the wallet has too little. A seller that lies can take the money
    /// all the same. So at most three refusals a day get this state; others are [`State::Refused`].
    Unfunded(Reason),
}

/// Most purchases a day that are [`State::Unfunded`].
const UNFUNDED_A_DAY: usize = 3;

/// Seconds from the end of an offer until its payment has certainly expired: clocks differ, and so does the
/// life of a blockhash.
const EXPIRED_AFTER: u64 = 120;

/// Whether the reason of a refusal is that the wallet has too little.
const fn is_shortage(reason: Option<Reason>) -> bool {
    matches!(
        reason,
        Some(
            Reason::InsufficientFunds
                | Reason::InvalidExactEvmInsufficientBalance
                | Reason::Permit2InsufficientBalance
        )
    )
}

impl Purchase {
    /// Whether limits count it at `now`.
    pub fn counts(&self, now: u64) -> bool {
        let life = self.offer.max_timeout_seconds.saturating_add(EXPIRED_AFTER);
        !matches!(self.state, State::Unfunded(_)) || now <= self.at.saturating_add(life)
    }

    /// Returns the purchase as limits count it.
    pub fn spend(&self) -> Spend {
        spend_of(&self.host, &self.offer, self.decimals, self.at)
    }
}

/// Returns a payment of an offer as limits count it.
pub(crate) fn spend_of(host: &str, offer: &PaymentRequirements, decimals: u8, at: u64) -> Spend {
    let token = (&offer.network, offer.asset.as_str());
    Spent::spend(at, host, &offer.pay_to, token, decimals, offer.amount)
}

/// A sum that is reserved or spent, with its names.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// The host of the requests.
    pub host: String,
    /// The payee.
    pub pay_to: String,
    /// The token's network.
    pub network: NetworkId,
    /// The token.
    pub asset: String,
    /// The sum as limits count it.
    pub spend: Spend,
}

impl Spent {
    fn spend(
        at: u64,
        host: &str,
        pay_to: &str,
        (network, asset): (&NetworkId, &str),
        decimals: u8,
        amount: x402_core::Amount,
    ) -> Spend {
        Spend {
            at,
            host: Key::host(host),
            payee: Key::address(pay_to),
            asset: Key::asset(network.as_view(), asset),
            decimals,
            amount,
        }
    }
}

impl From<&Purchase> for Spent {
    fn from(purchase: &Purchase) -> Self {
        let offer = &purchase.offer;
        Self {
            host: purchase.host.clone(),
            pay_to: offer.pay_to.clone(),
            network: offer.network.clone(),
            asset: offer.asset.clone(),
            spend: purchase.spend(),
        }
    }
}

/// The outcome of an attempt to reserve.
#[derive(Clone, Debug, PartialEq)]
pub enum Reserved {
    /// It is reserved.
    New,
    /// A purchase of this id exists, and nothing was done.
    Known(Box<Purchase>),
}

/// A step in the record of a purchase.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing was signed: the purchase is forgotten. Only from [`State::Reserved`].
    Released,
    /// This payment was signed, and is about to be sent.
    Signed(PaymentText),
    /// The payment was made, with this receipt.
    Paid(Box<SettleResponse>),
    /// The payment was refused.
    Refused(Option<Reason>),
}

/// Why nothing was reserved or recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BudgetError {
    /// The payment exceeds the limit at this place in the list, from 0.
    Exceeded(usize),
    /// The budget cannot be read or written. The purchase may be reserved all the same.
    Unavailable,
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exceeded(index) => write!(f, "the payment exceeds limit {index} of the budget"),
            Self::Unavailable => f.write_str("the budget cannot be read or written: see the log"),
        }
    }
}

impl std::error::Error for BudgetError {}

impl From<Exceeded> for BudgetError {
    fn from(exceeded: Exceeded) -> Self {
        match exceeded {
            Exceeded::Limit(index) => Self::Exceeded(index),
            Exceeded::Full => Self::Unavailable,
        }
    }
}

/// The record of purchases, which reserves those that fit the limits.
pub trait Budget: Send + Sync {
    /// Records a purchase, if it fits all limits together with all recorded purchases, in one step. Any
    /// number of processes may share the budget and reserve at the same time: only as many succeed as fit.
    ///
    /// # Errors
    /// [`BudgetError`].
    fn reserve(
        &self,
        purchase: Purchase,
        limits: &[Limit],
    ) -> impl Future<Output = Result<Reserved, BudgetError>> + Send;

    /// Records the outcome of a purchase. A purchase that is paid or missing stays as it is.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`]; also for [`Step::Signed`] of such a purchase.
    fn write(&self, id: &str, step: Step) -> impl Future<Output = Result<(), BudgetError>> + Send;

    /// The purchase of this id.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`].
    fn find(&self, id: &str) -> impl Future<Output = Result<Option<Purchase>, BudgetError>> + Send;

    /// The last purchases, at most `most`, the latest first. Unreadable ones are left out, and logged.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`].
    fn history(
        &self,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Purchase>, BudgetError>> + Send;

    /// All sums that count at `now`, for [`usage`]. Those older than a day may be added up.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`].
    fn spends(&self, now: u64) -> impl Future<Output = Result<Vec<Spent>, BudgetError>> + Send;
}

/// A shared budget.
impl<B: Budget> Budget for Arc<B> {
    fn reserve(
        &self,
        purchase: Purchase,
        limits: &[Limit],
    ) -> impl Future<Output = Result<Reserved, BudgetError>> + Send {
        (**self).reserve(purchase, limits)
    }

    fn write(&self, id: &str, step: Step) -> impl Future<Output = Result<(), BudgetError>> + Send {
        (**self).write(id, step)
    }

    fn find(&self, id: &str) -> impl Future<Output = Result<Option<Purchase>, BudgetError>> + Send {
        (**self).find(id)
    }

    fn history(
        &self,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Purchase>, BudgetError>> + Send {
        (**self).history(most)
    }

    fn spends(&self, now: u64) -> impl Future<Output = Result<Vec<Spent>, BudgetError>> + Send {
        (**self).spends(now)
    }
}
