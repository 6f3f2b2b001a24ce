//! Buying over any transport: read the challenge, choose within the policy, reserve the money, sign once,
//! present the payment.

use std::fmt;
use std::sync::Arc;

use x402_core::budget::admit;
use x402_core::buyer::{self, Decline};
use x402_core::crypto::SignError;
use x402_core::{Reason, Version};

use crate::buyer::budget::{
    Budget, BudgetError, Limit, MemoryBudget, Purchase, Reserved, State, Step, Usage, spend_of,
    usage,
};
use crate::buyer::wallet::{PaymentSigner, SignFailure, Unready};
use crate::clock::{Clock, SystemClock};
use crate::extension::{self, BuyerExtension, Echo};
use crate::message::{Json, PaymentRequired, PaymentRequirements, SettleResponse, to_json};
use crate::transport::{Answer, PaymentText, Subject, Transport};

pub mod budget;
#[cfg(feature = "client")]
pub mod client;
mod declined;
mod error;
mod options;
mod policy;
mod present;
pub(crate) mod receipt;
pub mod wallet;

pub use declined::{Declined, DeclinedOffer};
pub use error::{BuyError, Short};
pub use options::{Approve, Ask, Progress, PurchaseOptions};
pub use policy::{Asset, Choice, Policy};
pub use receipt::Doubt;

/// Buys with a wallet: chooses, signs and presents payments.
///
/// `Debug` shows neither key nor payments.
pub struct Buyer<W, C = SystemClock, B = MemoryBudget> {
    wallet: W,
    policy: Policy,
    clock: C,
    budget: B,
    extensions: Vec<Arc<dyn BuyerExtension>>,
}

impl<W, C, B> fmt::Debug for Buyer<W, C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buyer").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// A purchase that was paid.
#[derive(Debug)]
pub struct Paid<R> {
    /// The answer.
    pub response: R,
    /// The receipt, as it came: [`Paid::proof`] returns one that proves the payment. Without proof, the
    /// payment may be unused: a seller does not charge for an error of its own, say.
    pub receipt: Option<SettleResponse>,
    /// Why the receipt proves nothing, if so. The purchase is then not finished: the payment is kept, and may
    /// be presented again.
    pub doubt: Option<Doubt>,
    /// The offer for which a payment was sent; `None` if the answer was free.
    pub paid: Option<PaymentRequirements>,
    /// The payment that was sent. Without a receipt that proves it, present this one again rather than sign
    /// another: order with the same id.
    pub payment: Option<PaymentText>,
    /// The id of the purchase, if a payment was sent.
    pub id: Option<String>,
}

impl<R> Paid<R> {
    /// The receipt, if it proves that the payment was made.
    pub fn proof(&self) -> Option<&SettleResponse> {
        let proven = self.payment.is_some() && self.doubt.is_none();
        self.receipt.as_ref().filter(|_| proven)
    }
}

impl<W: PaymentSigner> Buyer<W> {
    /// With a wallet and the default policy.
    pub fn new(wallet: W) -> Self {
        Self::with_parts(wallet, Policy::default(), SystemClock)
    }
}

impl<W: PaymentSigner, C: Clock> Buyer<W, C> {
    /// With a wallet, a policy, a clock and a budget in memory.
    pub fn with_parts(wallet: W, policy: Policy, clock: C) -> Self {
        let (budget, extensions) = (MemoryBudget::new(), Vec::new());
        Self { wallet, policy, clock, budget, extensions }
    }
}

impl<W: PaymentSigner, C: Clock, B: Budget> Buyer<W, C, B> {
    /// Replaces the budget.
    pub fn with_budget<B2: Budget>(self, budget: B2) -> Buyer<W, C, B2> {
        let Self { wallet, policy, clock, extensions, .. } = self;
        Buyer { wallet, policy, clock, budget, extensions }
    }

    /// With another extension, for payments of challenges that announce it.
    pub fn with_extension(mut self, extension: impl BuyerExtension + 'static) -> Self {
        self.extensions.push(Arc::new(extension));
        self
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

    /// The offer of a host that would be paid. Nothing is signed, and the sum of earlier payments is not
    /// checked.
    ///
    /// # Errors
    /// [`Declined`].
    pub fn choose(&self, required: &PaymentRequired, host: &str) -> Result<Choice, Declined> {
        self.policy.choose(required, host, &self.wallet)
    }

    /// As [`Buyer::choose`], but all offers that would be paid, the best first.
    ///
    /// # Errors
    /// [`Declined`].
    pub fn choices(&self, required: &PaymentRequired, host: &str) -> Result<Vec<Choice>, Declined> {
        self.policy.choices(required, host, &self.wallet)
    }

    /// Checks that a choice can be signed and paid now, as far as the wallet knows. Nothing is signed.
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

    /// The limit that a choice would exceed now, if there is one. Nothing is reserved.
    ///
    /// # Errors
    /// [`BudgetError::Unavailable`].
    pub async fn over_budget(
        &self,
        host: &str,
        choice: &Choice,
    ) -> Result<Option<Box<Limit>>, BudgetError> {
        let limits: Vec<_> = self.policy.limits.iter().map(Limit::as_view).collect();
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

    /// Signs a payment for the offer at `index`. The policy is not checked: see [`Buyer::choose`].
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

    /// As [`Buyer::sign`], with the caller's random bytes, which must never have been used before. They are
    /// EIP-3009's nonce; on Solana, the first half is the memo.
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
        let extensions = self.echo(required)?;
        let payload = self.wallet.sign(Some(resource), offer, self.clock.now(), random).await?;
        let json = required.with_view(|view| {
            let mut payment = buyer::payment(view, &offer.as_view(), payload.as_raw());
            if let Some(extensions) = &extensions {
                payment.extensions = Some(extensions.as_raw());
            }
            to_json(&payment)
        });
        let json = json.map_err(|_| SignFailure::Offer(Reason::InvalidNetwork))?;
        Ok(PaymentText { version: required.x402_version, json })
    }

    /// The extensions of a payment, if they are others than those of its challenge.
    fn echo(&self, required: &PaymentRequired) -> Result<Option<Json>, SignFailure> {
        let announced =
            required.extensions.as_ref().filter(|_| required.x402_version == Version::V2);
        let Some(announced) = announced else { return Ok(None) };
        let mut changed = Vec::new();
        for extension in &self.extensions {
            let Some(value) = announced.as_raw().get(extension.key()) else { continue };
            if let Echo::Changed(echo) = extension.echo(value)? {
                // A seller takes only what repeats all that it announced.
                if !echo.as_raw().contains(value) {
                    return Err(SignFailure::Offer(Reason::ExtensionEchoMismatch));
                }
                changed.push((extension.key().to_owned(), echo));
            }
        }
        Ok((!changed.is_empty()).then(|| extension::merged(Some(announced), changed)).flatten())
    }

    /// Requests a resource, and pays once if the seller asks for it.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn buy<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
    ) -> Result<Paid<T::Response>, BuyError<T::Response, T::Error>> {
        self.buy_with(transport, request, &PurchaseOptions::default()).await
    }

    /// As [`Buyer::buy`], with options.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn buy_with<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        options: &PurchaseOptions<'_>,
    ) -> Result<Paid<T::Response>, BuyError<T::Response, T::Error>> {
        let subject = transport.subject(request);
        if let Some(id) = options.id
            && let Some(known) = self.budget.find(id).await.map_err(BuyError::Budget)?
        {
            return self.again(transport, request, options, &subject, known).await;
        }
        let answer = transport.exchange(request, None).await.map_err(BuyError::Transport)?;
        let required = match answer.challenge {
            None => {
                let Answer { response, receipt, .. } = answer;
                return Ok(Paid {
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
        // The first objection counts: it is that of the preferred offer.
        let mut objection = None;
        for choice in choices.map_err(BuyError::Declined)? {
            if let Some(other) = options.objection(&choice) {
                objection = objection.or(Some(other));
                continue;
            }
            // The wallet may be able to pay another offer.
            if let Err(unready) = self.ready(&choice).await {
                objection = objection.or(Some(unready));
                continue;
            }
            let mut purchase = self.purchase(options, &subject, &choice)?;
            let id = purchase.id.clone();
            if choice.asks {
                // A payment that cannot be made needs no approval.
                let over = self.over_budget(&subject.host, &choice).await;
                if let Some(over) = over.map_err(BuyError::Budget)? {
                    objection = objection.or(Some(BuyError::OverBudget(over)));
                    continue;
                }
                if !approved(options, &subject, &choice).await {
                    return Err(BuyError::NotApproved);
                }
                // A person takes time to answer.
                purchase.at = self.clock.now();
            }
            match self.budget.reserve(purchase, &self.policy.limits).await {
                Ok(Reserved::New) => {}
                Ok(Reserved::Known(known)) => {
                    return self.again(transport, request, options, &subject, *known).await;
                }
                Err(BudgetError::Exceeded(limit)) => {
                    let over = self.over(limit).map_err(BuyError::Budget)?;
                    objection = objection.or(Some(BuyError::OverBudget(over)));
                    continue;
                }
                Err(error) => return Err(BuyError::Budget(error)),
            }
            options.hear(Progress::Chosen(&choice.offer));
            let payment = match self.sign(&required, choice.index).await {
                Ok(payment) => payment,
                // The money may have moved, so it counts.
                Err(failure @ SignFailure::Sent(_)) => return Err(BuyError::NotSigned(failure)),
                Err(failure) => {
                    // If this fails, the purchase counts though nothing was paid: the safe side.
                    self.budget.write(&id, Step::Released).await.ok();
                    return Err(BuyError::NotSigned(failure));
                }
            };
            let signed = Step::Signed(payment.clone());
            self.budget.write(&id, signed).await.map_err(BuyError::Budget)?;
            return self.deliver(transport, request, options, id, choice.offer, payment).await;
        }
        Err(objection.unwrap_or(BuyError::Declined(Decline::NoOffers.into())))
    }

    /// Continues a known purchase.
    async fn again<T: Transport>(
        &self,
        transport: &T,
        request: &T::Request,
        options: &PurchaseOptions<'_>,
        subject: &Subject,
        known: Purchase,
    ) -> Result<Paid<T::Response>, BuyError<T::Response, T::Error>> {
        if (&known.host, &known.digest) != (&subject.host, &subject.digest) {
            return Err(BuyError::AnotherPurchase);
        }
        match (known.state, known.payment) {
            (State::Paid(receipt), _) => Err(BuyError::AlreadyBought(receipt)),
            (_, None) => Err(BuyError::Unfinished),
            (_, Some(payment)) => {
                self.deliver(transport, request, options, known.id, known.offer, payment).await
            }
        }
    }

    fn over(&self, limit: usize) -> Result<Box<Limit>, BudgetError> {
        let limit = self.policy.limits.get(limit).ok_or(BudgetError::Unavailable)?;
        Ok(Box::new(limit.clone()))
    }

    fn purchase<R, E>(
        &self,
        options: &PurchaseOptions<'_>,
        subject: &Subject,
        choice: &Choice,
    ) -> Result<Purchase, BuyError<R, E>> {
        let id = match options.id {
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
}

/// Whether the payment is approved.
async fn approved(options: &PurchaseOptions<'_>, subject: &Subject, choice: &Choice) -> bool {
    let Some(approve) = options.approve else { return false };
    approve(Ask {
        host: subject.host.clone(),
        what: subject.what.clone(),
        offer: choice.offer.clone(),
        decimals: choice.decimals,
    })
    .await
}
