//! The arrival of blocks, which all payments of a chain await together.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

/// Bounds of the pause between two questions for the newest block.
const SHORTEST: Duration = Duration::from_millis(15);
const LONGEST: Duration = Duration::from_secs(1);

/// Bounds of the time that blocks are thought to take.
const FASTEST: Duration = Duration::from_millis(50);
const SLOWEST: Duration = Duration::from_secs(30);

/// Number of blocks for which an arrival predicts the next ones. After that, clocks have drifted.
const IN_STEP: u32 = 100;

/// The newest block that was seen, and the time between blocks.
#[derive(Debug)]
pub(super) struct Heads {
    seen: watch::Sender<Seen>,
    /// Held by the payment that asks for all.
    asking: Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    number: u64,
    at: Instant,
    /// The time that a block takes; `None` until two were seen.
    every: Option<Duration>,
}

impl Default for Heads {
    fn default() -> Self {
        let seen = Seen { number: 0, at: Instant::now(), every: None };
        Self { seen: watch::Sender::new(seen), asking: Mutex::default() }
    }
}

impl Heads {
    /// Returns the number of the newest block that was seen; zero before the first.
    pub(super) fn newest(&self) -> u64 {
        self.seen.borrow().number
    }

    /// Waits until a block after `number` is there, for `most` at most, and returns the newest. `ask` asks
    /// the nodes for the newest, and notes it by [`saw`](Self::saw). Only one of the waiting tasks asks.
    pub(super) async fn after<F>(&self, number: u64, most: Duration, ask: impl Fn() -> F) -> u64
    where
        F: Future,
    {
        let deadline = Instant::now() + most;
        let mut seen = self.seen.subscribe();
        let told = async { _ = seen.wait_for(|seen| seen.number > number).await };
        let asked = async {
            let _asking = self.asking.lock().await;
            let began = Instant::now();
            loop {
                let now = *self.seen.borrow();
                if now.number > number {
                    return;
                }
                sleep(now.pause(began)).await;
                ask().await;
            }
        };
        tokio::select! {
            () = told => {}
            () = asked => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
        self.newest()
    }

    /// Notes the newest block.
    pub(super) fn saw(&self, number: u64) {
        self.seen.send_if_modified(|seen| {
            if number <= seen.number {
                return false;
            }
            let at = Instant::now();
            if seen.number > 0 {
                let blocks = u32::try_from(number - seen.number).unwrap_or(u32::MAX);
                let one = (at.duration_since(seen.at) / blocks).clamp(FASTEST, SLOWEST);
                seen.every = Some(seen.every.map_or(one, |every| (every * 3 + one) / 4));
            }
            (seen.number, seen.at) = (number, at);
            true
        });
    }
}

impl Seen {
    /// Returns the time until the next question, for a wait that began at `began`. The questions start a
    /// little before the next block is due. They are frequent then, and get rarer while the block is late.
    fn pause(self, began: Instant) -> Duration {
        let Some(every) = self.every else {
            return (began.elapsed() / 4).clamp(SHORTEST * 2, LONGEST);
        };
        let since = self.at.elapsed();
        let often = (every / 32).clamp(SHORTEST, LONGEST);
        let passed = u32::try_from(since.as_nanos() / every.as_nanos().max(1)).unwrap_or(u32::MAX);
        if passed == 0 || (passed < IN_STEP && began.elapsed() < every) {
            let left = every.saturating_mul(passed + 1).saturating_sub(since);
            return left.saturating_sub(often).max(often);
        }
        // It is late.
        let waited = began.elapsed().saturating_sub(every);
        (often * 2).max(waited / 8).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A hundred payments wait for blocks of 400 ms: each hears of a block soon, and one asks for all of
    /// them.
    #[tokio::test(start_paused = true)]
    async fn one_asks_for_all_and_none_is_late() {
        let (heads, start) = (Arc::new(Heads::default()), Instant::now());
        let questions = Arc::new(AtomicU64::new(0));
        const BLOCK: u64 = 400;
        let block = move || 1 + u64::try_from(start.elapsed().as_millis()).unwrap() / BLOCK;
        let ask = {
            let (heads, questions) = (Arc::clone(&heads), Arc::clone(&questions));
            move || {
                questions.fetch_add(1, Ordering::Relaxed);
                heads.saw(block());
                ready(())
            }
        };
        let mut waiting = tokio::task::JoinSet::new();
        for offset in 0..100 {
            let (heads, ask) = (Arc::clone(&heads), ask.clone());
            waiting.spawn(async move {
                sleep(Duration::from_millis(2_000 + offset * 7)).await;
                let mut late = Duration::ZERO;
                for _ in 0..5 {
                    let number = block();
                    heads.after(number, Duration::from_secs(60), &ask).await;
                    let due = Duration::from_millis(number * BLOCK);
                    late = late.max(start.elapsed().saturating_sub(due));
                }
                late
            });
        }
        let late: Vec<_> = waiting.join_all().await;
        // The first block that is waited for is not expected yet.
        assert!(late.iter().all(|late| *late <= Duration::from_millis(120)), "{late:?}");
        let questions = questions.load(Ordering::Relaxed);
        assert!(questions < 60, "{questions} questions for 7 blocks");
        assert!(
            heads.seen.borrow().every.unwrap().abs_diff(Duration::from_millis(400))
                < Duration::from_millis(60)
        );
    }

    /// Without an answer it ends in time, and a waiter that leaves hands the asking on.
    #[tokio::test(start_paused = true)]
    async fn silent_nodes_and_waiters_that_leave() {
        let heads = Heads::default();
        let start = Instant::now();
        assert_eq!(heads.after(0, Duration::from_secs(5), || ready(())).await, 0);
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        let gone = heads.after(0, Duration::from_secs(60), || ready(()));
        tokio::time::timeout(Duration::from_secs(1), gone).await.unwrap_err();
        assert_eq!(heads.after(0, Duration::from_secs(60), || async { heads.saw(7) }).await, 7);
        heads.saw(5);
        assert_eq!(heads.newest(), 7);
    }
}
