//! The limits of a buyer, and the offers that they allow.

use x402_core::Money;
use x402_core::buyer::{self, Decline, Flow, Wallet};

use super::{Declined, DeclinedOffer};
use crate::buyer::budget::Limit;
use crate::message::{NetworkId, PaymentRequired, PaymentRequirements};

/// A buyer's limits. The default is at most one dollar a payment, in the known stablecoins, on any network,
/// to any payee, without a limit on the sum.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Most for one payment.
    pub max: Money,
    /// Limits on the sum of payments; the buyer's [`Budget`](super::budget::Budget) has the record of them.
    pub limits: Vec<Limit>,
    /// Price above which a payment needs approval: [`PurchaseOptions::approve`](super::PurchaseOptions::approve).
    pub ask_above: Option<Money>,
    /// Hosts allowed, in any letter case, with the port unless it is 80 or 443; `None` allows all.
    /// [`host`](crate::buyer::budget::host) reads a person's spelling. See [`Subject::host`](crate::transport::Subject::host).
    pub hosts: Option<Vec<String>>,
    /// Networks allowed, in either version's spelling; `None` allows all.
    pub networks: Option<Vec<NetworkId>>,
    /// Assets allowed besides the known ones; their decimals here override known ones.
    pub assets: Vec<Asset>,
    /// Payees allowed; `None` allows all. Addresses with `0x` match in any letter case.
    pub payees: Option<Vec<String>>,
}

/// An asset a buyer accepts on its own judgement.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its network.
    pub network: NetworkId,
    /// Its address; with `0x`, in any letter case.
    pub address: String,
    /// Its decimals.
    pub decimals: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max: Money::ONE,
            limits: Vec::new(),
            ask_above: None,
            hosts: None,
            networks: None,
            assets: Vec::new(),
            payees: None,
        }
    }
}

/// An offer that a policy allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its place in the challenge.
    pub index: usize,
    /// The offer.
    pub offer: PaymentRequirements,
    /// Decimals of its token.
    pub decimals: u8,
    /// Whether it is above [`Policy::ask_above`].
    pub asks: bool,
}

impl Policy {
    /// The offer of a host that a wallet would pay. Nothing is signed, and the sum of earlier payments is not
    /// checked.
    ///
    /// # Errors
    /// [`Declined`].
    pub fn choose(
        &self,
        required: &PaymentRequired,
        host: &str,
        wallet: &impl Wallet,
    ) -> Result<Choice, Declined> {
        let mut choices = self.choices(required, host, wallet)?;
        Ok(choices.swap_remove(0))
    }

    /// All offers that a wallet would pay, at least one, the best first. Offers that settle after the work
    /// come before offers that settle first; otherwise the seller's order holds.
    ///
    /// # Errors
    /// [`Declined`].
    pub fn choices(
        &self,
        required: &PaymentRequired,
        host: &str,
        wallet: &impl Wallet,
    ) -> Result<Vec<Choice>, Declined> {
        let limits: Vec<_> = self.limits.iter().map(Limit::as_view).collect();
        let hosts: Option<Vec<_>> =
            self.hosts.as_ref().map(|hosts| hosts.iter().map(String::as_str).collect());
        let networks: Option<Vec<_>> = self
            .networks
            .as_ref()
            .map(|networks| networks.iter().map(NetworkId::as_view).collect());
        let assets: Vec<_> = self.assets.iter().map(Asset::as_view).collect();
        let payees: Option<Vec<_>> =
            self.payees.as_ref().map(|payees| payees.iter().map(String::as_str).collect());
        let policy = buyer::Policy {
            max: self.max,
            limits: &limits,
            ask_above: self.ask_above,
            hosts: hosts.as_deref(),
            networks: networks.as_deref(),
            assets: &assets,
            payees: payees.as_deref(),
        };
        required.with_view(|view| {
            let mut hurdles = Vec::new();
            let mut choices = Vec::new();
            for choice in buyer::choices(view, host, wallet, &policy) {
                match choice {
                    Ok(choice) => choices.push(choice),
                    Err(hurdle) => hurdles.push(hurdle),
                }
            }
            if choices.is_empty() {
                let reason = hurdles.iter().max().copied().unwrap_or(Decline::NoOffers);
                let offers = hurdles.iter().zip(required.accepts.entries()).enumerate();
                let offers = offers.map(|(index, (hurdle, entry))| {
                    DeclinedOffer::new(index, *hurdle, entry, self, wallet)
                });
                return Err(Declined { reason, offers: offers.collect() });
            }
            choices.sort_by_key(|choice| choice.flow == Flow::Upfront);
            let owned = |choice: buyer::Choice<'_>| Choice {
                index: choice.index,
                offer: PaymentRequirements::from(&choice.offer),
                decimals: choice.decimals,
                asks: choice.asks,
            };
            Ok(choices.into_iter().map(owned).collect())
        })
    }
}

impl Asset {
    /// The asset of an offer.
    pub(super) fn of(offer: &PaymentRequirements) -> Self {
        Self { network: offer.network.clone(), address: offer.asset.clone(), decimals: 0 }
    }

    pub(super) fn as_view(&self) -> buyer::Asset<'_> {
        buyer::Asset {
            network: self.network.as_view(),
            address: &self.address,
            decimals: self.decimals,
        }
    }
}
