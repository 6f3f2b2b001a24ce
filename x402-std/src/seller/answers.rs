//! Answers that were paid for, kept for a while in case that they were lost.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use x402_core::claim::ClaimKey;

use super::{DELIVERY_SECONDS, RequestDigest};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(600);

/// Most bytes of all answers together.
const BYTES: usize = 64 << 20;

/// What an answer takes besides its body.
const OVERHEAD: usize = 1024;

/// How the connection ended over which an answer was written. Whoever serves puts one into the
/// extensions of each request, and says so at the connection's end: an answer that was written out
/// and never read is then given again. Without one, an answer that was written out counts as
/// delivered.
#[derive(Clone, Debug, Default)]
pub struct ConnectionEnd(Arc<AtomicU8>);

impl ConnectionEnd {
    const OPEN: u8 = 0;
    const GOOD: u8 = 1;
    const BROKEN: u8 = 2;

    /// The peer closed it, or the server did.
    pub fn closed(&self) {
        self.0.compare_exchange(Self::OPEN, Self::GOOD, Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    /// It broke: what was written last may not have been read.
    pub fn broke(&self) {
        self.0.store(Self::BROKEN, Ordering::Relaxed);
    }

    fn is(&self, end: u8) -> bool {
        self.0.load(Ordering::Relaxed) == end
    }
}

/// The answers of one carrier, by claim.
#[derive(Debug)]
pub(crate) struct Answers<A>(Mutex<All<A>>);

#[derive(Debug)]
struct All<A> {
    kept: HashMap<ClaimKey, Kept<A>>,
    /// Claims by when their answers were made.
    order: VecDeque<(Instant, ClaimKey)>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept<A> {
    digest: Option<RequestDigest>,
    made: Instant,
    stage: Stage,
    /// None while it is settled.
    answer: Option<A>,
    bytes: usize,
}

#[derive(Debug)]
enum Stage {
    /// It is being settled, or written out since then.
    Busy(Instant),
    Written(Option<ConnectionEnd>),
    Lost,
}

/// What is known of the answer to a payment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known<A> {
    /// Here it is: it was lost.
    Lost(A),
    /// It is on its way, was delivered, or is another request's.
    Elsewhere,
    Unknown,
}

impl<A> Default for Answers<A> {
    fn default() -> Self {
        let (kept, order) = Default::default();
        Self(Mutex::new(All { kept, order, bytes: 0 }))
    }
}

impl<A: Clone> Answers<A> {
    fn all(&self) -> MutexGuard<'_, All<A>> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a payment is being settled here: until its answer is kept, none is made anew.
    pub(crate) fn begin(&self, key: ClaimKey, digest: Option<RequestDigest>) {
        let now = Instant::now();
        let kept =
            Kept { digest, made: now, stage: Stage::Busy(now), answer: None, bytes: OVERHEAD };
        self.all().put(key, kept, now);
    }

    /// Forgets a payment that was not settled.
    pub(crate) fn forget(&self, key: ClaimKey) {
        self.all().remove(key);
    }

    /// Keeps the answer to a settled payment, which is about to be written out.
    pub(crate) fn keep(
        &self,
        key: ClaimKey,
        digest: Option<RequestDigest>,
        answer: A,
        bytes: usize,
    ) {
        let (now, bytes) = (Instant::now(), bytes.saturating_add(OVERHEAD));
        let (stage, answer) = (Stage::Busy(now), Some(answer));
        self.all().put(key, Kept { digest, made: now, stage, answer, bytes }, now);
    }

    pub(crate) fn written(&self, key: ClaimKey, end: Option<ConnectionEnd>) {
        let mut all = self.all();
        match end {
            Some(end) => {
                if let Some(kept) = all.kept.get_mut(&key) {
                    kept.stage = Stage::Written(Some(end));
                }
            }
            None => all.remove(key),
        }
    }

    pub(crate) fn lost(&self, key: ClaimKey) {
        if let Some(kept) = self.all().kept.get_mut(&key) {
            kept.stage = Stage::Lost;
        }
    }

    /// Takes the answer for the same request, if it was lost. It is about to be written out again.
    pub(crate) fn take(&self, key: ClaimKey, digest: Option<RequestDigest>) -> Known<A> {
        let mut all = self.all();
        let now = Instant::now();
        all.forget_old(now);
        let Some(kept) = all.kept.get_mut(&key) else { return Known::Unknown };
        let Some(answer) = &kept.answer else { return Known::Elsewhere };
        let lost = match &kept.stage {
            Stage::Lost => true,
            Stage::Busy(since) => since.elapsed() > Duration::from_secs(DELIVERY_SECONDS),
            Stage::Written(end) => end.as_ref().is_some_and(|end| end.is(ConnectionEnd::BROKEN)),
        };
        if !lost || kept.digest.is_none() || kept.digest != digest {
            return Known::Elsewhere;
        }
        let answer = answer.clone();
        kept.stage = Stage::Busy(now);
        Known::Lost(answer)
    }
}

impl<A> All<A> {
    fn put(&mut self, key: ClaimKey, kept: Kept<A>, now: Instant) {
        self.remove(key);
        self.bytes = self.bytes.saturating_add(kept.bytes);
        self.order.push_back((kept.made, key));
        self.kept.insert(key, kept);
        self.forget_old(now);
    }

    fn remove(&mut self, key: ClaimKey) {
        if let Some(kept) = self.kept.remove(&key) {
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }

    /// Forgets what is too old or too much, and what is known to be delivered, oldest first.
    fn forget_old(&mut self, now: Instant) {
        while let Some((made, key)) = self.order.front().copied() {
            let current = self.kept.get(&key).filter(|kept| kept.made == made);
            let goes = current.is_none_or(|kept| {
                let delivered = match &kept.stage {
                    Stage::Written(Some(end)) => end.is(ConnectionEnd::GOOD),
                    Stage::Written(None) => true,
                    Stage::Busy(_) | Stage::Lost => false,
                };
                // One that is settled takes no room to speak of, and must not be made anew.
                let old = now.duration_since(made) > KEPT || self.bytes > BYTES;
                delivered || old && kept.answer.is_some() || now.duration_since(made) > 2 * KEPT
            });
            if !goes {
                return;
            }
            if current.is_some() {
                self.remove(key);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> ClaimKey {
        ClaimKey::new([number; 32])
    }

    #[test]
    fn only_what_was_lost_is_given_again_and_only_to_the_same_request() {
        let answers = Answers::default();
        let (this, other) = (Some(RequestDigest([1; 32])), Some(RequestDigest([2; 32])));
        assert_eq!(answers.take(key(1), this), Known::Unknown);
        answers.begin(key(1), this);
        assert_eq!(answers.take(key(1), this), Known::Elsewhere);
        answers.keep(key(1), this, "one", 3);
        assert_eq!(answers.take(key(1), this), Known::Elsewhere);
        answers.lost(key(1));
        for not_this in [other, None] {
            assert_eq!(answers.take(key(1), not_this), Known::Elsewhere);
        }
        assert_eq!(answers.take(key(1), this), Known::Lost("one"));
        // It is on its way again, to one only.
        assert_eq!(answers.take(key(1), this), Known::Elsewhere);
        let end = ConnectionEnd::default();
        answers.written(key(1), Some(end.clone()));
        assert_eq!(answers.take(key(1), this), Known::Elsewhere);
        end.broke();
        end.closed();
        assert_eq!(answers.take(key(1), this), Known::Lost("one"));
        answers.written(key(1), None);
        assert_eq!(answers.take(key(1), this), Known::Unknown);
        assert_eq!(answers.all().bytes, 0);
        // A request that is not told from others gets nothing again.
        answers.keep(key(2), None, "two", 3);
        answers.lost(key(2));
        assert_eq!(answers.take(key(2), None), Known::Elsewhere);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let answers = Answers::default();
        for number in 0..100 {
            answers.keep(key(number), Some(RequestDigest([1; 32])), number, 1 << 20);
            answers.lost(key(number));
        }
        let all = answers.all();
        assert!(all.bytes <= BYTES && all.kept.len() == all.order.len(), "{}", all.bytes);
        assert!((60..64).contains(&all.kept.len()), "{}", all.kept.len());
        assert!(all.kept.contains_key(&key(99)) && !all.kept.contains_key(&key(0)));
    }

    #[test]
    fn what_was_delivered_makes_room() {
        let answers = Answers::default();
        let end = ConnectionEnd::default();
        answers.keep(key(1), None, 1, 1 << 20);
        answers.written(key(1), Some(end.clone()));
        end.closed();
        answers.keep(key(2), None, 2, 1);
        assert_eq!(answers.all().kept.len(), 1);
    }
}
