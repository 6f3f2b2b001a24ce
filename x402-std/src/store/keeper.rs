//! The keeper that finishes pending claims, of sellers and of facilitators.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{ClaimStore, Pending, Role, Usage};

/// Interval between searches for pending claims.
pub(crate) const EVERY: Duration = Duration::from_secs(2);

/// Time limit for the work on one payment. For as long, no other process gets its claim.
pub(crate) const HOLD: Duration = Duration::from_secs(90);

/// Most payments in work at once.
const AT_ONCE: usize = 32;

/// Number of searches for each check of how full the store is.
const FULL_EVERY: u32 = 30;

/// Used share of a store at which its keeper warns.
const NEARLY_FULL: f64 = 0.8;

/// Finishes claims of one role in a store.
pub(crate) struct Keeper<'s, S> {
    store: &'s S,
    role: Role,
    working: JoinSet<()>,
}

impl<'s, S: ClaimStore> Keeper<'s, S> {
    pub(crate) fn new(store: &'s S, role: Role) -> Self {
        Self { store, role, working: JoinSet::new() }
    }

    /// Finishes pending claims, at once and then for as long as it is polled.
    pub(crate) async fn keep<W>(mut self, finish: impl Fn(Pending) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let mut looks = 0_u32;
        loop {
            while self.working.try_join_next().is_some() {}
            self.start(&finish).await;
            if looks.is_multiple_of(FULL_EVERY) {
                self.warn_if_full().await;
            }
            looks = looks.wrapping_add(1);
            sleep(EVERY).await;
        }
    }

    /// Finishes the claims that are pending now. Returns when each is finished or its time is over.
    pub(crate) async fn keep_once<W>(mut self, finish: impl Fn(Pending) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        self.start(&finish).await;
        self.working.join_all().await;
    }

    /// Starts work on pending claims, as far as there is room.
    async fn start<W>(&mut self, finish: &impl Fn(Pending) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let room = AT_ONCE.saturating_sub(self.working.len());
        if room == 0 {
            return;
        }
        match self.store.pending(self.role, HOLD, room).await {
            Ok(all) => {
                for pending in all {
                    let finishing = timeout(HOLD, finish(pending));
                    self.working.spawn(async move { _ = finishing.await });
                }
            }
            Err(error) => tracing::warn!(%error, "pending payments cannot be looked up"),
        }
    }

    async fn warn_if_full(&self) {
        if let Ok(Some(usage)) = self.store.usage().await
            && usage.share() >= NEARLY_FULL
        {
            let Usage { used, capacity } = usage;
            tracing::warn!(used, capacity, "the claim store is nearly full: give it more room");
        }
    }
}
