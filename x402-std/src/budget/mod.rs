//! Purchases and limits on more of them, which hold over crashes and between processes.
//!
//! Before a payment is signed it is reserved: written down if it fits all [`Limit`]s, in one step with
//! the look at what was spent before. What was not signed after all is given back (but not what
//! [may have been sent](crate::wallet::SignFailure::Sent)). Everything else
//! counts from then on, whatever the seller says became of it: who has a signed payment can settle
//! it, and "refused" is only the seller's word. One exception is bounded: of the payments that were
//! refused because the wallet has too little, three a day stop counting once they have expired
//! ([`State::Unfunded`]). A day's limit forgets a payment a day after it was reserved;
//! that it may be settled later, as late as its offer allows, makes no difference to what was
//! authorised in a day.
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

/// Something that is being bought, or was.
#[derive(Clone, Debug, PartialEq)]
pub struct Purchase {
    /// By which it is known again, chosen by whoever buys.
    pub id: String,
    /// When it was reserved, in Unix seconds.
    pub at: u64,
    /// The host that was asked; see [`Subject`](crate::transport::Subject).
    pub host: String,
    /// What for.
    pub what: String,
    /// A hash of all that was asked.
    pub digest: [u8; 32],
    /// The offer that is paid.
    pub offer: PaymentRequirements,
    /// Decimals of its token.
    pub decimals: u8,
    /// The payment, once it is signed and until it is known to be made.
    pub payment: Option<PaymentText>,
    /// Its outcome.
    pub state: State,
}

/// The outcome of a purchase. All of them count; one that is [`State::Unfunded`] until its payment has
/// expired.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The payment is about to be signed, or whoever was about to has died.
    Reserved,
    /// It was signed, and may have been sent and made.
    Signed,
    /// It was made: the seller gave a receipt.
    Paid(Box<SettleResponse>),
    /// It was refused, the seller says, and why, if that is a known reason.
    Refused(Option<Reason>),
    /// It was refused because the wallet has too little, the seller says. A seller that lies has the money
    /// all the same, so no more than three refusals a day come to this state; others are
    /// [`State::Refused`].
    Unfunded(Reason),
}

/// So many purchases a day are [`State::Unfunded`].
const UNFUNDED_A_DAY: usize = 3;

/// How much later than its offer says a payment has certainly expired: clocks differ, and so does the
/// life of a blockhash.
const EXPIRED_AFTER: u64 = 120;

/// Whether a refusal says that the wallet has too little.
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
    /// Whether limits count it at this time.
    pub fn counts(&self, now: u64) -> bool {
        let life = self.offer.max_timeout_seconds.saturating_add(EXPIRED_AFTER);
        !matches!(self.state, State::Unfunded(_)) || now <= self.at.saturating_add(life)
    }

    /// The purchase as limits see it.
    pub fn spend(&self) -> Spend {
        spend_of(&self.host, &self.offer, self.decimals, self.at)
    }
}

/// A payment of an offer as limits see it.
pub(crate) fn spend_of(host: &str, offer: &PaymentRequirements, decimals: u8, at: u64) -> Spend {
    let token = (&offer.network, offer.asset.as_str());
    Spent::spend(at, host, &offer.pay_to, token, decimals, offer.amount)
}

/// The sums reserved or spent, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// The host that was asked.
    pub host: String,
    /// The payee.
    pub pay_to: String,
    /// The token's network.
    pub network: NetworkId,
    /// The token.
    pub asset: String,
    /// As limits see it.
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
            asset: Key::asset(network.view(), asset),
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
    /// There is a purchase of this id, and nothing was done.
    Known(Box<Purchase>),
}

/// The record of a purchase.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing was signed: forget it. Only from [`State::Reserved`].
    Released,
    /// This was signed, and is about to be sent.
    Signed(PaymentText),
    /// It was made, and this is the receipt.
    Paid(Box<SettleResponse>),
    /// It was refused.
    Refused(Option<Reason>),
}

/// Why nothing was reserved or written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetError {
    /// It does not fit the limit at this place in the list.
    Exceeded(usize),
    /// The budget cannot be read or written. What was to be reserved may be.
    Unavailable,
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exceeded(index) => write!(f, "over limit {index}"),
            Self::Unavailable => f.write_str("the budget cannot be read or written"),
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

/// Remembers what was bought, and reserves what fits.
pub trait Budget: Send + Sync {
    /// Writes a purchase down if it fits all limits together with all that was written down before,
    /// as one step: of several at the same time, in any number of processes that share the budget,
    /// no more succeed than fit.
    ///
    /// # Errors
    /// [`BudgetError`].
    fn reserve(
        &self,
        purchase: Purchase,
        limits: &[Limit],
    ) -> impl Future<Output = Result<Reserved, BudgetError>> + Send;

    /// Writes down what became of a purchase. Of one that is paid, or not there, nothing is written.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`]; also if a payment was signed for one of those.
    fn write(&self, id: &str, step: Step) -> impl Future<Output = Result<(), BudgetError>> + Send;

    /// The purchase of this id.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`].
    fn find(&self, id: &str) -> impl Future<Output = Result<Option<Purchase>, BudgetError>> + Send;

    /// The last purchases, at most so many, the latest first. One that cannot be read is left out, and
    /// said to be in the log.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`].
    fn history(
        &self,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Purchase>, BudgetError>> + Send;

    /// All that counts at this time, for [`usage`]; what is older than a day may be added up.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`].
    fn spends(&self, now: u64) -> impl Future<Output = Result<Vec<Spent>, BudgetError>> + Send;
}

/// Shared.
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
