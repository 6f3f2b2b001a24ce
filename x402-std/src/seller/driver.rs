//! The driver of paid work, which every carrier serves through.
//!
//! A carrier reads a request, and writes an answer. Between the two, [`Driver::serve`] asks the extensions,
//! admits the payment, has the [`Job`] done, settles, and keeps the answer until it is delivered:
//!
//! 1. An extension may grant the request, replay an earlier answer, or refuse.
//! 2. The payment is checked and claimed. [`Driver::new`] sets how many payments and granted requests are worked on at
//!    once.
//! 3. The job runs in the carrier's own future and ends with it: if the caller hangs up, the payment is
//!    released. A job that panics costs nothing. The job has as much time as the payment.
//! 4. A settlement that has begun runs to its end, even if the caller leaves. Offers with the flow `upfront`
//!    are settled before the job is done.
//! 5. The answer is kept for ten minutes. If it was lost, the same request with the same payment gets it
//!    again.
//!
//! A carrier fills in `offers.resource.url`, checks the offers ([`Seller::check`]) and adds the extensions'
//! announcements ([`Seller::announce`]). From each request it makes a [`PaidRequest`], with the headers that
//! [`Seller::headers`] names, and a [`Job`]. It answers with the result of [`Driver::serve`], and calls
//! [`written`](Delivery::written) on the [`Delivery`] once the answer is out. At its end it waits for
//! [`Driver::drain`]. [`server`](crate::seller::server) and [`mcp`](crate::mcp) are such carriers.
//! `tests/outside` of this crate has one that sends frames over TCP.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use x402_core::buyer::Flow;
use x402_core::claim::ClaimKey;
use x402_core::{Payment, Reason, Version};

pub use super::answers::ConnectionEnd;
use super::answers::{Answers, Known};
use super::{AcceptedPayment, Admission, Offers, Refusal, RequestDigest, Seller, busy};
use crate::clock::Clock;
use crate::extension::{Before, BoxFuture, PaidRequest};
use crate::facilitator::{Facilitator, PaymentOf};
use crate::message::SettleResponse;
use crate::store::{ClaimStore, StoreError};

/// A server of paid requests for one carrier, whose answers are of type `A`. It limits how many payments are
/// worked on at once, and keeps answers that may have been lost. Clones share one state.
#[derive(Debug)]
pub struct Driver<A> {
    permits: Arc<Semaphore>,
    most: u32,
    /// One permit for each note that is being written.
    notes: Arc<Semaphore>,
    answers: Arc<Answers<A>>,
}

/// Number of polls, and the pause between them, while a connection's end is unknown.
const ENDS: u32 = 20;
const END: Duration = Duration::from_millis(50);

/// Permits for notes: more than are ever in use.
const NOTES: u32 = 1 << 20;

impl<A> Clone for Driver<A> {
    fn clone(&self) -> Self {
        let (permits, notes) = (Arc::clone(&self.permits), Arc::clone(&self.notes));
        Self { permits, most: self.most, notes, answers: Arc::clone(&self.answers) }
    }
}

/// The work for one request, as its carrier does it.
pub trait Job: Send {
    /// An answer withheld until it is paid for, and kept in case it is lost.
    type Answer: Answer;

    /// An answer that is passed on unchanged and not kept.
    type Passed: Send;

    /// Does the work for a payment that is checked and claimed. With `paid` the payment is settled already,
    /// and the answer may be streamed. A request that an extension grants has no payment, and is `paid`:
    /// nothing is left to settle. Without `paid`, a returned [`Worked::Goods`] is withheld until settlement.
    fn work(
        self,
        payment: Option<AcceptedPayment>,
        paid: bool,
    ) -> impl Future<Output = Worked<Self::Answer, Self::Passed>> + Send;

    /// Puts the receipt into an answer.
    fn with_receipt(
        answer: Self::Answer,
        version: Version,
        receipt: &SettleResponse,
    ) -> Self::Answer;

    /// Puts the receipt into an answer that is passed on.
    fn passed_with_receipt(
        passed: Self::Passed,
        version: Version,
        receipt: &SettleResponse,
    ) -> Self::Passed;
}

/// The result of a [`Job`].
#[derive(Debug)]
pub enum Worked<A, P> {
    /// An answer to charge for, and its approximate size in bytes.
    Goods(A, usize),
    /// An answer that is not charged for, such as an error: the payment is released. If it was settled before
    /// the work, the same request may have the work done again.
    NotCharged(P),
    /// An answer that was paid before the work and is passed on while it is made, such as a stream. Without
    /// `paid` it is not charged for.
    Streamed(P),
}

/// The outcome of a request.
pub enum Served<A: Answer, P> {
    /// A paid answer, with its receipt. Call [`Delivery::written`] once it is out.
    Paid(A, Delivery<A>),
    /// An answer that is passed on unchanged.
    Passed(P),
    /// An answer that an extension grants without a payment.
    Granted(A),
    /// No payment came with the request: answer with the challenge.
    Unpaid,
    /// The payment is refused. Answer with the refusal's status, the challenge with the refusal's
    /// `to_string()` as its error, and any receipt.
    Refused(Refusal),
    /// The job panicked. Nothing was charged, unless the offer is paid upfront; then the receipt is here.
    Panicked(Option<SettleResponse>),
    /// The job outlasted its payment. Nothing is charged now; a receipt is of a payment that was settled
    /// before.
    TimedOut(Option<SettleResponse>),
}

impl<A: Answer, P> fmt::Debug for Served<A, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paid(..) => "Paid",
            Self::Passed(_) => "Passed",
            Self::Granted(_) => "Granted",
            Self::Unpaid => "Unpaid",
            Self::Refused(refusal) => return write!(f, "Refused({refusal})"),
            Self::Panicked(_) => "Panicked",
            Self::TimedOut(_) => "TimedOut",
        })
    }
}

/// The outcome of presenting a payment.
enum Entry<A: Answer, P: Send + 'static> {
    /// The payment is to be worked for.
    Work(Held<A, P>),
    /// Its answer was made before, and lost.
    Again(A, Delivery<A>),
}

/// A carrier's answer to a payment.
pub trait Answer: Clone + Send + Sync + 'static {}

impl<A: Clone + Send + Sync + 'static> Answer for A {}

type Boxed<T> = BoxFuture<'static, T>;

/// A seller for payments of one type, whatever its parts.
trait AnySeller<P>: Notes {
    fn now(&self) -> u64;
    fn settle(self: Arc<Self>, admission: Admission<P>) -> Boxed<Result<SettleResponse, Refusal>>;
    fn release(self: Arc<Self>, admission: Admission<P>) -> Boxed<()>;
}

/// A seller's notes on answers.
trait Notes: Send + Sync {
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

impl<A: Answer> Driver<A> {
    /// Returns a driver that works on at most `at_once` payments at once; more are refused as
    /// [`Reason::Busy`].
    pub fn new(at_once: usize) -> Self {
        let at_once = at_once.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let permits = Arc::new(Semaphore::new(at_once));
        let most = u32::try_from(at_once).unwrap_or(u32::MAX);
        let notes = Arc::new(Semaphore::new(NOTES as usize));
        Self { permits, most, notes, answers: Arc::default() }
    }

    /// Waits until all work on payments, and all notes about them, are finished. Callers that hang up leave
    /// settlements behind: await this before the process ends.
    pub async fn drain(&self) {
        // The semaphores are never closed.
        self.permits.acquire_many(self.most).await.ok();
        self.notes.acquire_many(NOTES).await.ok();
    }

    /// Serves a request: see the [module](self).
    pub async fn serve<J, F, S, C>(
        &self,
        seller: &Arc<Seller<F, S, C>>,
        request: PaidRequest,
        job: J,
    ) -> Served<A, J::Passed>
    where
        J: Job<Answer = A>,
        F: Facilitator + 'static,
        S: ClaimStore + 'static,
        C: Clock + 'static,
    {
        match seller.before(&request).await {
            Before::GoOn => {}
            Before::Grant => {
                let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                    return Served::Refused(
                        busy("the seller has too many requests in work").into(),
                    );
                };
                let served = granted(job).await;
                drop(permit);
                return served;
            }
            Before::Replay(key) => {
                // An extension has seen no proof that the payment is the buyer's.
                if !seller.is_payment(&request, key) {
                    return Served::Refused(Reason::DuplicateSettlement.into());
                }
                let (shared, digest) = (self.clone(), Some(request.digest));
                return match self.answers.again(key, digest) {
                    Some(answer) => {
                        let context =
                            Context { seller: seller.clone(), shared, digest, again: true };
                        // It was paid for and delivered before: there is nothing to record.
                        let delivery = Delivery { context, claim: None, kept: false, noted: true };
                        Served::Paid(answer, delivery)
                    }
                    None => Served::Refused(Reason::DuplicateSettlement.into()),
                };
            }
            Before::Refuse(refusal) => return Served::Refused(*refusal),
        }
        let PaidRequest { offers, payment, digest, again, .. } = request;
        let Some((version, payment)) = payment else { return Served::Unpaid };
        let held = match self.admit(seller, offers, (version, payment), digest, again).await {
            Ok(Entry::Work(held)) => held,
            Ok(Entry::Again(answer, delivery)) => return Served::Paid(answer, delivery),
            Err(refusal) => return Served::Refused(refusal),
        };
        // A settled payment whose answer was lost is served again as its offer says, and so is one whose answer
        // must be kept.
        let as_offered = held.is_settled() || again;
        let served = if held.is_offered_upfront() || held.is_upfront() && !as_offered {
            upfront(held, version, job).await
        } else {
            withheld(held, version, job).await
        };
        served.unwrap_or_else(Served::Refused)
    }

    /// Checks and claims a payment, to the end even if the caller leaves.
    ///
    /// # Errors
    /// [`Refusal`]; [`Reason::Busy`] if too many payments are worked on.
    async fn admit<F, S, C>(
        &self,
        seller: &Arc<Seller<F, S, C>>,
        offers: Arc<Offers>,
        (version, payment): (Version, Vec<u8>),
        digest: RequestDigest,
        again: bool,
    ) -> Result<Entry<A, PaymentOf<F>>, Refusal>
    where
        F: Facilitator + 'static,
        S: ClaimStore + 'static,
        C: Clock + 'static,
    {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| busy("the seller has too many payments in work"))?;
        let (seller, shared) = (Arc::clone(seller), self.clone());
        to_the_end(async move {
            let digest = Some(digest);
            let admitted = seller.admit_checked(&offers, version, &payment, digest).await;
            let settled = match &admitted {
                Ok(admission) => admission.settled_in().map(|id| (admission.claim_key(), id)),
                Err(refusal) => refusal.settled.map(|key| {
                    let receipt = refusal.receipt.as_ref();
                    (key, receipt.map(|it| it.transaction.clone()).unwrap_or_default())
                }),
            };
            let delivered = matches!(&admitted, Err(refusal) if refusal.delivered);
            let context = Context { seller: seller.clone(), shared, digest, again };
            if let Some((key, transaction)) = settled {
                let answers = &context.shared.answers;
                // The caller hung up and asks again: the end of the first connection is soon known.
                let mut waits = 0..ENDS;
                while !again && answers.is_open(key, digest) && waits.next().is_some() {
                    sleep(END).await;
                }
                match answers.take(key, digest, delivered) {
                    Known::Lost(answer) => {
                        let claim = Some((key, transaction));
                        let delivery = Delivery { context, claim, kept: true, noted: delivered };
                        return Ok(Entry::Again(answer, delivery));
                    }
                    // It is being written out, or was.
                    Known::Elsewhere => {
                        if let Some(answer) = again.then(|| answers.again(key, digest)).flatten() {
                            let delivery =
                                Delivery { context, claim: None, kept: false, noted: true };
                            return Ok(Entry::Again(answer, delivery));
                        }
                        let duplicate = || Reason::DuplicateSettlement.into();
                        return Err(admitted.err().unwrap_or_else(duplicate));
                    }
                    Known::Unknown => {}
                }
            }
            Ok(Entry::Work(Held { work: Some((Box::new(admitted?), permit)), seller, context }))
        })
        .await
    }
}

/// Serves a request that an extension grants without a payment.
async fn granted<J: Job>(job: J) -> Served<J::Answer, J::Passed> {
    match survive(job.work(None, true)).await {
        Some(Worked::Goods(answer, _)) => Served::Granted(answer),
        Some(Worked::NotCharged(passed) | Worked::Streamed(passed)) => Served::Passed(passed),
        None => Served::Panicked(None),
    }
}

/// Settles, then works. Work that failed after payment may be requested again.
async fn upfront<J: Job, P: Payment + Send + Sync + 'static>(
    held: Held<J::Answer, P>,
    version: Version,
    job: J,
) -> Result<Served<J::Answer, J::Passed>, Refusal> {
    let payment = held.accepted();
    let (receipt, mut delivery) = held.settle().await?;
    Ok(match survive(job.work(payment, true)).await {
        Some(Worked::Goods(answer, bytes)) => {
            let answer = J::with_receipt(answer, version, &receipt);
            delivery.keep(answer.clone(), bytes);
            Served::Paid(answer, delivery)
        }
        Some(Worked::Streamed(passed)) => {
            delivery.written(None);
            Served::Passed(J::passed_with_receipt(passed, version, &receipt))
        }
        Some(Worked::NotCharged(passed)) => {
            Served::Passed(J::passed_with_receipt(passed, version, &receipt))
        }
        None => Served::Panicked(Some(receipt)),
    })
}

/// Works, then settles. A lost answer to a settled payment is recorded as delivered before it is made again.
/// That keeps every other process from making it too.
async fn withheld<J: Job, P: Payment + Send + Sync + 'static>(
    held: Held<J::Answer, P>,
    version: Version,
    job: J,
) -> Result<Served<J::Answer, J::Passed>, Refusal> {
    let (payment, time) = (held.accepted(), held.time_left());
    let (held, settled) = match held.is_upfront() {
        true => (None, Some(held.settle().await?)),
        false => (Some(held), None),
    };
    let receipt = || settled.as_ref().map(|(receipt, _)| receipt.clone());
    let outcome = match timeout(time, survive(job.work(payment, false))).await {
        Ok(Some(Worked::Goods(answer, bytes))) => Ok((answer, bytes)),
        Ok(Some(Worked::NotCharged(passed) | Worked::Streamed(passed))) => {
            Err(Served::Passed(match receipt() {
                Some(receipt) => J::passed_with_receipt(passed, version, &receipt),
                None => passed,
            }))
        }
        Ok(None) => Err(Served::Panicked(receipt())),
        Err(_) => {
            tracing::warn!(?time, "work not charged: it took longer than its payment is good for");
            Err(Served::TimedOut(receipt()))
        }
    };
    let (answer, bytes) = match outcome {
        Ok(goods) => goods,
        Err(served) => {
            if let Some(held) = held {
                held.give_back().await;
            }
            return Ok(served);
        }
    };
    let make = move |receipt: &SettleResponse| (J::with_receipt(answer, version, receipt), bytes);
    if let Some((receipt, mut delivery)) = settled {
        let (answer, bytes) = make(&receipt);
        delivery.keep(answer.clone(), bytes);
        return Ok(Served::Paid(answer, delivery));
    }
    match held {
        Some(held) => held.settle_with(make).await.map(|(it, delivery)| Served::Paid(it, delivery)),
        None => Err(Reason::UnexpectedSettleError.into()),
    }
}

/// Returns a future's output, or `None` if it panics: a handler's bug must not cost the buyer's claim.
async fn survive<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let poll = AssertUnwindSafe(|| future.as_mut().poll(context));
        match catch_unwind(poll) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

/// The seller and the request for which a payment is worked on.
struct Context<A> {
    seller: Arc<dyn Notes>,
    shared: Driver<A>,
    digest: Option<RequestDigest>,
    /// Whether its answer is given again after it was delivered.
    again: bool,
}

impl<A> Clone for Context<A> {
    fn clone(&self) -> Self {
        let (seller, shared) = (Arc::clone(&self.seller), self.shared.clone());
        Self { seller, shared, digest: self.digest, again: self.again }
    }
}

impl<A: Answer> Context<A> {
    /// Records that an answer is delivered. Returns `false` if it was made again elsewhere.
    fn delivered(&self, key: ClaimKey, transaction: String) -> Boxed<bool> {
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
    fn note(&self, note: impl FnOnce(Arc<dyn Notes>) -> Boxed<()>) {
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
struct Held<A: Answer, P: Send + 'static> {
    seller: Arc<dyn AnySeller<P>>,
    context: Context<A>,
    work: Option<Work<P>>,
}

/// A payment, boxed because it is large.
type Work<P> = (Box<Admission<P>>, OwnedSemaphorePermit);

impl<A: Answer, P: Payment + Send + Sync + 'static> Held<A, P> {
    /// Returns whether its offer is paid before any work for it.
    fn is_offered_upfront(&self) -> bool {
        self.work.as_ref().is_some_and(|(admission, _)| {
            let offer = admission.requirements().as_view();
            Flow::from_requirements(&offer) == Some(Flow::Upfront)
        })
    }

    /// Returns whether it must be settled before any work for it.
    fn is_upfront(&self) -> bool {
        self.work.as_ref().is_some_and(|(admission, _)| admission.flow() == Flow::Upfront)
    }

    /// Returns whether it was settled before, and its answer was lost.
    fn is_settled(&self) -> bool {
        self.work.as_ref().is_some_and(|(admission, _)| admission.is_settled())
    }

    /// Returns the payment, for the handler.
    fn accepted(&self) -> Option<AcceptedPayment> {
        self.work.as_ref().map(|(admission, _)| admission.accepted())
    }

    /// Returns the time that is left for the work.
    fn time_left(&self) -> Duration {
        let now = self.seller.now();
        let until = self.work.as_ref().map_or(now, |(admission, _)| admission.work_until(now));
        Duration::from_secs(until.saturating_sub(now).max(1))
    }

    /// Releases the payment, to the end even if the caller leaves. The buyer can then present it again at
    /// once.
    async fn give_back(mut self) {
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
    async fn settle(mut self) -> Result<(SettleResponse, Delivery<A>), Refusal> {
        let (seller, context) = (Arc::clone(&self.seller), self.context.clone());
        to_the_end(settle(seller, context, self.work.take())).await
    }

    /// Settles, to the end even if the caller leaves, and keeps the answer given with its length in bytes.
    ///
    /// # Errors
    /// [`Refusal`].
    async fn settle_with(
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

async fn settle<A: Answer, P>(
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
struct Begun<A: Answer> {
    answers: Option<Arc<Answers<A>>>,
    key: ClaimKey,
}

impl<A: Answer> Begun<A> {
    fn new(context: &Context<A>, key: ClaimKey) -> Self {
        let answers = &context.shared.answers;
        let begun = answers.begin(key, context.digest);
        Self { answers: begun.then(|| Arc::clone(answers)), key }
    }

    fn keep(mut self) {
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

/// A settled payment whose answer is on its way. When dropped unwritten, the same request gets the answer
/// again, or has it made again.
#[must_use]
pub struct Delivery<A: Answer> {
    context: Context<A>,
    /// Its claim and its transaction; `None` once it was written out.
    claim: Option<(ClaimKey, String)>,
    /// Whether its answer is kept here.
    kept: bool,
    /// Whether the claim is already recorded as delivered.
    noted: bool,
}

impl<A: Answer> Delivery<A> {
    /// Keeps the answer in case it is lost.
    fn keep(&mut self, answer: A, bytes: usize) {
        if let Some((key, _)) = &self.claim {
            let Context { shared, digest, again, .. } = &self.context;
            shared.answers.keep(*key, *digest, answer, bytes, *again);
            if self.noted {
                self.context.shared.answers.noted(*key, true);
            }
            self.kept = true;
        }
    }

    /// This is for carriers that write in pieces; others call only [`written`](Self::written). If it returns
    /// `false`, call [`taken_over`](Self::taken_over) and write no more.
    ///
    /// Records the delivery before the last piece is written. A reader of the whole answer can then never
    /// have it made again, even by having the process killed in time. Returns `false` if it was made again
    /// elsewhere: then the rest must not be written.
    pub fn note(&mut self) -> BoxFuture<'static, bool> {
        let Some((key, transaction)) = self.claim.clone().filter(|_| !self.noted) else {
            return Box::pin(std::future::ready(true));
        };
        self.noted = true;
        let counted = Arc::clone(&self.context.shared.notes).try_acquire_owned();
        let noted = self.context.delivered(key, transaction);
        // To its end, even if the connection breaks: this process must know that it made the record.
        let noted = tokio::spawn(async move {
            let mine = noted.await;
            drop(counted);
            mine
        });
        Box::pin(async move { noted.await.unwrap_or(true) })
    }

    /// Drops the kept answer, which was made again elsewhere.
    pub fn taken_over(mut self) {
        if let Some((key, _)) = self.claim.take() {
            self.context.shared.answers.written(key, None);
        }
    }

    /// Reports that the answer was written out, over a connection whose end may be known later.
    pub fn written(mut self, end: Option<ConnectionEnd>) {
        let Some((key, transaction)) = self.claim.take() else { return };
        self.context.shared.answers.written(key, end);
        if !self.noted {
            let noted = self.context.delivered(key, transaction);
            self.context.note(|_| Box::pin(async move { _ = noted.await }));
        }
    }
}

impl<A: Answer> Drop for Delivery<A> {
    fn drop(&mut self) {
        let Some((key, transaction)) = self.claim.take() else { return };
        if self.kept {
            self.context.shared.answers.lost(key);
            return;
        }
        self.context.shared.answers.forget(key);
        if self.noted {
            self.context.note(|seller| seller.undelivered(key, transaction));
        }
    }
}

/// Runs a future to its end, even if its caller leaves.
async fn to_the_end<T: Send + 'static>(
    future: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    // Boxed, because it is large and tokio moves it.
    let done = tokio::spawn(Box::pin(future)).await;
    done.unwrap_or_else(|_| Err(Reason::UnexpectedSettleError.into()))
}
