//! Paid answers, kept for a while in case they are lost.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::lock;
use x402_core::claim::ClaimKey;

use super::{DELIVERY_SECONDS, RequestDigest};

/// The time for which an answer is kept.
pub(super) const KEPT: Duration = Duration::from_secs(600);

/// Limit of all answers together, in bytes.
const BYTES: usize = 64 << 20;

/// Bytes counted for an answer besides its body.
const OVERHEAD: usize = 1024;

/// The end of the connection over which an answer was written. A server puts one into the extensions of each
/// request, and reports to it when the connection ends. An answer that was written out but never read is then
/// given again. Without a `ConnectionEnd`, an answer that was written out counts as delivered.
#[derive(Clone, Debug, Default)]
pub struct ConnectionEnd(Arc<AtomicU8>);

impl ConnectionEnd {
    const OPEN: u8 = 0;
    const GOOD: u8 = 1;
    const BROKEN: u8 = 2;

    /// Reports that the peer or the server closed the connection.
    pub fn closed(&self) {
        self.0.compare_exchange(Self::OPEN, Self::GOOD, Ordering::Relaxed, Ordering::Relaxed).ok();
    }

    /// Reports that the connection broke: its last bytes may be unread.
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
    /// Claims with an answer, by the time it was made.
    order: VecDeque<(Instant, ClaimKey)>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept<A> {
    digest: Option<RequestDigest>,
    made: Instant,
    stage: Stage,
    /// `None` during settlement, and for an answer on its way that there is no room for.
    answer: Option<A>,
    bytes: usize,
    /// Whether it is given again after it was delivered.
    again: bool,
    /// Whether this process recorded its claim as delivered, and whether it is doing so now.
    noted: bool,
    noting: bool,
}

#[derive(Debug)]
enum Stage {
    /// Being settled, or written out, since this instant.
    Busy(Instant),
    Written(ConnectionEnd),
    Lost,
}

/// The state of the answer to a payment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known<A> {
    /// The answer was lost, or may be given again, and is given here.
    Lost(A),
    /// The answer is on its way, was delivered, or belongs to another request.
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
        lock(&self.0)
    }

    /// Marks a payment as being settled here: no second answer is made until the first is kept. Returns
    /// `false` if it is marked already, or its answer is kept.
    pub(crate) fn begin(&self, key: ClaimKey, digest: Option<RequestDigest>) -> bool {
        let now = Instant::now();
        let stage = Stage::Busy(now);
        let kept = Kept {
            digest,
            made: now,
            stage,
            answer: None,
            bytes: OVERHEAD,
            again: false,
            noted: false,
            noting: false,
        };
        let mut all = self.all();
        let new = !all.kept.contains_key(&key);
        if new {
            all.put(key, kept, now);
        }
        new
    }

    /// Forgets a payment that has no answer.
    pub(crate) fn forget(&self, key: ClaimKey) {
        let mut all = self.all();
        if all.kept.get(&key).is_some_and(|kept| kept.answer.is_none()) {
            all.remove(key);
        }
    }

    /// Keeps the answer to a settled payment, which is about to be written out. With `again` it stays after
    /// it was delivered.
    pub(crate) fn keep(
        &self,
        key: ClaimKey,
        digest: Option<RequestDigest>,
        answer: A,
        bytes: usize,
        again: bool,
    ) {
        let (now, bytes) = (Instant::now(), bytes.saturating_add(OVERHEAD));
        let (stage, answer) = (Stage::Busy(now), Some(answer));
        let (noted, noting) = (false, false);
        let kept = Kept { digest, made: now, stage, answer, bytes, again, noted, noting };
        self.all().put(key, kept, now);
    }

    /// Drops an answer that was made again elsewhere.
    pub(crate) fn drop_answer(&self, key: ClaimKey) {
        self.all().remove(key);
    }

    pub(crate) fn written(&self, key: ClaimKey, end: Option<ConnectionEnd>) {
        let mut all = self.all();
        match (end, all.kept.get_mut(&key)) {
            // The earlier fate of the connection is no sign that this answer was read.
            (Some(end), Some(kept)) if kept.answer.is_some() => {
                kept.stage = match end.is(ConnectionEnd::OPEN) {
                    true => Stage::Written(end),
                    false => Stage::Lost,
                };
            }
            (None, Some(kept)) if kept.again && kept.answer.is_some() => {
                kept.stage = Stage::Written(ConnectionEnd::default());
            }
            _ => all.remove(key),
        }
    }

    /// Returns whether the answer's loss or delivery will soon be known. That holds if it was written for the
    /// same request over a connection that is still open, or its delivery is being recorded.
    pub(crate) fn is_open(&self, key: ClaimKey, digest: Option<RequestDigest>) -> bool {
        let all = self.all();
        let kept = all.kept.get(&key).filter(|kept| kept.digest == digest);
        kept.is_some_and(|kept| {
            kept.noting || matches!(&kept.stage, Stage::Written(end) if end.is(ConnectionEnd::OPEN))
        })
    }

    /// Marks a delivery as about to be recorded in the claim.
    pub(crate) fn noting(&self, key: ClaimKey) {
        if let Some(kept) = self.all().kept.get_mut(&key) {
            kept.noting = true;
        }
    }

    /// Sets whether this process recorded the delivery in the claim.
    pub(crate) fn noted(&self, key: ClaimKey, noted: bool) {
        if let Some(kept) = self.all().kept.get_mut(&key) {
            (kept.noting, kept.noted) = (false, kept.noted || noted);
        }
    }

    /// Returns whether this process recorded the claim as delivered.
    pub(crate) fn is_noted(&self, key: ClaimKey) -> bool {
        self.all().kept.get(&key).is_some_and(|kept| kept.noted)
    }

    pub(crate) fn lost(&self, key: ClaimKey) {
        let mut all = self.all();
        match all.kept.get_mut(&key) {
            Some(kept) if kept.answer.is_some() => kept.stage = Stage::Lost,
            _ => all.remove(key),
        }
    }

    /// Returns the answer to the same request, whether it was lost or delivered.
    pub(crate) fn again(&self, key: ClaimKey, digest: Option<RequestDigest>) -> Option<A> {
        let all = self.all();
        let kept = all.kept.get(&key)?;
        kept.answer.clone().filter(|_| kept.digest.is_some() && kept.digest == digest)
    }

    /// Takes the lost answer for the same request, to be written out again. If its claim is `delivered`, the
    /// answer is taken only where this process recorded so: otherwise it was made again elsewhere. With `again` an
    /// answer that was not lost is taken, too.
    pub(crate) fn take(
        &self,
        key: ClaimKey,
        digest: Option<RequestDigest>,
        delivered: bool,
        again: bool,
    ) -> Known<A> {
        let mut all = self.all();
        let now = Instant::now();
        all.forget_old(now);
        let Some(kept) = all.kept.get_mut(&key) else { return Known::Unknown };
        let Some(answer) = &kept.answer else { return Known::Elsewhere };
        let lost = again
            || match &kept.stage {
                Stage::Lost => true,
                Stage::Busy(since) => since.elapsed() > Duration::from_secs(DELIVERY_SECONDS),
                Stage::Written(end) => end.is(ConnectionEnd::BROKEN),
            };
        if !lost || delivered && !kept.noted || kept.digest.is_none() || kept.digest != digest {
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
        if kept.answer.is_some() {
            self.order.push_back((kept.made, key));
        }
        self.kept.insert(key, kept);
        self.forget_old(now);
    }

    fn remove(&mut self, key: ClaimKey) {
        if let Some(kept) = self.kept.remove(&key) {
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }

    /// Forgets answers that are too old, too many, or known to be delivered, oldest first.
    fn forget_old(&mut self, now: Instant) {
        while let Some((made, key)) = self.order.front().copied() {
            let current = self.kept.get(&key).filter(|kept| kept.made == made);
            let goes = current.is_none_or(|kept| {
                let delivered =
                    matches!(&kept.stage, Stage::Written(end) if end.is(ConnectionEnd::GOOD));
                delivered && !kept.again || now.duration_since(made) > KEPT || self.bytes > BYTES
            });
            if !goes {
                return;
            }
            self.order.pop_front();
            match self.kept.get_mut(&key).filter(|kept| kept.made == made) {
                // While an answer is on its way, it must not be made again.
                Some(kept) if matches!(kept.stage, Stage::Busy(_)) => {
                    kept.answer = None;
                    let freed = std::mem::replace(&mut kept.bytes, OVERHEAD);
                    self.bytes = self.bytes.saturating_add(OVERHEAD).saturating_sub(freed);
                }
                Some(_) => self.remove(key),
                None => {}
            }
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
        assert_eq!(answers.take(key(1), this, false, false), Known::Unknown);
        answers.begin(key(1), this);
        assert_eq!(answers.take(key(1), this, false, false), Known::Elsewhere);
        answers.keep(key(1), this, "one", 3, false);
        assert_eq!(answers.take(key(1), this, false, false), Known::Elsewhere);
        // A later request, which found it settled, takes nothing away.
        assert!(!answers.begin(key(1), this));
        answers.forget(key(1));
        answers.lost(key(1));
        for not_this in [other, None] {
            assert_eq!(answers.take(key(1), not_this, false, false), Known::Elsewhere);
        }
        assert_eq!(answers.take(key(1), this, false, false), Known::Lost("one"));
        // It is on its way again, to one request only.
        assert_eq!(answers.take(key(1), this, false, false), Known::Elsewhere);
        let end = ConnectionEnd::default();
        answers.written(key(1), Some(end.clone()));
        assert_eq!(answers.take(key(1), this, false, false), Known::Elsewhere);
        end.broke();
        end.closed();
        assert_eq!(answers.take(key(1), this, false, false), Known::Lost("one"));
        answers.written(key(1), None);
        assert_eq!(answers.take(key(1), this, false, false), Known::Unknown);
        assert_eq!(answers.all().bytes, 0);
        // A request without a digest gets nothing a second time.
        answers.keep(key(2), None, "two", 3, false);
        answers.lost(key(2));
        assert_eq!(answers.take(key(2), None, false, false), Known::Elsewhere);
    }

    #[test]
    fn who_delivered_it_gives_it_again_and_nobody_else() {
        let (answers, this) = (Answers::default(), Some(RequestDigest([1; 32])));
        for (number, noted) in [(1, false), (2, true)] {
            answers.keep(key(number), this, number, 3, false);
            if noted {
                answers.noted(key(number), true);
            }
            answers.lost(key(number));
            assert_eq!(answers.is_noted(key(number)), noted);
        }
        assert_eq!(answers.take(key(1), this, true, false), Known::Elsewhere);
        assert_eq!(answers.take(key(2), this, true, false), Known::Lost(2));
        // An answer written after its connection ended was not read.
        let end = ConnectionEnd::default();
        end.closed();
        answers.written(key(2), Some(end));
        assert_eq!(answers.take(key(2), this, true, false), Known::Lost(2));
    }

    #[test]
    fn what_is_on_its_way_is_not_made_anew() {
        let (answers, this) = (Answers::default(), Some(RequestDigest([1; 32])));
        for number in 0..100 {
            answers.keep(key(number), this, number, 1 << 20, false);
        }
        assert!(answers.all().bytes <= BYTES);
        assert_eq!(answers.take(key(0), this, false, false), Known::Elsewhere);
        // Its connection broke, and its answer is forgotten.
        answers.lost(key(0));
        assert_eq!(answers.take(key(0), this, false, false), Known::Unknown);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let answers = Answers::default();
        // A long settlement does not hold up the others.
        assert!(answers.begin(key(200), None) && !answers.begin(key(200), None));
        for number in 0..100 {
            answers.keep(key(number), Some(RequestDigest([1; 32])), number, 1 << 20, false);
            answers.lost(key(number));
        }
        let all = answers.all();
        // A payment in settlement has no answer yet.
        let answered = all.kept.len() - 1;
        assert!(all.bytes <= BYTES && answered == all.order.len(), "{}", all.bytes);
        assert!((60..64).contains(&answered), "{answered}");
        assert!(all.kept.contains_key(&key(99)) && !all.kept.contains_key(&key(0)));
    }

    #[test]
    fn what_was_delivered_makes_room() {
        let answers = Answers::default();
        let end = ConnectionEnd::default();
        answers.keep(key(1), None, 1, 1 << 20, false);
        answers.written(key(1), Some(end.clone()));
        end.closed();
        answers.keep(key(2), None, 2, 1, false);
        assert_eq!(answers.all().kept.len(), 1);
    }
}
