//! The options of one purchase.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use x402_core::Money;
use x402_core::buyer::{self, Decline};

use super::{Asset, BuyError, Choice};
use crate::message::PaymentRequirements;

/// Options of one purchase. The default has none.
#[derive(Clone, Copy, Default)]
pub struct PurchaseOptions<'a> {
    /// The id of the purchase. A second order with it presents the same payment again, and is never charged
    /// twice; after a crash too, if the budget outlives it. Never use it for another purchase. `None` makes
    /// a random one.
    pub id: Option<&'a str>,
    /// Most for this payment, if it is less than the policy's.
    pub max: Option<Money>,
    /// An offer that was seen before: offers with a higher price, another token or another payee are not
    /// paid.
    pub quoted: Option<&'a PaymentRequirements>,
    /// Approves a payment above [`Policy::ask_above`](super::Policy::ask_above); without it, no such payment is made.
    pub approve: Option<Approve<'a>>,
    /// Gets the progress of the purchase.
    pub progress: Option<&'a (dyn Fn(Progress<'_>) + Sync)>,
}

/// Returns whether a payment is approved.
pub type Approve<'a> = &'a (dyn Fn(Ask) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> + Sync);

/// A payment to approve. All but the numbers are the seller's words.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The host that asks for it.
    pub host: String,
    /// The request, in a line for people.
    pub what: String,
    /// The offer.
    pub offer: PaymentRequirements,
    /// Decimals of the token.
    pub decimals: u8,
}

/// The progress of a purchase.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// This offer was chosen, and is about to be signed.
    Chosen(&'a PaymentRequirements),
    /// The payment was sent: the seller checks it, does the work, and settles it.
    Presented,
    /// The settlement is not certain yet: the same payment is presented again after this time.
    Pending(Duration),
}

impl fmt::Debug for PurchaseOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, max, quoted, .. } = self;
        f.debug_struct("PurchaseOptions")
            .field("id", id)
            .field("max", max)
            .field("quoted", quoted)
            .finish_non_exhaustive()
    }
}

impl PurchaseOptions<'_> {
    /// Why a choice does not fit the options.
    pub(super) fn objection<R, E>(&self, choice: &Choice) -> Option<BuyError<R, E>> {
        let Choice { offer, decimals, .. } = choice;
        if self.max.is_some_and(|max| !max.covers(offer.amount, *decimals)) {
            return Some(BuyError::Declined(Decline::OverLimit.into()));
        }
        let quoted = self.quoted?;
        let same_asset = Asset::of(quoted).as_view().matches(&offer.as_view());
        let same_payee = buyer::same_address(&quoted.pay_to, Some(&offer.pay_to));
        (!same_asset || !same_payee || offer.amount > quoted.amount)
            .then_some(BuyError::NotAsQuoted)
    }

    pub(super) fn hear(&self, progress: Progress<'_>) {
        if let Some(hear) = self.progress {
            hear(progress);
        }
    }
}
