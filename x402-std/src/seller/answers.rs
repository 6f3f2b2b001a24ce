//! Answers that were paid for, kept for a while in case that they were lost.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::lock;
use x402_core::claim::ClaimKey;

use super::{DELIVERY_SECONDS, RequestDigest};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(600);

/// Most bytes of all answers together.
const BYTES: usize = 64 << 20;

/// The bytes an answer takes besides its body.
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
    /// Claims with an answer, by when it was made.
    order: VecDeque<(Instant, ClaimKey)>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept<A> {
    digest: Option<RequestDigest>,
    made: Instant,
    stage: Stage,
    /// None while it is settled, and for one on its way that there is no room for.
    answer: Option<A>,
    bytes: usize,
    /// Whether its claim was noted as delivered from here, and whether that is being done.
    noted: bool,
    noting: bool,
}

#[derive(Debug)]
enum Stage {
    /// It is being settled, or written out since then.
    Busy(Instant),
    Written(ConnectionEnd),
    Lost,
}

/// The state of the answer to a payment.
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
        lock(&self.0)
    }

    /// Says that a payment is being settled here: until its answer is kept, none is made anew.
    /// `false` if that was said before, or its answer is kept.
    pub(crate) fn begin(&self, key: ClaimKey, digest: Option<RequestDigest>) -> bool {
        let now = Instant::now();
        let stage = Stage::Busy(now);
        let kept = Kept {
            digest,
            made: now,
            stage,
            answer: None,
            bytes: OVERHEAD,
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
        let kept = Kept { digest, made: now, stage, answer, bytes, noted: false, noting: false };
        self.all().put(key, kept, now);
    }

    pub(crate) fn written(&self, key: ClaimKey, end: Option<ConnectionEnd>) {
        let mut all = self.all();
        match (end, all.kept.get_mut(&key)) {
            // What its connection did before is no sign that this was read.
            (Some(end), Some(kept)) if kept.answer.is_some() => {
                kept.stage = match end.is(ConnectionEnd::OPEN) {
                    true => Stage::Written(end),
                    false => Stage::Lost,
                };
            }
            _ => all.remove(key),
        }
    }

    /// Whether it shows soon if it was lost: it was written out for the same request, over a
    /// connection whose end is not known, or its delivery is being noted.
    pub(crate) fn is_open(&self, key: ClaimKey, digest: Option<RequestDigest>) -> bool {
        let all = self.all();
        let kept = all.kept.get(&key).filter(|kept| kept.digest == digest);
        kept.is_some_and(|kept| {
            kept.noting || matches!(&kept.stage, Stage::Written(end) if end.is(ConnectionEnd::OPEN))
        })
    }

    /// Says that its claim is about to say that it is delivered.
    pub(crate) fn noting(&self, key: ClaimKey) {
        if let Some(kept) = self.all().kept.get_mut(&key) {
            kept.noting = true;
        }
    }

    /// Says whether its claim says from here that it is delivered.
    pub(crate) fn noted(&self, key: ClaimKey, noted: bool) {
        if let Some(kept) = self.all().kept.get_mut(&key) {
            (kept.noting, kept.noted) = (false, kept.noted || noted);
        }
    }

    /// Whether its claim was noted as delivered from here.
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

    /// The answer to the same request, whatever became of it.
    pub(crate) fn again(&self, key: ClaimKey, digest: Option<RequestDigest>) -> Option<A> {
        let all = self.all();
        let kept = all.kept.get(&key)?;
        kept.answer.clone().filter(|_| kept.digest.is_some() && kept.digest == digest)
    }

    /// Takes the answer for the same request, if it was lost. It is about to be written out again.
    /// If its claim says that it was `delivered`, it is taken only where that was noted: elsewhere
    /// somebody had it made once more.
    pub(crate) fn take(
        &self,
        key: ClaimKey,
        digest: Option<RequestDigest>,
        delivered: bool,
    ) -> Known<A> {
        let mut all = self.all();
        let now = Instant::now();
        all.forget_old(now);
        let Some(kept) = all.kept.get_mut(&key) else { return Known::Unknown };
        let Some(answer) = &kept.answer else { return Known::Elsewhere };
        let lost = match &kept.stage {
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

    /// Forgets what is too old or too much, and what is known to be delivered, oldest first.
    fn forget_old(&mut self, now: Instant) {
        while let Some((made, key)) = self.order.front().copied() {
            let current = self.kept.get(&key).filter(|kept| kept.made == made);
            let goes = current.is_none_or(|kept| {
                let delivered =
                    matches!(&kept.stage, Stage::Written(end) if end.is(ConnectionEnd::GOOD));
                delivered || now.duration_since(made) > KEPT || self.bytes > BYTES
            });
            if !goes {
                return;
            }
            self.order.pop_front();
            match self.kept.get_mut(&key).filter(|kept| kept.made == made) {
                // As long as it is on its way it must not be made anew.
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
        assert_eq!(answers.take(key(1), this, false), Known::Unknown);
        answers.begin(key(1), this);
        assert_eq!(answers.take(key(1), this, false), Known::Elsewhere);
        answers.keep(key(1), this, "one", 3);
        assert_eq!(answers.take(key(1), this, false), Known::Elsewhere);
        // Somebody who came later, and found it settled, takes nothing away.
        assert!(!answers.begin(key(1), this));
        answers.forget(key(1));
        answers.lost(key(1));
        for not_this in [other, None] {
            assert_eq!(answers.take(key(1), not_this, false), Known::Elsewhere);
        }
        assert_eq!(answers.take(key(1), this, false), Known::Lost("one"));
        // It is on its way again, to one only.
        assert_eq!(answers.take(key(1), this, false), Known::Elsewhere);
        let end = ConnectionEnd::default();
        answers.written(key(1), Some(end.clone()));
        assert_eq!(answers.take(key(1), this, false), Known::Elsewhere);
        end.broke();
        end.closed();
        assert_eq!(answers.take(key(1), this, false), Known::Lost("one"));
        answers.written(key(1), None);
        assert_eq!(answers.take(key(1), this, false), Known::Unknown);
        assert_eq!(answers.all().bytes, 0);
        // A request that is not told from others gets nothing again.
        answers.keep(key(2), None, "two", 3);
        answers.lost(key(2));
        assert_eq!(answers.take(key(2), None, false), Known::Elsewhere);
    }

    #[test]
    fn who_delivered_it_gives_it_again_and_nobody_else() {
        let (answers, this) = (Answers::default(), Some(RequestDigest([1; 32])));
        for (number, noted) in [(1, false), (2, true)] {
            answers.keep(key(number), this, number, 3);
            if noted {
                answers.noted(key(number), true);
            }
            answers.lost(key(number));
            assert_eq!(answers.is_noted(key(number)), noted);
        }
        assert_eq!(answers.take(key(1), this, true), Known::Elsewhere);
        assert_eq!(answers.take(key(2), this, true), Known::Lost(2));
        // Over a connection that ended before it was written it was not read.
        let end = ConnectionEnd::default();
        end.closed();
        answers.written(key(2), Some(end));
        assert_eq!(answers.take(key(2), this, true), Known::Lost(2));
    }

    #[test]
    fn what_is_on_its_way_is_not_made_anew() {
        let (answers, this) = (Answers::default(), Some(RequestDigest([1; 32])));
        for number in 0..100 {
            answers.keep(key(number), this, number, 1 << 20);
        }
        assert!(answers.all().bytes <= BYTES);
        assert_eq!(answers.take(key(0), this, false), Known::Elsewhere);
        // Its connection broke, and it is not here any more.
        answers.lost(key(0));
        assert_eq!(answers.take(key(0), this, false), Known::Unknown);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let answers = Answers::default();
        // However long it is settled for, it does not hold up the others.
        assert!(answers.begin(key(200), None) && !answers.begin(key(200), None));
        for number in 0..100 {
            answers.keep(key(number), Some(RequestDigest([1; 32])), number, 1 << 20);
            answers.lost(key(number));
        }
        let all = answers.all();
        // One that is settled has no answer yet.
        let answered = all.kept.len() - 1;
        assert!(all.bytes <= BYTES && answered == all.order.len(), "{}", all.bytes);
        assert!((60..64).contains(&answered), "{answered}");
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
