//! Finishing pending payments, whether or not the buyer asks again.

use std::sync::Arc;

use x402_core::Scheme as _;
use x402_core::claim::ClaimState;

use super::Seller;
use super::record::Kept;
use super::settling::Claim;
use crate::clock::Clock;
use crate::facilitator::Facilitator;
use crate::store::keeper::{HOLD, Keeper};
use crate::store::{ClaimStore, Pending, Role};

impl<F, S, C> Seller<F, S, C>
where
    F: Facilitator + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    /// Resolves pending payments by asking the facilitator again, at once and then for as long as it is
    /// polled. Of the processes that share a store, one at a time asks about a payment. A payment that turns
    /// out to be settled is served when its buyer presents it again.
    ///
    /// Spawn it beside the seller. Without it, a pending payment waits for its buyer.
    pub async fn keep(self: Arc<Self>) {
        let finish = |pending| {
            let seller = Arc::clone(&self);
            async move { seller.finish_one(pending).await }
        };
        Keeper::new(&self.store, Role::Seller).keep(finish).await;
    }

    async fn finish_one(&self, pending: Pending) {
        let kept = Kept::read(&pending.record);
        let Some(Kept { digest, request: Some(request), .. }) = kept else {
            tracing::warn!("the record of a pending claim cannot be read");
            return;
        };
        if !matches!(pending.state, ClaimState::Broadcast(_)) {
            return;
        }
        let view = request.as_view();
        let scheme = self.facilitator.scheme();
        let payer = scheme.named_payer(&view.payment_payload, &view.payment_requirements);
        let payer = payer.map(|payer| payer.to_string());
        // By then the claim has expired anyway.
        let expires_at = self.clock.now().saturating_add(HOLD.as_secs());
        let (key, untold) = (pending.key, true);
        let (request, verified) = (&request, None);
        let claim = Claim { key, request, verified, payer, expires_at, digest, untold };
        match self.settle_claim(&claim, pending.state).await {
            Ok((transaction, _)) => tracing::info!(%transaction, "pending payment settled"),
            Err(unsettled) => tracing::debug!(reason = %unsettled.reason, "still pending"),
        }
    }
}
