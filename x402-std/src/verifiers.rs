//! Threads that check signatures, so that the threads of an async runtime do not.
//!
//! What is asked of [`Verifiers`] waits until a thread is free; a thread takes its share of all that
//! waits, and checks signatures on Solana together ([`verify_batch`]), which takes about half the
//! time of one after another once some dozens wait. Those on EVM networks are checked each by
//! itself: all that is gained is that the async threads go on meanwhile.
//!
//! The gate stays the one judge. It is run once to learn which signature it would have checked, and
//! once more knowing the answer, to that very question and no other: what passes, and why something
//! does not, is the same with these threads and without them, but for one case. Of several signatures
//! checked together, one that `verify_strict` refuses may be taken if its maker, who has the key,
//! made key and signature with a part of small order on purpose. The chain takes no such transaction,
//! so a facilitator that asks a chain serves nothing for it.
//!
//! # Whether to use them
//! In microseconds of CPU for a payment, on a busy machine of two cores, of which a signature takes 30
//! to 40:
//!
//! | | in place | by a thread, one at a time | by a thread, 64 waiting |
//! |---|--:|--:|--:|
//! | EVM | 45 to 58 | 60 to 76 | 56 to 68 |
//! | Solana | 45 to 53 | 59 to 75 | 35 to 41 |
//!
//! So on EVM networks they always cost more than checking in place, and on Solana less only when dozens
//! of payments wait at any time. On both they keep the async threads free for what is not payments. That
//! is worth it on a machine with cores to spare, one thread for each of those, and for nobody else: leave
//! them out until a measurement of your own says otherwise. A seller and a facilitator of one process
//! both check each payment, so each asks once.
//!
//! Leave them out as well where nobody asks a chain, as with
//! [`SimulatedLedger`](crate::ledger::SimulatedLedger): nothing there refuses what only a batch takes.
//!
//! ```
//! use std::sync::Arc;
//! use x402_std::facilitator::Facilitator;
//! use x402_std::seller::Seller;
//! use x402_std::verifiers::Verifiers;
//!
//! fn seller<F: Facilitator>(facilitator: F) -> std::io::Result<Seller<F>> {
//!     let verifiers = Arc::new(Verifiers::new(2)?);
//!     Ok(Seller::new(facilitator).with_verifiers(verifiers))
//! }
//! ```
//!
//! Whoever sends wrong signatures among the good ones makes the good ones of that batch be checked
//! twice.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use ed25519_dalek::{Signature, VerifyingKey, verify_batch};
use tokio::sync::oneshot;
use x402_core::Reason;
use x402_core::crypto::ed25519::{Dalek, is_small_order};
use x402_core::crypto::{Recover, Verify};

use crate::crypto::{Answer, Question, Recovery};

/// Most signatures that one thread checks together: more make it no cheaper by much.
const TOGETHER: usize = 64;

/// Most signatures that wait for one [`Verifiers`]; who comes then is told to come again
/// ([`Reason::Busy`]). So many take up to 16 MB, and some 0.1 s of one core.
pub const WAITING: usize = 4096;

/// Threads that check signatures, shared by all who are to use them. Dropping the last of these waits
/// for what the threads are at, and ends them.
pub struct Verifiers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    threads: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

struct Waiting {
    question: Arc<Question>,
    answer: oneshot::Sender<Answer>,
}

impl Question {
    /// Checks it here and now.
    fn answer(&self) -> Answer {
        match self {
            Self::Ed25519 { public, message, signature } => {
                Answer::Ed25519(Dalek.verify(public, message, signature))
            }
            Self::Secp256k1 { digest, signature } => {
                Answer::Secp256k1(Recovery.recover(digest, signature))
            }
        }
    }
}

impl Verifiers {
    /// So many threads, at least one: 0 is one too.
    ///
    /// # Errors
    /// The system's, where it has no room for another thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let shared = Shared { queue: Mutex::default(), more: Condvar::new(), threads };
        let mut verifiers = Self { shared: Arc::new(shared), threads: Vec::new() };
        for _ in 0..threads {
            let shared = Arc::clone(&verifiers.shared);
            let thread = thread::Builder::new().name("x402 verifier".into());
            verifiers.threads.push(thread.spawn(move || shared.work(answer_all))?);
        }
        Ok(verifiers)
    }

    /// The answer, when a thread has found it.
    ///
    /// # Errors
    /// [`Reason::Busy`] if too many wait already, or the thread came to grief.
    pub(crate) async fn answer(&self, question: &Arc<Question>) -> Result<Answer, Reason> {
        let (answer, answered) = oneshot::channel();
        {
            let mut queue = self.shared.queue();
            if queue.waiting.len() >= WAITING {
                return Err(Reason::Busy);
            }
            queue.waiting.push_back(Waiting { question: Arc::clone(question), answer });
        }
        self.shared.more.notify_one();
        answered.await.map_err(|_| Reason::Busy)
    }
}

impl Drop for Verifiers {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.more.notify_all();
        for thread in self.threads.drain(..) {
            // It has said what it died of.
            thread.join().ok();
        }
    }
}

impl fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifiers").field("threads", &self.shared.threads).finish()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No code panics while it holds the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, answer_all: impl Fn(Vec<Waiting>)) {
        while let Some(taken) = self.take() {
            // Whoever waits for an answer that never comes finds its sender dropped.
            if catch_unwind(AssertUnwindSafe(|| answer_all(taken))).is_err() {
                tracing::error!("checking signatures panicked");
            }
        }
    }

    /// A share of what waits, when something does; `None` when there is to be no more.
    fn take(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.queue();
        loop {
            if queue.closed {
                return None;
            }
            if !queue.waiting.is_empty() {
                let share = queue.waiting.len().div_ceil(self.threads).min(TOGETHER);
                return Some(queue.waiting.drain(..share).collect());
            }
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn answer_all(mut taken: Vec<Waiting>) {
    // Of those who have gone nobody wants to know.
    taken.retain(|waiting| !waiting.answer.is_closed());
    let mut batch = Vec::new();
    for Waiting { question, answer } in taken {
        match &*question {
            Question::Ed25519 { .. } => batch.push((question, answer)),
            Question::Secp256k1 { .. } => drop(answer.send(question.answer())),
        }
    }
    let questions: Vec<&Question> = batch.iter().map(|(question, _)| &**question).collect();
    let signed = together(&questions);
    for ((_, answer), signed) in batch.into_iter().zip(signed) {
        answer.send(Answer::Ed25519(signed)).ok();
    }
}

/// Which of the Ed25519 signatures are their keys'.
fn together(questions: &[&Question]) -> Vec<bool> {
    let (mut places, mut messages) = (Vec::new(), Vec::new());
    let (mut signatures, mut keys) = (Vec::new(), Vec::new());
    for (place, question) in questions.iter().enumerate() {
        if let Question::Ed25519 { public, message, signature } = question
            && let Some(key) = strict(public, signature)
        {
            places.push(place);
            messages.push(&**message);
            signatures.push(Signature::from_bytes(signature));
            keys.push(key);
        }
    }
    let all = keys.len() > 1 && verify_batch(&messages, &signatures, &keys).is_ok();
    let mut signed = vec![false; questions.len()];
    for (((place, message), signature), key) in
        places.iter().zip(messages).zip(signatures).zip(keys)
    {
        if let Some(signed) = signed.get_mut(*place) {
            *signed = all || key.verify_strict(message, &signature).is_ok();
        }
    }
    signed
}

/// The order of the group, least significant byte first. RFC 8032, section 5.1.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The prime of the field, least significant byte first.
const FIELD: [u8; 32] = [
    0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
];

/// The key, if it and the signature keep to what `verify_strict` asks for and `verify_batch` does not:
/// neither the key nor the signature's point is one of small order, and neither half of the signature
/// is written with a number that is too large. That its point is one the batch finds out.
fn strict(public: &[u8; 32], signature: &[u8; 64]) -> Option<VerifyingKey> {
    let (point, scalar) = signature.split_first_chunk::<32>()?;
    let below = |number: &[u8], bound: &[u8; 32]| number.iter().rev().lt(bound.iter().rev());
    let mut y = *point;
    // The uppermost bit is the sign of x.
    *y.last_mut()? &= 0x7f;
    if !below(scalar, &ORDER) || !below(&y, &FIELD) || is_small_order(point) {
        return None;
    }
    VerifyingKey::from_bytes(public).ok().filter(|key| !key.is_weak())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use x402_core::crypto::Signer;
    use x402_core::crypto::ed25519::SMALL_ORDER;
    use x402_core::crypto::{ed25519, secp256k1};

    use super::*;

    fn signed(seed: u8) -> Question {
        let key = ed25519::LocalKey::from_seed(&[seed; 32]);
        let message: Box<[u8]> = vec![seed; 300].into();
        let signature = Signer::sign(&key, &message).unwrap();
        Question::Ed25519 { public: Signer::public(&key), message, signature }
    }

    /// A question with something wrong with it.
    fn wrong(fault: usize) -> Question {
        let mut question = signed(7);
        let Question::Ed25519 { public, message, signature } = &mut question else {
            unreachable!();
        };
        match fault {
            0 => signature[40] ^= 1,
            1 => signature[0] ^= 1,
            2 => message[0] ^= 1,
            3 => public[0] ^= 1,
            // The same number, plus the order.
            4 => {
                let mut carry = 0;
                for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
                    let sum = u16::from(*byte) + u16::from(order) + carry;
                    (*byte, carry) = (sum as u8, sum >> 8);
                }
            }
            // A key of small order, for which any message would verify.
            5 => {
                (*public, *signature) = ([0; 32], [0; 64]);
                (public[0], signature[0]) = (1, 1);
            }
            6 => signature[..32].copy_from_slice(&FIELD),
            // No point of the curve.
            7 => *public = [2; 32],
            _ => signature[63] |= 0x80,
        }
        question
    }

    #[test]
    fn together_as_one_by_one() {
        let good: Vec<_> = (0..70).map(signed).collect();
        for some in [&good[..0], &good[..1], &good[..2], &good] {
            assert_eq!(together(&some.iter().collect::<Vec<_>>()), vec![true; some.len()]);
        }
        for fault in 0..9 {
            let wrong = wrong(fault);
            assert_eq!(wrong.answer(), Answer::Ed25519(false), "{fault}");
            for place in [0, 1, 2] {
                let mut mixed: Vec<_> = good.iter().take(2).collect();
                mixed.insert(place, &wrong);
                let answers = together(&mixed);
                let expected: Vec<_> = (0..3).map(|at| at != place).collect();
                assert_eq!(answers, expected, "{fault} at {place}");
            }
            assert_eq!(together(&[&wrong, &wrong]), [false, false], "{fault}");
        }
    }

    /// What the batch itself would take is sorted out before.
    #[test]
    fn strict_is_what_the_batch_is_not() {
        let Question::Ed25519 { public, message, signature } = wrong(5) else { unreachable!() };
        let key = VerifyingKey::from_bytes(&public).unwrap();
        let signatures = [Signature::from_bytes(&signature); 2];
        assert!(verify_batch(&[&message, &message], &signatures, &[key, key]).is_ok());
        assert!(strict(&public, &signature).is_none());
        let Question::Ed25519 { public, signature, .. } = signed(1) else { unreachable!() };
        assert!(strict(&public, &signature).is_some());
        assert!(strict(&SMALL_ORDER[1], &signature).is_none());
        for mut point in SMALL_ORDER {
            for _ in 0..2 {
                assert!(VerifyingKey::from_bytes(&point).is_ok_and(|point| point.is_weak()));
                let mut signature = signature;
                signature[..32].copy_from_slice(&point);
                assert!(strict(&public, &signature).is_none(), "{point:x?}");
                point[31] ^= 0x80;
            }
        }
        // Points of small order, and coordinates not below the prime, with either sign.
        for low in [0, 1, 0xec, 0xed, 0xee, 0xf0, 0xf1, 0xff] {
            for sign in [0, 0x80] {
                let mut point = if low < 2 { [0; 32] } else { [0xff; 32] };
                point[0] = low;
                point[31] = if low < 2 { sign } else { 0x7f | sign };
                let mut signature = signature;
                signature[..32].copy_from_slice(&point);
                assert!(strict(&public, &signature).is_none(), "{low:x} {sign:x}");
            }
        }
    }

    fn recoverable(seed: u8) -> Question {
        let key = secp256k1::LocalKey::from_bytes(&[seed + 1; 32]).unwrap();
        let digest = [seed; 32];
        Question::Secp256k1 { digest, signature: Signer::sign(&key, &digest).unwrap() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_are_answered_as_in_place() {
        for threads in [0, 1, 3] {
            let verifiers = Arc::new(Verifiers::new(threads).unwrap());
            let mut asked = tokio::task::JoinSet::new();
            for seed in 0..120u8 {
                let verifiers = Arc::clone(&verifiers);
                asked.spawn(async move {
                    let question = Arc::new(match seed % 4 {
                        0 => wrong(usize::from(seed / 4) % 9),
                        1 => recoverable(seed),
                        _ => signed(seed),
                    });
                    let answer = verifiers.answer(&question).await;
                    assert_eq!(answer, Ok(question.answer()), "{seed}");
                });
            }
            assert_eq!(asked.join_all().await.len(), 120);
        }
    }

    /// Verifiers without a thread.
    fn idle() -> Arc<Verifiers> {
        let shared = Shared { queue: Mutex::default(), more: Condvar::new(), threads: 1 };
        Arc::new(Verifiers { shared: Arc::new(shared), threads: Vec::new() })
    }

    #[tokio::test]
    async fn too_many_are_told_to_come_again() {
        let (verifiers, question) = (idle(), Arc::new(signed(1)));
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..WAITING {
            let (verifiers, question) = (Arc::clone(&verifiers), Arc::clone(&question));
            waiting.spawn(async move { verifiers.answer(&question).await });
        }
        while verifiers.shared.queue().waiting.len() < WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(verifiers.answer(&question).await, Err(Reason::Busy));
        assert_eq!(verifiers.shared.take().unwrap().len(), TOGETHER);
        // Dropped without an answer.
        for _ in 0..TOGETHER {
            assert_eq!(waiting.join_next().await.unwrap().unwrap(), Err(Reason::Busy));
        }
    }

    #[tokio::test]
    async fn a_panic_leaves_nobody_waiting() {
        let (verifiers, question) = (idle(), Arc::new(signed(1)));
        let shared = Arc::clone(&verifiers.shared);
        let first = AtomicBool::new(true);
        let thread = thread::spawn(move || {
            shared.work(|taken| {
                assert!(!first.swap(false, Ordering::Relaxed), "a fault in the test");
                answer_all(taken);
            });
        });
        assert_eq!(verifiers.answer(&question).await, Err(Reason::Busy));
        assert_eq!(verifiers.answer(&question).await, Ok(Answer::Ed25519(true)));
        drop(verifiers);
        thread.join().unwrap();
    }
}
