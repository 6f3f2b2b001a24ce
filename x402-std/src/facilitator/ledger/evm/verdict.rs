//! What became of a payment, by the blocks that are deep enough.

use alloy_primitives::{B256, Bytes, U64};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::sleep;
use x402_core::Amount;
use x402_core::claim::Transaction;
use x402_core::crypto::{AsyncSigner, Secp256k1};

use super::EvmChain;
use super::chain::{CallError, Chain, Receipt, call_at, id, read};
use super::contract::evm;
use super::settlement::{Authorized, End, Log};
use crate::facilitator::ledger::Outcome;

/// Most transactions looked at that claim to have used one authorization. There can be one; only a
/// node or a token that lies names more.
const USERS: usize = 4;

/// The state of a payment that was sent.
enum Look {
    Final(Outcome),
    /// Something may come of it yet.
    Open,
    /// Nothing comes of what was sent here, and it is not for this ledger to say more: the payer's
    /// authorization is good and public, and somebody may use it, or somebody has.
    Spoilt,
}

impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    /// Waits until it is certain what became of a payment, within the time limit.
    pub(super) async fn confirm(&self, payment: &Authorized, transaction: &Transaction) -> Outcome {
        let hash = transaction.parse::<B256>().ok();
        let EvmChain { chain_id, poll_interval, confirm_time, .. } = self.settings;
        let certain = async {
            loop {
                if self.genuine().await.is_ok() {
                    match self.look(payment, hash).await {
                        Some(Look::Final(outcome)) => return outcome,
                        Some(Look::Spoilt) => return Outcome::Pending,
                        Some(Look::Open) | None => {}
                    }
                }
                sleep(poll_interval).await;
            }
        };
        // At its side: a node that takes long to be told must not hold up a verdict.
        let pushed = async {
            loop {
                sleep(poll_interval).await;
                self.push().await;
            }
        };
        let outcome = tokio::select! {
            outcome = certain => outcome,
            () = pushed => Outcome::Pending,
            () = sleep(confirm_time) => Outcome::Pending,
        };
        if outcome != Outcome::Pending {
            self.guard.landed(payment);
        }
        match &outcome {
            Outcome::Settled(moved) => {
                tracing::info!(chain_id, %transaction, %moved, "payment settled");
            }
            Outcome::Failed(reason) => {
                tracing::info!(chain_id, %transaction, %reason, "payment failed");
            }
            Outcome::Pending => tracing::warn!(chain_id, %transaction, "payment not certain yet"),
        }
        outcome
    }

    /// The state of a payment, by the blocks that are deep enough. `None` if the nodes do not say,
    /// or not alike.
    async fn look(&self, payment: &Authorized, hash: Option<B256>) -> Option<Look> {
        let depth = self.settings.confirmations.max(1);
        let head = self.head().await?;
        // Seen from the newest block as 1.
        let Some(deep) = head.checked_sub(depth - 1) else {
            return Some(Look::Open);
        };
        // "Failed" must never be taken back: whoever is told so pays again.
        let deeper = deep.checked_sub(self.settings.failed_after);
        // What is said if it turns out that the money never moves.
        let reasons = &payment.reasons;
        let mut reason = reasons.expired;
        let mut spoilt = false;
        if let Some(receipt) = self.own_receipt(payment, hash).await? {
            // The payer's balance tells from now on.
            self.guard.landed(payment);
            if !self.is_deep(&receipt, deep).await? {
                return Some(Look::Open);
            }
            let succeeded = receipt.succeeded();
            // The ledger's own transaction makes no other payment.
            if succeeded && receipt.logs.iter().any(|log| payment.paid.is(log)) {
                return Some(Look::Final(Outcome::Settled(id(receipt.transaction_hash))));
            }
            spoilt = true;
            reason = if succeeded { reasons.event } else { reasons.failed };
        }
        if !self.is_spent(payment, deep).await? {
            // Blocks only get later: what is too late for this one is too late for all after it.
            let expired = match deeper {
                Some(deeper) => {
                    let time = Amount::from(self.block(deeper).await?.timestamp.to::<u64>());
                    payment.valid_before <= time
                }
                None => false,
            };
            return Some(if expired {
                Look::Final(Outcome::Failed(reason))
            } else if spoilt {
                Look::Spoilt
            } else {
                Look::Open
            });
        }
        for user in self.users(payment, deep).await? {
            let receipt = self.receipt(Some(user)).await?;
            let Some(receipt) = receipt.filter(Receipt::succeeded) else {
                continue;
            };
            if !self.is_deep(&receipt, deep).await? {
                continue;
            }
            match (payment.end)(&receipt.logs) {
                End::Paid if self.settings.settled_by_others || self.is_own(&receipt) => {
                    return Some(Look::Final(Outcome::Settled(id(user))));
                }
                End::Paid => {
                    let (chain_id, transaction) = (self.settings.chain_id, id(user));
                    tracing::warn!(chain_id, %transaction, "payment settled by a stranger");
                    return Some(Look::Spoilt);
                }
                End::Spent => {
                    let sure =
                        deeper.is_some_and(|deeper| receipt.block_number.to::<u64>() <= deeper);
                    let reason = match hash == Some(user) {
                        true => reason,
                        false => reasons.used,
                    };
                    return Some(match sure {
                        true => Look::Final(Outcome::Failed(reason)),
                        false => Look::Open,
                    });
                }
                End::Unclear => {}
            }
        }
        Some(Look::Open)
    }

    /// The receipt of the transaction that was written down for a payment, or of another one that was
    /// sent for it: one that moved the money rather than one that failed. Each that failed is noted.
    pub(super) async fn own_receipt(
        &self,
        payment: &Authorized,
        hash: Option<B256>,
    ) -> Option<Option<Receipt>> {
        let others = self.senders.iter().flat_map(|sender| sender.sent_for(payment.key()));
        let others = others.filter(|other| Some(*other) != hash);
        let mut found = None::<Receipt>;
        for hash in hash.into_iter().chain(others) {
            let Some(receipt) = self.receipt(Some(hash)).await? else { continue };
            self.note(payment, &receipt).await;
            if found.as_ref().is_none_or(|found| !found.succeeded()) {
                found = Some(receipt);
            }
        }
        Some(found)
    }

    /// Remembers what came of a transaction of this chain's own: gas that was lost, and by whom.
    async fn note(&self, payment: &Authorized, receipt: &Receipt) {
        if !self.is_own(receipt) {
            return;
        }
        let payer = payment.payer;
        let failed = !receipt.succeeded();
        if !failed && payment.signed.by_key && !self.settings.smart_wallets {
            return;
        }
        // By the one it had when this was sent, too: code can be taken away in time.
        let Some(code) = self.code(payer).await else { return };
        let code = self.guard.code_of(payment).or(code);
        if failed {
            let gas = receipt.gas_used.map_or(0, |gas| gas.to());
            let price = receipt.effective_gas_price.map_or(0, |price| price.saturating_to());
            self.guard.failed(receipt.transaction_hash, payer, code, gas, price);
        } else {
            self.guard.succeeded(payer, code);
        }
    }

    /// Whether one of this chain's accounts sent a transaction.
    fn is_own(&self, receipt: &Receipt) -> bool {
        self.addresses().any(|sender| receipt.from == Some(evm(sender)))
    }

    /// Whether the payment's authorization was used or cancelled, as of the block `at`.
    async fn is_spent(&self, payment: &Authorized, at: u64) -> Option<bool> {
        let mut answers = Vec::with_capacity(payment.used.calls.len());
        for call in &payment.used.calls {
            let params = call_at(call, U64::from(at));
            answers.push(match self.agreed("eth_call", &params, read::<Bytes>).await {
                Some(answer) => Some(answer.to_vec()),
                None if matches!(self.call(&params).await, Err(CallError::Reverted(_))) => None,
                None => return None,
            });
        }
        (payment.used.meaning)(&answers)
    }

    /// The transactions that used or cancelled the payment's authorization, up to the block `deep`.
    async fn users(&self, payment: &Authorized, deep: u64) -> Option<Vec<B256>> {
        let topics = payment.logged.iter().map(|any| any.iter().copied().map(B256::new));
        let topics: Vec<Vec<_>> = topics.map(Iterator::collect).collect();
        let filter = json!([{
            "address": evm(payment.logged_by),
            "topics": topics,
            "fromBlock": U64::from(deep.saturating_sub(self.settings.look_back)),
            "toBlock": U64::from(deep),
        }]);
        let hashes = |answer: &RawValue| {
            let logs: Vec<Log> = read(answer)?;
            let mut hashes: Vec<_> = logs.iter().filter_map(|log| log.transaction_hash).collect();
            hashes.dedup();
            hashes.truncate(USERS);
            Some(hashes)
        };
        self.agreed("eth_getLogs", &filter, hashes).await
    }
}
