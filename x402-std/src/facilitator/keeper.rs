//! Finishes pending settlements, whether or not a caller asks about them.

#[cfg(feature = "tokio")]
use {
    serde::Deserialize,
    serde_json::value::RawValue,
    std::{future::Future, pin::Pin, sync::Arc},
    tokio::{task::JoinSet, time::sleep},
    x402_core::claim::ClaimState,
};

#[cfg(feature = "tokio")]
use super::local::{LocalFacilitator, settlement_id};
use crate::message::VerifyRequest;
use crate::store::{Record, Role};
#[cfg(feature = "tokio")]
use crate::{
    clock::Clock,
    facilitator::ledger::{Ledger, Outcome},
    scheme::SharedScheme,
    store::{
        ClaimStore, Pending,
        keeper::{EVERY, Keeper},
    },
};

/// A pending claim being finished.
#[cfg(feature = "tokio")]
type Finishing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The record beside a claim while its payment is pending.
#[cfg(feature = "tokio")]
#[derive(Deserialize)]
struct Kept {
    /// The signed transaction, in hexadecimal.
    raw: String,
    request: Box<RawValue>,
}

/// The record beside a claim that the keeper settled, and that no caller has heard of.
pub(super) const UNTOLD: &[u8] = b"untold";

/// Returns a facilitator's record of these bytes.
pub(super) fn beside(bytes: &[u8]) -> Record {
    Record { role: Role::Facilitator, bytes: bytes.into() }
}

/// Returns the data to resume a settlement; `None` for a request that cannot be written, which was never
/// read.
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
impl<L, S, C, X> LocalFacilitator<L, S, C, X>
where
    L: Ledger<X::Payment> + 'static,
    X: SharedScheme,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    /// Finishes pending settlements, at once and then for as long as it is polled. These are payments of
    /// processes that died, and payments whose caller never asked again. A transaction that was recorded but
    /// not sent is sent, or another one in its place. Of the processes that share a store, one at a time
    /// works on a payment, and a hanging process does not delay the others.
    ///
    /// Spawn it beside the facilitator. Without it, a pending payment waits until it is presented again.
    pub async fn keep(self: Arc<Self>) {
        let facilitator = Arc::clone(&self);
        // In parallel: silent nodes must not delay verdicts.
        let mut tending = JoinSet::new();
        tending.spawn(async move {
            loop {
                facilitator.ledger().tend().await;
                sleep(EVERY).await;
            }
        });
        Keeper::new(self.store(), Role::Facilitator).keep(self.finisher()).await;
    }

    /// Finishes the settlements that are pending now, and returns when each has an outcome or its time is
    /// over.
    pub async fn keep_once(self: &Arc<Self>) {
        Keeper::new(self.store(), Role::Facilitator).keep_once(self.finisher()).await;
    }

    fn finisher(self: &Arc<Self>) -> impl Fn(Pending) -> Finishing {
        let facilitator = Arc::clone(self);
        move |pending| {
            let facilitator = Arc::clone(&facilitator);
            Box::pin(async move {
                // Otherwise a request waits for it in this process.
                if !facilitator.working.is_busy(&pending.key) {
                    facilitator.finish_one(pending).await;
                }
            })
        }
    }

    async fn finish_one(&self, pending: Pending) {
        let id = format!("{:?}", pending.key);
        let ClaimState::Broadcast(transaction) = pending.state else { return };
        let Some((request, raw)) = Kept::read(&pending.record) else {
            tracing::warn!(id, "the record beside a pending claim cannot be read");
            return;
        };
        let verified = match self.gate(&request, self.now()) {
            Ok(verified) if settlement_id(verified.payment()) == pending.key => verified,
            Ok(_) => {
                tracing::warn!(id, "the record beside a pending claim is of another payment");
                return;
            }
            Err(reason) => {
                tracing::warn!(id, %reason, "a pending payment no longer passes the gate");
                return;
            }
        };
        let _working = self.working.enter(pending.key);
        self.ledger().recover(verified.as_ref(), &transaction, &raw).await;
        match self.finish(pending.key, verified.as_ref(), transaction).await {
            Outcome::Settled(transaction) => {
                tracing::info!(id, %transaction, "pending payment settled");
            }
            Outcome::Failed(reason) => tracing::info!(id, %reason, "pending payment failed"),
            Outcome::Pending => {}
        }
    }
}
