//! Finishing what is pending, whether the buyer asks again or not.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use x402_core::claim::ClaimState;

use super::record::Kept;
use super::{Claim, Seller};
use crate::clock::Clock;
use crate::facilitator::Facilitator;
use crate::store::{ClaimStore, Pending, Role, warn_if_full};

/// How often it is looked whether something is pending.
const EVERY: Duration = Duration::from_secs(2);

/// How long one payment is worked on, and left to who works on it.
const HOLD: Duration = Duration::from_secs(90);

/// So many payments at once at most.
const AT_ONCE: usize = 32;

/// It is looked how full the store is once in so many times.
const FULL_EVERY: u32 = 30;

impl<F, S, C> Seller<F, S, C>
where
    F: Facilitator + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    /// Finds out what became of pending payments, at once and then for as long as it is polled: the
    /// facilitator is asked again. Of the processes that share a store, one asks about a payment at
    /// a time. A payment that turns out to be settled is served when its buyer presents it again.
    ///
    /// Spawn it beside the seller. Without it, a pending payment waits for its buyer.
    pub async fn keep(self: Arc<Self>) {
        let mut working = JoinSet::new();
        let mut looks = 0_u32;
        loop {
            while working.try_join_next().is_some() {}
            let room = AT_ONCE.saturating_sub(working.len());
            match self.store.pending(Role::Seller, HOLD, room).await {
                Ok(all) => {
                    for pending in all {
                        let seller = Arc::clone(&self);
                        working.spawn(async move {
                            timeout(HOLD, seller.finish_one(pending)).await.ok();
                        });
                    }
                }
                Err(error) => tracing::warn!(%error, "pending payments cannot be looked up"),
            }
            if looks.is_multiple_of(FULL_EVERY) {
                warn_if_full(&self.store).await;
            }
            looks = looks.wrapping_add(1);
            sleep(EVERY).await;
        }
    }

    async fn finish_one(&self, pending: Pending) {
        let kept = Kept::read(&pending.record);
        let Some(Kept { digest, request: Some(request), .. }) = kept else {
            tracing::warn!("what is beside a pending claim cannot be read");
            return;
        };
        if !matches!(pending.state, ClaimState::Broadcast(_)) {
            return;
        }
        let Some(payer) = crate::payment::payer(&request.view().payment_payload) else { return };
        // By then nothing is kept of it anyway.
        let expires_at = self.clock.now().saturating_add(HOLD.as_secs());
        let (key, untold) = (pending.key, true);
        let claim = Claim { key, request: &request, payer, expires_at, digest, untold };
        match self.settle_claim(&claim, pending.state).await {
            Ok((transaction, _)) => tracing::info!(%transaction, "pending payment settled"),
            Err(unsettled) => tracing::debug!(reason = %unsettled.reason, "still pending"),
        }
    }
}
