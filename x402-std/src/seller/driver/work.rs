//! A payment that is worked for, from its admission to its settlement.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use x402_core::buyer::Flow;
use x402_core::claim::ClaimKey;
use x402_core::{Payment, Reason};

use super::super::answers::Answers;
use super::super::{AcceptedPayment, Admission, Refusal, RequestDigest, Seller};
use super::delivery::Delivery;
use super::{Answer, Driver};
use crate::clock::Clock;
use crate::extension::BoxFuture;
use crate::facilitator::{Facilitator, PaymentOf};
use crate::message::SettleResponse;
use crate::store::{ClaimStore, StoreError};

pub(super) type Boxed<T> = BoxFuture<'static, T>;

/// A seller for payments of one type, whatever its parts.
pub(super) trait AnySeller<P>: Notes {
    fn now(&self) -> u64;
    fn settle(self: Arc<Self>, admission: Admission<P>) -> Boxed<Result<SettleResponse, Refusal>>;
    fn release(self: Arc<Self>, admission: Admission<P>) -> Boxed<()>;
}

/// A seller's notes on answers.
pub(super) trait Notes: Send + Sync {
    fn delivered(
        self: Arc<Self>,
        key: ClaimKey,
        transaction: String,
    ) -> Boxed<Result<(), StoreError>>;
    fn undelivered(self: Arc<Self>, key: ClaimKey, transaction: String) -> Boxed<()>;
}

impl<F, S, C> AnySeller<PaymentOf<F>> for Seller<F, S, C>
where
    F: Facilitator + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn settle(
        self: Arc<Self>,
        admission: Admission<PaymentOf<F>>,
    ) -> Boxed<Result<SettleResponse, Refusal>> {
        Box::pin(async move { Seller::settle(&self, admission).await })
    }

    fn release(self: Arc<Self>, admission: Admission<PaymentOf<F>>) -> Boxed<()> {
        Box::pin(async move { Seller::release(&self, admission).await })
    }
}

impl<F, S, C> Notes for Seller<F, S, C>
where
    F: Facilitator + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    fn delivered(
        self: Arc<Self>,
        key: ClaimKey,
        transaction: String,
    ) -> Boxed<Result<(), StoreError>> {
        Box::pin(async move { Seller::delivered(&self, key, &transaction).await })
    }

    fn undelivered(self: Arc<Self>, key: ClaimKey, transaction: String) -> Boxed<()> {
        Box::pin(async move { Seller::undelivered(&self, key, &transaction).await })
    }
}

/// The seller and the request for which a payment is worked on.
pub(super) struct Context<A> {
    pub(super) seller: Arc<dyn Notes>,
    pub(super) shared: Driver<A>,
    pub(super) digest: Option<RequestDigest>,
    /// Whether its answer is given again after it was delivered.
    pub(super) again: bool,
}

impl<A> Clone for Context<A> {
    fn clone(&self) -> Self {
        let (seller, shared) = (Arc::clone(&self.seller), self.shared.clone());
        Self { seller, shared, digest: self.digest, again: self.again }
    }
}

impl<A: Answer> Context<A> {
    /// Records that an answer is delivered. Returns `false` if it was made again elsewhere.
    pub(super) fn delivered(&self, key: ClaimKey, transaction: String) -> Boxed<bool> {
        let (seller, answers) = (Arc::clone(&self.seller), Arc::clone(&self.shared.answers));
        answers.noting(key);
        Box::pin(async move {
            let noted = seller.delivered(key, transaction).await;
            answers.noted(key, noted.is_ok());
            match noted {
                Ok(()) => true,
                Err(StoreError::Conflict) => answers.is_noted(key),
                // A failing store costs the buyer nothing.
                Err(_) => true,
            }
        })
    }

    /// Writes a note in a task of its own. If the runtime has ended, the claim stays as it is.
    pub(super) fn note(&self, note: impl FnOnce(Arc<dyn Notes>) -> Boxed<()>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let counted = Arc::clone(&self.shared.notes).try_acquire_owned();
        let note = note(Arc::clone(&self.seller));
        runtime.spawn(async move {
            note.await;
            drop(counted);
        });
    }
}

/// A payment that is being worked for. When dropped, it is released: the work failed or panicked, or the
/// caller left.
pub(super) struct Held<A: Answer, P: Send + 'static> {
    pub(super) seller: Arc<dyn AnySeller<P>>,
    pub(super) context: Context<A>,
    pub(super) work: Option<Work<P>>,
}

/// A payment, boxed because it is large.
pub(super) type Work<P> = (Box<Admission<P>>, OwnedSemaphorePermit);

impl<A: Answer, P: Payment + Send + Sync + 'static> Held<A, P> {
    /// Returns whether its offer is paid before any work for it.
    pub(super) fn is_offered_upfront(&self) -> bool {
        self.work.as_ref().is_some_and(|(admission, _)| {
            let offer = admission.requirements().as_view();
            Flow::from_requirements(&offer) == Some(Flow::Upfront)
        })
    }

    /// Returns whether it must be settled before any work for it.
    pub(super) fn is_upfront(&self) -> bool {
        self.work.as_ref().is_some_and(|(admission, _)| admission.flow() == Flow::Upfront)
    }

    /// Returns whether it was settled before, and its answer was lost.
    pub(super) fn is_settled(&self) -> bool {
        self.work.as_ref().is_some_and(|(admission, _)| admission.is_settled())
    }

    /// Returns the payment, for the handler.
    pub(super) fn accepted(&self) -> Option<AcceptedPayment> {
        self.work.as_ref().map(|(admission, _)| admission.accepted())
    }

    /// Returns the time that is left for the work.
    pub(super) fn time_left(&self) -> Duration {
        let now = self.seller.now();
        let until = self.work.as_ref().map_or(now, |(admission, _)| admission.work_until(now));
        Duration::from_secs(until.saturating_sub(now).max(1))
    }

    /// Releases the payment, to the end even if the caller leaves. The buyer can then present it again at
    /// once.
    pub(super) async fn give_back(mut self) {
        let Some((admission, permit)) = self.work.take() else { return };
        let seller = Arc::clone(&self.seller);
        let release = async move {
            seller.release(*admission).await;
            drop(permit);
        };
        tokio::spawn(release).await.ok();
    }

    /// Settles, to the end even if the caller leaves.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) async fn settle(mut self) -> Result<(SettleResponse, Delivery<A>), Refusal> {
        let (seller, context) = (Arc::clone(&self.seller), self.context.clone());
        to_the_end(settle(seller, context, self.work.take())).await
    }

    /// Settles, to the end even if the caller leaves, and keeps the answer given with its length in bytes.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) async fn settle_with(
        mut self,
        answer: impl FnOnce(&SettleResponse) -> (A, usize) + Send + 'static,
    ) -> Result<(A, Delivery<A>), Refusal> {
        let (seller, context) = (Arc::clone(&self.seller), self.context.clone());
        let work = self.work.take();
        to_the_end(async move {
            let (receipt, mut delivery) = settle(seller, context, work).await?;
            let (answer, bytes) = answer(&receipt);
            delivery.keep(answer.clone(), bytes);
            Ok((answer, delivery))
        })
        .await
    }
}

pub(super) async fn settle<A: Answer, P>(
    seller: Arc<dyn AnySeller<P>>,
    context: Context<A>,
    work: Option<Work<P>>,
) -> Result<(SettleResponse, Delivery<A>), Refusal> {
    let (admission, _permit) = work.ok_or(Reason::UnexpectedSettleError)?;
    let (key, noted) = (admission.claim_key(), admission.is_settled());
    let begun = Begun::new(&context, key);
    match seller.settle(*admission).await {
        Ok(receipt) => {
            begun.keep();
            let claim = Some((key, receipt.transaction.clone()));
            Ok((receipt, Delivery { context, claim, kept: false, noted }))
        }
        Err(refusal) => Err(refusal),
    }
}

/// A settlement that was begun here. When dropped, it has no answer.
pub(super) struct Begun<A: Answer> {
    pub(super) answers: Option<Arc<Answers<A>>>,
    pub(super) key: ClaimKey,
}

impl<A: Answer> Begun<A> {
    pub(super) fn new(context: &Context<A>, key: ClaimKey) -> Self {
        let answers = &context.shared.answers;
        let begun = answers.begin(key, context.digest);
        Self { answers: begun.then(|| Arc::clone(answers)), key }
    }

    pub(super) fn keep(mut self) {
        self.answers = None;
    }
}

impl<A: Answer> Drop for Begun<A> {
    fn drop(&mut self) {
        if let Some(answers) = &self.answers {
            answers.forget(self.key);
        }
    }
}

impl<A: Answer, P: Send + 'static> Drop for Held<A, P> {
    fn drop(&mut self) {
        if let Some((admission, permit)) = self.work.take() {
            let seller = Arc::clone(&self.seller);
            self.context.note(|_| {
                Box::pin(async move {
                    seller.release(*admission).await;
                    drop(permit);
                })
            });
        }
    }
}

/// Runs a future to its end, even if its caller leaves.
pub(super) async fn to_the_end<T: Send + 'static>(
    future: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    // Boxed, because it is large and tokio moves it.
    let done = tokio::spawn(Box::pin(future)).await;
    done.unwrap_or_else(|_| Err(Reason::UnexpectedSettleError.into()))
}
