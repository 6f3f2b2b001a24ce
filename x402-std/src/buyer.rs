//! Buying, whatever the transport: read the challenge, choose within the policy, sign once,
//! present the payment.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use x402_core::buyer::{self, Decline, Wallet};
use x402_core::crypto::SignError;
use x402_core::{Amount, Money, ParseError, Reason, Retry};

use crate::clock::{Clock, SystemClock};
use crate::message::{NetworkId, PaymentRequired, PaymentRequirements, SettleResponse, to_json};
use crate::transport::{Answer, PaymentText, Transport};
use crate::wallet::{SignFailure, Signs};

/// How often a payment whose settlement is not certain is presented again, and how long before.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// Decimals in which a budget counts money.
const BUDGET_DECIMALS: u8 = 18;

/// What a buyer is willing to pay. The default is at most one dollar a payment, in the known
/// stablecoins, on any network, to anybody, without an end.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Most for one payment.
    pub max: Money,
    /// Most for all payments signed by one [`Buyer::buy`] after another; `None` sets no limit. A
    /// refused payment counts: whoever has it can still settle it.
    pub budget: Option<Money>,
    /// Networks allowed, in either version's spelling; `None` allows all.
    pub networks: Option<Vec<NetworkId>>,
    /// Assets allowed besides the known ones; the decimals given here count before known ones.
    pub assets: Vec<Asset>,
    /// Payees allowed; `None` allows all. Addresses with `0x` are one in any letter case.
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
        Self { max: Money::ONE, budget: None, networks: None, assets: Vec::new(), payees: None }
    }
}

impl Policy {
    /// The offer that a wallet would pay, and its place in the challenge; nothing is signed.
    ///
    /// # Errors
    /// [`Decline`].
    pub fn choose(
        &self,
        required: &PaymentRequired,
        wallet: &impl Wallet,
    ) -> Result<(usize, PaymentRequirements), Decline> {
        let networks: Option<Vec<_>> =
            self.networks.as_ref().map(|networks| networks.iter().map(NetworkId::view).collect());
        let assets: Vec<_> = self.assets.iter().map(Asset::view).collect();
        let payees: Option<Vec<_>> =
            self.payees.as_ref().map(|payees| payees.iter().map(String::as_str).collect());
        let policy = buyer::Policy {
            max: self.max,
            networks: networks.as_deref(),
            assets: &assets,
            payees: payees.as_deref(),
        };
        required.with_view(|view| {
            let choice = buyer::choose(view, wallet, &policy)?;
            Ok((choice.index, PaymentRequirements::from(&choice.offer)))
        })
    }
}

/// Buys with a wallet: chooses, signs and presents payments.
///
/// `Debug` shows neither key nor payments.
pub struct Buyer<W, C = SystemClock> {
    wallet: W,
    policy: Policy,
    clock: C,
    spent: Mutex<Amount>,
}

impl<W, C> fmt::Debug for Buyer<W, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buyer").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// What was bought.
#[derive(Debug)]
pub struct Bought<R> {
    /// The answer.
    pub response: R,
    /// The receipt. Without one it is not certain whether a payment that was sent has been used; a
    /// seller does not charge for an error of its own, say.
    pub receipt: Option<SettleResponse>,
    /// The offer for which a payment was sent; `None` if the answer was free.
    pub paid: Option<PaymentRequirements>,
    /// The payment that was sent. Without a receipt, present this one again rather than sign
    /// another.
    pub payment: Option<PaymentText>,
}

/// Why nothing was bought.
#[derive(Debug)]
pub enum BuyError<R, E> {
    /// The seller could not be reached. Nothing was signed.
    Transport(E),
    /// The challenge cannot be read. Nothing was signed.
    Challenge(ParseError),
    /// No offer fits the policy. Nothing was signed.
    Declined(Decline),
    /// The offer fits the policy but not what is left of the budget. Nothing was signed.
    OverBudget,
    /// The offer fits the policy, and was not signed.
    NotSigned(SignFailure),
    /// A payment was presented and refused. `payment` may be presented again only if
    /// `retry` says so.
    Refused {
        /// The seller's answer.
        response: R,
        /// Why, if the seller said so in a way this library knows.
        reason: Option<Reason>,
        /// Why, in the seller's words, which may be anything.
        error: Option<String>,
        /// What can be done about it.
        retry: Retry,
        /// The receipt, if there was one.
        receipt: Option<Box<SettleResponse>>,
        /// The payment that was refused.
        payment: PaymentText,
    },
    /// A payment was sent and no answer came: it may have been made. Present it again with
    /// [`Buyer::present`].
    Unclear {
        /// What went wrong.
        error: E,
        /// The payment.
        payment: PaymentText,
    },
}

impl<R, E: fmt::Display> fmt::Display for BuyError<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "no answer: {error}"),
            Self::Challenge(error) => write!(f, "challenge: {error}"),
            Self::Declined(decline) => write!(f, "declined: {decline}"),
            Self::OverBudget => f.write_str("declined: over the budget"),
            Self::NotSigned(failure) => failure.fmt(f),
            Self::Refused { reason: Some(reason), .. } => write!(f, "payment refused: {reason}"),
            Self::Refused { reason: None, .. } => f.write_str("payment refused"),
            Self::Unclear { error, .. } => write!(f, "payment sent, no answer: {error}"),
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

impl<W: Signs> Buyer<W> {
    /// With a wallet and the default policy.
    pub fn new(wallet: W) -> Self {
        Self::with(wallet, Policy::default(), SystemClock)
    }
}

impl<W: Signs, C: Clock> Buyer<W, C> {
    /// With a wallet, a policy and a clock.
    pub fn with(wallet: W, policy: Policy, clock: C) -> Self {
        Self { wallet, policy, clock, spent: Mutex::default() }
    }

    /// What it pays with.
    pub const fn wallet(&self) -> &W {
        &self.wallet
    }

    /// What it is willing to pay.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The offer that would be paid, and its place in the challenge; nothing is signed.
    ///
    /// # Errors
    /// [`Decline`].
    pub fn choose(
        &self,
        required: &PaymentRequired,
    ) -> Result<(usize, PaymentRequirements), Decline> {
        self.policy.choose(required, &self.wallet)
    }

    /// Signs a payment for the offer at `index`. The policy is not asked: see [`Buyer::choose`].
    ///
    /// # Errors
    /// [`SignFailure`].
    pub async fn sign(
        &self,
        required: &PaymentRequired,
        index: usize,
    ) -> Result<PaymentText, SignFailure> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|_| SignFailure::Sign(SignError::Unavailable))?;
        self.sign_with(required, index, random).await
    }

    /// As [`Buyer::sign`], with random bytes of the caller's, which must never have been used
    /// before: EIP-3009's nonce; on Solana, the first half is the memo.
    ///
    /// # Errors
    /// [`SignFailure`].
    pub async fn sign_with(
        &self,
        required: &PaymentRequired,
        index: usize,
        random: [u8; 32],
    ) -> Result<PaymentText, SignFailure> {
        let offer = required
            .accepts
            .get(index)
            .ok_or(SignFailure::Offer(Reason::InvalidPaymentRequirements))?;
        let payload = self.wallet.sign(offer, self.clock.now(), random).await?;
        let json = required.with_view(|view| {
            let choice = buyer::Choice { required: *view, offer: offer.view(), index };
            to_json(&choice.payment(payload.raw()))
        });
        let json = json.map_err(|_| SignFailure::Offer(Reason::InvalidNetwork))?;
        Ok(PaymentText { version: required.x402_version, json })
    }

    /// Asks for a resource and pays for it if that is what it takes, once.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn buy<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
    ) -> Result<Bought<T::Response>, BuyError<T::Response, T::Error>> {
        let answer = transport.exchange(request, None).await.map_err(BuyError::Transport)?;
        let required = match answer.challenge {
            None => {
                let Answer { response, receipt, .. } = answer;
                return Ok(Bought { response, receipt, paid: None, payment: None });
            }
            Some(challenge) => challenge.map_err(BuyError::Challenge)?,
        };
        let (index, offer) = self.choose(&required).map_err(BuyError::Declined)?;
        let reserved = self.reserve(&offer).ok_or(BuyError::OverBudget)?;
        let payment = match self.sign(&required, index).await {
            Ok(payment) => payment,
            Err(failure) => {
                self.give_back(reserved);
                return Err(BuyError::NotSigned(failure));
            }
        };
        let bought = self.present(transport, request, payment).await?;
        Ok(Bought { paid: Some(offer), ..bought })
    }

    /// Presents a payment, and presents the same one again while its settlement is not certain: at
    /// most three times in all, after one second and after three.
    ///
    /// # Errors
    /// [`BuyError::Refused`] or [`BuyError::Unclear`].
    pub async fn present<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        payment: PaymentText,
    ) -> Result<Bought<T::Response>, BuyError<T::Response, T::Error>> {
        let mut again = AGAIN.iter();
        loop {
            let answer = match transport.exchange(request, Some(&payment)).await {
                Ok(answer) => answer,
                Err(error) => return Err(BuyError::Unclear { error, payment }),
            };
            let Answer { response, challenge, receipt } = answer;
            let refused = challenge.is_some();
            let error = error_given(challenge, receipt.as_ref());
            let reason = error.as_deref().and_then(Reason::parse);
            let failed = receipt.as_ref().is_some_and(|receipt| !receipt.success);
            if !refused && !failed {
                return Ok(Bought { response, receipt, paid: None, payment: Some(payment) });
            }
            if reason == Some(Reason::SettlementPending)
                && let Some(time) = again.next()
            {
                transport.wait(*time).await;
                continue;
            }
            let retry = reason.map_or(Retry::SameAgain, Reason::retry);
            let receipt = receipt.map(Box::new);
            return Err(BuyError::Refused { response, reason, error, retry, receipt, payment });
        }
    }

    /// Takes what an offer costs out of the budget. `None` if too little is left.
    fn reserve(&self, offer: &PaymentRequirements) -> Option<Amount> {
        let Some(budget) = self.policy.budget else {
            return Some(Amount::ZERO);
        };
        let own = self.policy.assets.iter().find(|asset| asset.view().is(&offer.view()));
        let decimals =
            own.map(|asset| asset.decimals).or_else(|| self.wallet.decimals(&offer.view()))?;
        let mut cost = offer.amount;
        for _ in decimals..BUDGET_DECIMALS {
            cost = (0..9).try_fold(cost, |sum, _| sum.checked_add(cost))?;
        }
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let after = spent.checked_add(cost)?;
        if decimals > BUDGET_DECIMALS || !budget.covers(after, BUDGET_DECIMALS) {
            return None;
        }
        *spent = after;
        Some(cost)
    }

    fn give_back(&self, reserved: Amount) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        *spent = spent.checked_sub(reserved).unwrap_or_default();
    }
}

impl Asset {
    fn view(&self) -> buyer::Asset<'_> {
        buyer::Asset {
            network: self.network.view(),
            address: &self.address,
            decimals: self.decimals,
        }
    }
}

/// Why a payment was refused: the receipt says, or else the error of the new challenge.
fn error_given(
    challenge: Option<Result<PaymentRequired, ParseError>>,
    receipt: Option<&SettleResponse>,
) -> Option<String> {
    let receipt = receipt.and_then(|receipt| receipt.error_reason.clone());
    receipt.or_else(|| challenge?.ok()?.error)
}
