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

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use x402_core::{Payment, Reason, Version};

pub use super::answers::ConnectionEnd;
pub use delivery::Delivery;
use work::{Context, Held, to_the_end};

mod delivery;
mod work;
use super::answers::{Answers, Known};
use super::{AcceptedPayment, Offers, Refusal, RequestDigest, Seller, busy};
use crate::clock::Clock;
use crate::extension::{Before, PaidRequest};
use crate::facilitator::{Facilitator, PaymentOf};
use crate::message::SettleResponse;
use crate::store::ClaimStore;

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
                match answers.take(key, digest, delivered, again) {
                    Known::Lost(answer) => {
                        let claim = Some((key, transaction));
                        let delivery = Delivery { context, claim, kept: true, noted: delivered };
                        return Ok(Entry::Again(answer, delivery));
                    }
                    // It is being written out, or was.
                    Known::Elsewhere => {
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
