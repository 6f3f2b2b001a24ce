//! Finishing what is pending, whether anybody asks about it or not.

#[cfg(feature = "tokio")]
use {
    serde::Deserialize,
    serde_json::value::RawValue,
    std::{sync::Arc, time::Duration},
    tokio::{
        task::JoinSet,
        time::{sleep, timeout},
    },
    x402_core::claim::ClaimState,
};

#[cfg(feature = "tokio")]
use super::local::{LocalFacilitator, settlement_id};
use crate::message::VerifyRequest;
use crate::store::{Record, Role};
#[cfg(feature = "tokio")]
use crate::{
    clock::Clock,
    ledger::{Ledger, Outcome},
    store::{ClaimStore, Pending, warn_if_full},
};

/// How often it is looked whether something is pending.
#[cfg(feature = "tokio")]
const EVERY: Duration = Duration::from_secs(2);

/// How long one settlement is worked on, and left to who works on it.
#[cfg(feature = "tokio")]
const HOLD: Duration = Duration::from_secs(90);

/// It is looked how full the store is once in so many times.
#[cfg(feature = "tokio")]
const FULL_EVERY: u32 = 30;

/// So many settlements at once at most.
#[cfg(feature = "tokio")]
const AT_ONCE: usize = 32;

/// What is kept beside a claim while its payment is pending.
#[cfg(feature = "tokio")]
#[derive(Deserialize)]
struct Kept {
    /// The signed transaction, in hexadecimal.
    raw: String,
    request: Box<RawValue>,
}

/// What is beside a claim that the keeper settled: nobody was told of it.
pub(super) const UNTOLD: &[u8] = b"untold";

/// A facilitator's record of these bytes.
pub(super) fn beside(bytes: &[u8]) -> Record {
    Record { role: Role::Facilitator, bytes: bytes.into() }
}

/// What it takes to go on with a settlement; `None` for a request that cannot be written, which was
/// never read.
pub(super) fn kept(request: &VerifyRequest, raw: &[u8]) -> Option<Record> {
    let request = request.to_json().ok()?;
    let kept = format!(r#"{{"raw":"{}","request":{request}}}"#, hex::encode(raw));
    Some(beside(kept.as_bytes()))
}

#[cfg(feature = "tokio")]
impl Kept {
    fn read(bytes: &[u8]) -> Option<(VerifyRequest, Vec<u8>)> {
        let Self { raw, request } = serde_json::from_slice(bytes).ok()?;
        let request = VerifyRequest::from_json(request.get().as_bytes()).ok()?;
        Some((request, hex::decode(raw).ok()?))
    }
}

#[cfg(feature = "tokio")]
impl<L, S, C> LocalFacilitator<L, S, C>
where
    L: Ledger + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    /// Finishes what is pending, at once and then for as long as it is polled: payments of
    /// processes that died, and payments whose outcome nobody asked about. A transaction that was
    /// written down and not sent is sent, or another one in its place. Of the processes that share
    /// a store, one works on a payment at a time, and one that hangs holds up no other.
    ///
    /// Spawn it beside the facilitator. Without it, a pending payment waits until somebody presents
    /// it again.
    pub async fn keep(self: Arc<Self>) {
        let mut working = JoinSet::new();
        let facilitator = Arc::clone(&self);
        // At its side: nodes that do not answer must not hold up verdicts.
        let mut tending = JoinSet::new();
        tending.spawn(async move {
            loop {
                facilitator.ledger().tend().await;
                sleep(EVERY).await;
            }
        });
        let mut looks = 0_u32;
        loop {
            while working.try_join_next().is_some() {}
            self.start_pending(&mut working).await;
            if looks.is_multiple_of(FULL_EVERY) {
                warn_if_full(self.store()).await;
            }
            looks = looks.wrapping_add(1);
            sleep(EVERY).await;
        }
    }

    /// Finishes what is pending now, and returns when each has an outcome or its time is over.
    pub async fn keep_once(self: &Arc<Self>) {
        let mut working = JoinSet::new();
        self.start_pending(&mut working).await;
        working.join_all().await;
    }

    async fn start_pending(self: &Arc<Self>, working: &mut JoinSet<()>) {
        let room = AT_ONCE.saturating_sub(working.len());
        if room == 0 {
            return;
        }
        match self.store().pending(Role::Facilitator, HOLD, room).await {
            Ok(all) => {
                for pending in all {
                    // Somebody waits for it here.
                    if self.working.is_busy(&pending.key) {
                        continue;
                    }
                    let facilitator = Arc::clone(self);
                    working.spawn(async move {
                        timeout(HOLD, facilitator.finish_one(pending)).await.ok();
                    });
                }
            }
            Err(error) => tracing::warn!(%error, "pending payments cannot be looked up"),
        }
    }

    async fn finish_one(&self, pending: Pending) {
        let id = format!("{:?}", pending.key);
        let ClaimState::Broadcast(transaction) = pending.state else { return };
        let Some((request, raw)) = Kept::read(&pending.record) else {
            tracing::warn!(id, "what is beside a pending claim cannot be read");
            return;
        };
        let verified = match self.gate(&request, self.now()).await {
            Ok((verified, _)) if settlement_id(verified.payment()) == pending.key => verified,
            Ok(_) => {
                tracing::warn!(id, "a pending claim is not that of the payment beside it");
                return;
            }
            Err(reason) => {
                tracing::warn!(id, %reason, "a pending payment passes the gate no more");
                return;
            }
        };
        let _working = self.working.enter(pending.key);
        self.ledger().recover(&verified, &transaction, &raw).await;
        match self.finish(pending.key, &verified, transaction).await {
            Outcome::Settled(transaction) => {
                tracing::info!(id, %transaction, "pending payment settled");
            }
            Outcome::Failed(reason) => tracing::info!(id, %reason, "pending payment failed"),
            Outcome::Pending => {}
        }
    }
}
