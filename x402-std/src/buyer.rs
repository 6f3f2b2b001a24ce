//! Buying, whatever the transport: read the challenge, choose within the policy, reserve the money,
//! sign once, present the payment.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use x402_core::budget::admit;
use x402_core::buyer::{self, Decline, Flow, Wallet};
use x402_core::crypto::SignError;
use x402_core::{Amount, Money, Reason, Retry};

use crate::budget::{
    Budget, BudgetError, Limit, MemoryBudget, Purchase, Reserved, State, Step, Usage, spend_of,
    usage,
};
use crate::clock::{Clock, SystemClock};
use crate::message::{
    Json, NetworkId, PaymentRequired, PaymentRequirements, SettleResponse, to_json,
};
use crate::transport::{Answer, ChallengeError, PaymentText, Subject, Transport};
use crate::wallet::{SignFailure, Signs, Unready};

mod declined;
pub(crate) mod receipt;

pub use declined::{Declined, DeclinedOffer};
pub use receipt::Doubt;

/// How often a payment whose settlement is not certain is presented again, and how long before.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// A buyer's limits. The default is at most one dollar a payment, in the known
/// stablecoins, on any network, to anybody, without an end.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Most for one payment.
    pub max: Money,
    /// Limits on the sum of many payments; the buyer's [`Budget`] knows what was spent.
    pub limits: Vec<Limit>,
    /// Above this, a payment takes somebody's word: [`Order::approve`].
    pub ask_above: Option<Money>,
    /// Hosts allowed, in any letter case, with the port unless it is 80 or 443; `None` allows all.
    /// [`host`](crate::budget::host) reads a person's spelling. See [`Subject::host`].
    pub hosts: Option<Vec<String>>,
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
    /// The offer of a host that a wallet would pay; nothing is signed, and what was spent before is
    /// not looked at.
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

    /// All offers that it would pay, at least one, the best first: those that settle after the resource
    /// was made before those that settle first, and else in the seller's order.
    ///
    /// # Errors
    /// [`Declined`].
    pub fn choices(
        &self,
        required: &PaymentRequired,
        host: &str,
        wallet: &impl Wallet,
    ) -> Result<Vec<Choice>, Declined> {
        let limits: Vec<_> = self.limits.iter().map(Limit::view).collect();
        let hosts: Option<Vec<_>> =
            self.hosts.as_ref().map(|hosts| hosts.iter().map(String::as_str).collect());
        let networks: Option<Vec<_>> =
            self.networks.as_ref().map(|networks| networks.iter().map(NetworkId::view).collect());
        let assets: Vec<_> = self.assets.iter().map(Asset::view).collect();
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

/// Options of one purchase. The default has none.
#[derive(Clone, Copy, Default)]
pub struct Order<'a> {
    /// By which the purchase is known: whoever asks again with it presents the same payment again,
    /// after a crash too if the budget outlives one, and is never charged twice. It must never be
    /// used for another purchase. Random if nothing is said.
    pub id: Option<&'a str>,
    /// Most for this payment, if that is less than the policy's.
    pub max: Option<Money>,
    /// An offer that was seen before: none is paid that asks for more, in another token, or for
    /// somebody else.
    pub quoted: Option<&'a PaymentRequirements>,
    /// Gives somebody's word for a payment above [`Policy::ask_above`]; without it, none such is
    /// made.
    pub approve: Option<Approve<'a>>,
    /// Hears how far the purchase is.
    pub progress: Option<&'a (dyn Fn(Progress<'_>) + Sync)>,
}

/// Asks whether a payment may be made.
pub type Approve<'a> = &'a (dyn Fn(Ask) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> + Sync);

/// A payment that somebody is asked about. All but the numbers are the seller's words.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The host that asks for it.
    pub host: String,
    /// What for.
    pub what: String,
    /// The offer.
    pub offer: PaymentRequirements,
    /// Decimals of the token.
    pub decimals: u8,
}

/// How far a purchase is.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// This offer was chosen, and is about to be signed.
    Chosen(&'a PaymentRequirements),
    /// The payment is on its way: the seller has it checked, does the work, and has it settled.
    Presented,
    /// The settlement is not certain yet: after this time the same payment is presented again.
    Pending(Duration),
}

impl fmt::Debug for Order<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, max, quoted, .. } = self;
        f.debug_struct("Order")
            .field("id", id)
            .field("max", max)
            .field("quoted", quoted)
            .finish_non_exhaustive()
    }
}

impl Order<'_> {
    /// Why a choice is not what was ordered.
    fn objection<R, E>(&self, choice: &Choice) -> Option<BuyError<R, E>> {
        let Choice { offer, decimals, .. } = choice;
        if self.max.is_some_and(|max| !max.covers(offer.amount, *decimals)) {
            return Some(BuyError::Declined(Decline::OverLimit.into()));
        }
        let quoted = self.quoted?;
        let same_asset = Asset::of(quoted).view().is(&offer.view());
        let same_payee = buyer::same_address(&quoted.pay_to, Some(&offer.pay_to));
        (!same_asset || !same_payee || offer.amount > quoted.amount)
            .then_some(BuyError::NotAsQuoted)
    }

    fn hear(&self, progress: Progress<'_>) {
        if let Some(hear) = self.progress {
            hear(progress);
        }
    }
}

/// Buys with a wallet: chooses, signs and presents payments.
///
/// `Debug` shows neither key nor payments.
pub struct Buyer<W, C = SystemClock, B = MemoryBudget> {
    wallet: W,
    policy: Policy,
    clock: C,
    budget: B,
}

impl<W, C, B> fmt::Debug for Buyer<W, C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buyer").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// A purchase that was paid.
#[derive(Debug)]
pub struct Bought<R> {
    /// The answer.
    pub response: R,
    /// The receipt, as it came: [`Bought::proof`] is one that proves the payment. Without one it is
    /// not certain whether a payment that was sent has been used; a seller does not charge for an error
    /// of its own, say.
    pub receipt: Option<SettleResponse>,
    /// Why the receipt proves nothing, if a payment was sent and that is so. The purchase is not
    /// finished then: the payment is kept, and may be presented again.
    pub doubt: Option<Doubt>,
    /// The offer for which a payment was sent; `None` if the answer was free.
    pub paid: Option<PaymentRequirements>,
    /// The payment that was sent. Without a receipt that proves it, present this one again rather than
    /// sign another: order with the same id.
    pub payment: Option<PaymentText>,
    /// The id of the purchase, if a payment was sent.
    pub id: Option<String>,
}

impl<R> Bought<R> {
    /// The receipt, if a payment was sent and this proves that it was made.
    pub fn proof(&self) -> Option<&SettleResponse> {
        let proven = self.payment.is_some() && self.doubt.is_none();
        self.receipt.as_ref().filter(|_| proven)
    }
}

/// An offer that a wallet has too little for.
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
        write!(f, "{owner} has {has} of {} units of {asset} on {network}", offer.amount)
    }
}

/// Why nothing was bought.
#[derive(Debug)]
pub enum BuyError<R, E> {
    /// The seller could not be reached, or may not be paid in this way. Nothing was signed, and no
    /// payment was sent.
    Transport(E),
    /// The challenge cannot be read. Nothing was signed.
    Challenge(ChallengeError),
    /// No offer fits the policy. Nothing was signed.
    Declined(Declined),
    /// Offers fit the policy, and none what is left of this limit. Nothing was signed.
    OverBudget(Box<Limit>),
    /// The budget cannot be read or written. Nothing was sent; what was reserved may count.
    Budget(BudgetError),
    /// No offer is what was quoted before, or less. Nothing was signed.
    NotAsQuoted,
    /// The offer takes somebody's word, and nobody gave it. Nothing was signed.
    NotApproved,
    /// This id belongs to another purchase.
    AnotherPurchase,
    /// A purchase under this id has not come to a payment: somebody is at it now, or died over it.
    /// Nothing was sent then, and nothing now.
    Unfinished,
    /// The purchase was made before, and paid: here is its receipt. Nothing was sent now.
    AlreadyBought(Box<SettleResponse>),
    /// Offers fit, and the wallet has too little for them, as a node says. Nothing was signed.
    Short(Box<Short>),
    /// The offer fits the policy, and was not signed. It counts, and may have been paid, only after
    /// [`SignFailure::Sent`].
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
        /// The way out.
        retry: Retry,
        /// The receipt, if there was one.
        receipt: Option<Box<SettleResponse>>,
        /// The payment that was refused.
        payment: PaymentText,
        /// The id of the purchase; empty from [`Buyer::present`].
        id: String,
    },
    /// A payment was sent and no answer came: it may have been made. Present it again: order with
    /// the same id, or [`Buyer::present`].
    Unclear {
        /// The fault.
        error: E,
        /// The payment.
        payment: PaymentText,
        /// The id of the purchase; empty from [`Buyer::present`].
        id: String,
    },
}

impl<R, E: fmt::Display> fmt::Display for BuyError<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "no answer: {error}"),
            Self::Challenge(error) => write!(f, "challenge: {error}"),
            Self::Declined(decline) => write!(f, "declined: {decline}"),
            Self::OverBudget(limit) => write!(f, "declined: over the budget of {limit}"),
            Self::Budget(error) => error.fmt(f),
            Self::NotAsQuoted => f.write_str("declined: not what was quoted"),
            Self::NotApproved => f.write_str("declined: not approved"),
            Self::AnotherPurchase => f.write_str("id of another purchase"),
            Self::Unfinished => f.write_str("a purchase of this id is not finished"),
            Self::AlreadyBought(_) => f.write_str("bought and paid before"),
            Self::Short(short) => short.fmt(f),
            Self::NotSigned(failure) => failure.fmt(f),
            Self::Refused { reason: Some(reason), .. } => write!(f, "payment refused: {reason}"),
            Self::Refused { reason: None, .. } => f.write_str("payment refused"),
            Self::Unclear { error, .. } => {
                write!(f, "payment sent, and what became of it is not certain: {error}")
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

impl<W: Signs> Buyer<W> {
    /// With a wallet and the default policy.
    pub fn new(wallet: W) -> Self {
        Self::with(wallet, Policy::default(), SystemClock)
    }
}

impl<W: Signs, C: Clock> Buyer<W, C> {
    /// With a wallet, a policy, a clock and a budget in memory.
    pub fn with(wallet: W, policy: Policy, clock: C) -> Self {
        Self { wallet, policy, clock, budget: MemoryBudget::new() }
    }
}

impl<W: Signs, C: Clock, B: Budget> Buyer<W, C, B> {
    /// With another budget.
    pub fn with_budget<B2: Budget>(self, budget: B2) -> Buyer<W, C, B2> {
        let Self { wallet, policy, clock, .. } = self;
        Buyer { wallet, policy, clock, budget }
    }

    /// The wallet.
    pub const fn wallet(&self) -> &W {
        &self.wallet
    }

    /// The limits.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The record of purchases.
    pub const fn budget(&self) -> &B {
        &self.budget
    }

    /// The use of every limit of the policy.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`].
    pub async fn usage(&self) -> Result<Vec<Usage>, BudgetError> {
        let now = self.clock.now();
        Ok(usage(&self.policy.limits, &self.budget.spends(now).await?, now))
    }

    /// The offer of a host that would be paid; nothing is signed, and what was spent before is not
    /// looked at.
    ///
    /// # Errors
    /// [`Declined`].
    pub fn choose(&self, required: &PaymentRequired, host: &str) -> Result<Choice, Declined> {
        self.policy.choose(required, host, &self.wallet)
    }

    /// As [`Buyer::choose`], all that would be paid, the best first.
    ///
    /// # Errors
    /// [`Declined`].
    pub fn choices(&self, required: &PaymentRequired, host: &str) -> Result<Vec<Choice>, Declined> {
        self.policy.choices(required, host, &self.wallet)
    }

    /// Whether a choice can be signed and paid now, as far as the wallet knows. Nothing is signed.
    ///
    /// # Errors
    /// [`BuyError::Short`] or [`BuyError::NotSigned`].
    pub async fn ready<R, E>(&self, choice: &Choice) -> Result<(), BuyError<R, E>> {
        self.wallet.ready(&choice.offer).await.map_err(|unready| match unready {
            Unready::NotSigned(failure) => BuyError::NotSigned(failure),
            Unready::Short { owner, has } => {
                let (offer, decimals) = (choice.offer.clone(), choice.decimals);
                BuyError::Short(Box::new(Short { owner, has, offer, decimals }))
            }
        })
    }

    /// The limit that a choice would not fit now, if there is one. Nothing is reserved.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`].
    pub async fn over_budget(
        &self,
        host: &str,
        choice: &Choice,
    ) -> Result<Option<Box<Limit>>, BudgetError> {
        let limits: Vec<_> = self.policy.limits.iter().map(Limit::view).collect();
        let now = self.clock.now();
        let spends = self.budget.spends(now).await?;
        let spends = spends.iter().map(|spent| spent.spend);
        let next = spend_of(host, &choice.offer, choice.decimals, now);
        match admit(&limits, spends, &next).map_err(BudgetError::from) {
            Ok(()) => Ok(None),
            Err(BudgetError::Exceeded(limit)) => self.over(limit).map(Some),
            Err(error) => Err(error),
        }
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
        let resource = required.resource.as_ref().map_or("", |resource| resource.url.as_str());
        let payload = self.wallet.sign(Some(resource), offer, self.clock.now(), random).await?;
        let json =
            required.with_view(|view| to_json(&buyer::payment(view, &offer.view(), payload.raw())));
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
        self.order(transport, request, &Order::default()).await
    }

    /// As [`Buyer::buy`], with more to say.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn order<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        order: &Order<'_>,
    ) -> Result<Bought<T::Response>, BuyError<T::Response, T::Error>> {
        let subject = transport.subject(request);
        if let Some(id) = order.id
            && let Some(known) = self.budget.find(id).await.map_err(BuyError::Budget)?
        {
            return self.again(transport, request, order, &subject, known).await;
        }
        let answer = transport.exchange(request, None).await.map_err(BuyError::Transport)?;
        let required = match answer.challenge {
            None => {
                let Answer { response, receipt, .. } = answer;
                return Ok(Bought {
                    response,
                    receipt,
                    doubt: None,
                    paid: None,
                    payment: None,
                    id: None,
                });
            }
            Some(challenge) => challenge.map_err(BuyError::Challenge)?,
        };
        transport.may_pay(request).map_err(BuyError::Transport)?;
        let choices = self.policy.choices(&required, &subject.host, &self.wallet);
        // Of several reasons, the first: that of the offer which is liked best.
        let mut objection = None;
        for choice in choices.map_err(BuyError::Declined)? {
            if let Some(other) = order.objection(&choice) {
                objection = objection.or(Some(other));
                continue;
            }
            // The seller may have offers that it can pay.
            if let Err(unready) = self.ready(&choice).await {
                objection = objection.or(Some(unready));
                continue;
            }
            let mut purchase = self.purchase(order, &subject, &choice)?;
            let id = purchase.id.clone();
            if choice.asks {
                // Nobody is asked for what cannot be paid.
                let over = self.over_budget(&subject.host, &choice).await;
                if let Some(over) = over.map_err(BuyError::Budget)? {
                    objection = objection.or(Some(BuyError::OverBudget(over)));
                    continue;
                }
                if !approved(order, &subject, &choice).await {
                    return Err(BuyError::NotApproved);
                }
                // A person takes time to answer.
                purchase.at = self.clock.now();
            }
            match self.budget.reserve(purchase, &self.policy.limits).await {
                Ok(Reserved::New) => {}
                Ok(Reserved::Known(known)) => {
                    return self.again(transport, request, order, &subject, *known).await;
                }
                Err(BudgetError::Exceeded(limit)) => {
                    let over = self.over(limit).map_err(BuyError::Budget)?;
                    objection = objection.or(Some(BuyError::OverBudget(over)));
                    continue;
                }
                Err(error) => return Err(BuyError::Budget(error)),
            }
            order.hear(Progress::Chosen(&choice.offer));
            let payment = match self.sign(&required, choice.index).await {
                Ok(payment) => payment,
                // The money may have moved: it counts.
                Err(failure @ SignFailure::Sent(_)) => return Err(BuyError::NotSigned(failure)),
                Err(failure) => {
                    // If this fails, it counts, and nothing was paid: the safe side.
                    self.budget.write(&id, Step::Released).await.ok();
                    return Err(BuyError::NotSigned(failure));
                }
            };
            let signed = Step::Signed(payment.clone());
            self.budget.write(&id, signed).await.map_err(BuyError::Budget)?;
            return self.deliver(transport, request, order, id, choice.offer, payment).await;
        }
        Err(objection.unwrap_or(BuyError::Declined(Decline::NoOffers.into())))
    }

    /// Orders what was ordered before.
    async fn again<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        order: &Order<'_>,
        subject: &Subject,
        known: Purchase,
    ) -> Result<Bought<T::Response>, BuyError<T::Response, T::Error>> {
        if (&known.host, &known.digest) != (&subject.host, &subject.digest) {
            return Err(BuyError::AnotherPurchase);
        }
        match (known.state, known.payment) {
            (State::Paid(receipt), _) => Err(BuyError::AlreadyBought(receipt)),
            (_, None) => Err(BuyError::Unfinished),
            (_, Some(payment)) => {
                self.deliver(transport, request, order, known.id, known.offer, payment).await
            }
        }
    }

    /// Presents the payment of a purchase, and writes down what became of it. What cannot be
    /// written down counts as it did before.
    async fn deliver<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        order: &Order<'_>,
        purchase: String,
        offer: PaymentRequirements,
        payment: PaymentText,
    ) -> Result<Bought<T::Response>, BuyError<T::Response, T::Error>> {
        match self.present_as(transport, request, payment, Some(&offer), order).await {
            Ok(bought) => {
                if let Some(receipt) = bought.proof() {
                    self.note(&purchase, Step::Paid(Box::new(receipt.clone()))).await;
                } else if let Some(doubt) = bought.doubt {
                    tracing::warn!(%doubt, "a receipt proves nothing: the payment is kept");
                }
                Ok(Bought { paid: Some(offer), id: Some(purchase), ..bought })
            }
            Err(BuyError::Refused { response, reason, error, retry, receipt, payment, .. }) => {
                // Perhaps it was settled, and refused for that.
                if !reason.is_some_and(Reason::is_open) {
                    self.note(&purchase, Step::Refused(reason)).await;
                }
                let id = purchase;
                Err(BuyError::Refused { response, reason, error, retry, receipt, payment, id })
            }
            Err(BuyError::Unclear { error, payment, .. }) => {
                Err(BuyError::Unclear { error, payment, id: purchase })
            }
            Err(error) => Err(error),
        }
    }

    async fn note(&self, id: &str, step: Step) {
        if let Err(error) = self.budget.write(id, step).await {
            tracing::warn!(%error, "what became of a purchase is not written down");
        }
    }

    fn over(&self, limit: usize) -> Result<Box<Limit>, BudgetError> {
        let limit = self.policy.limits.get(limit).ok_or(BudgetError::Unavailable)?;
        Ok(Box::new(limit.clone()))
    }

    fn purchase<R, E>(
        &self,
        order: &Order<'_>,
        subject: &Subject,
        choice: &Choice,
    ) -> Result<Purchase, BuyError<R, E>> {
        let id = match order.id {
            Some(id) => id.to_owned(),
            None => {
                let mut random = [0; 16];
                let failed = BuyError::NotSigned(SignFailure::Sign(SignError::Unavailable));
                getrandom::fill(&mut random).map_err(|_| failed)?;
                hex::encode(random)
            }
        };
        Ok(Purchase {
            id,
            at: self.clock.now(),
            host: subject.host.clone(),
            what: subject.what.clone(),
            digest: subject.digest,
            offer: choice.offer.clone(),
            decimals: choice.decimals,
            payment: None,
            state: State::Reserved,
        })
    }

    /// Presents a payment, and presents the same one again while its settlement is not certain: at
    /// most three times in all, after one second and after three. The budget is not told.
    ///
    /// # Errors
    /// [`BuyError::Refused`] or [`BuyError::Unclear`]; [`BuyError::Transport`] if it may not be sent.
    pub async fn present<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        payment: PaymentText,
    ) -> Result<Bought<T::Response>, BuyError<T::Response, T::Error>> {
        self.present_as(transport, request, payment, None, &Order::default()).await
    }

    async fn present_as<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        payment: PaymentText,
        offer: Option<&PaymentRequirements>,
        order: &Order<'_>,
    ) -> Result<Bought<T::Response>, BuyError<T::Response, T::Error>> {
        transport.may_pay(request).map_err(BuyError::Transport)?;
        let mut again = AGAIN.iter();
        let id = String::new();
        loop {
            order.hear(Progress::Presented);
            let answer = match transport.exchange(request, Some(&payment)).await {
                Ok(answer) => answer,
                Err(error) => return Err(BuyError::Unclear { error, payment, id }),
            };
            let Answer { response, challenge, receipt } = answer;
            let refused = challenge.is_some();
            let error = error_given(challenge, receipt.as_ref());
            let reason = error.as_deref().and_then(Reason::parse);
            let failed = receipt.as_ref().is_some_and(|receipt| !receipt.success);
            if !refused && !failed {
                let is_delivery = transport.is_delivery(&response);
                let doubt = receipt.as_ref();
                let doubt = doubt.and_then(|it| receipt::doubt(it, is_delivery, &payment, offer));
                let payment = Some(payment);
                return Ok(Bought { response, receipt, doubt, paid: None, payment, id: None });
            }
            if reason.is_some_and(Reason::is_open)
                && let Some(time) = again.next()
            {
                order.hear(Progress::Pending(*time));
                transport.wait(*time).await;
                continue;
            }
            let retry = reason.map_or(Retry::SameAgain, Reason::retry);
            let receipt = receipt.map(Box::new);
            return Err(BuyError::Refused { response, reason, error, retry, receipt, payment, id });
        }
    }
}

/// Whether somebody gives his word.
async fn approved(order: &Order<'_>, subject: &Subject, choice: &Choice) -> bool {
    let Some(approve) = order.approve else { return false };
    approve(Ask {
        host: subject.host.clone(),
        what: subject.what.clone(),
        offer: choice.offer.clone(),
        decimals: choice.decimals,
    })
    .await
}

impl Asset {
    /// That of an offer.
    fn of(offer: &PaymentRequirements) -> Self {
        Self { network: offer.network.clone(), address: offer.asset.clone(), decimals: 0 }
    }

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
    challenge: Option<Result<PaymentRequired, ChallengeError>>,
    receipt: Option<&SettleResponse>,
) -> Option<String> {
    let receipt =
        receipt.and_then(|receipt| given(&receipt.error_reason, &receipt.other, "errorReason"));
    receipt.or_else(|| {
        let challenge = challenge?.ok()?;
        given(&challenge.error, &challenge.other, "error")
    })
}

/// A text for people, or what was sent in its place.
fn given(text: &Option<String>, other: &Option<Json>, key: &str) -> Option<String> {
    let text = text.clone().filter(|text| !text.is_empty());
    text.or_else(|| Some(other.as_ref()?.raw().get(key)?.as_str().to_owned()))
}
