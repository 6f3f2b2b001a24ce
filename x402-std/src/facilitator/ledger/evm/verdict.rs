//! The outcome of a payment, by the blocks that are deep enough.

use std::time::Duration;

use alloy_primitives::{B256, Bytes, U64};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};
use x402_core::Amount;
use x402_core::claim::Transaction;
use x402_core::crypto::{AsyncSigner, Secp256k1};

use super::EvmChain;
use super::chain::{CallError, Chain, Receipt, call_at, id, read};
use super::contract::evm;
use super::settlement::{Authorized, End, Log};
use crate::facilitator::ledger::Outcome;

/// Highest number of transactions that are checked for the use of one authorization. There can be only one.
/// More come from a lying node or token.
const USERS: usize = 4;

/// Time for which nothing but its own block is likely to come of a transaction that was sent.
const JUST_SENT: Duration = Duration::from_secs(1);

/// The state of a payment that was sent.
enum Look {
    Final(Outcome),
    /// The payment may still be made.
    Open,
    /// The transactions from here make no payment. The outcome stays open for this ledger: the payer's
    /// authorization is valid and public, and somebody else may use it, or has used it.
    Spoilt,
}

impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    /// Waits for the certain outcome of a payment, within the time limit.
    pub(super) async fn confirm(&self, payment: &Authorized, transaction: &Transaction) -> Outcome {
        let hash = transaction.parse::<B256>().ok();
        let EvmChain { chain_id, poll_interval, confirm_time, .. } = self.settings;
        let certain = async {
            // A transaction that was just sent is looked for. Anything else may have happened to an older
            // one.
            let mut whole = !hash.is_some_and(|hash| {
                self.senders.iter().any(|sender| sender.has_just_sent(hash, JUST_SENT))
            });
            let mut looked = Instant::now();
            loop {
                let newest = self.heads.newest();
                if self.genuine().await.is_ok() {
                    match self.look(payment, hash, whole).await {
                        Some(Look::Final(outcome)) => return outcome,
                        Some(Look::Spoilt) => return Outcome::Pending,
                        Some(Look::Open) | None => {}
                    }
                }
                if whole {
                    looked = Instant::now();
                }
                self.heads.after(newest, poll_interval, || self.head()).await;
                whole = looked.elapsed() >= poll_interval;
            }
        };
        // In parallel: a slow node must not delay a verdict.
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

    /// Returns the state of a payment, by the blocks that are deep enough. `None` if the nodes give no
    /// answer, or different ones. Only a look at the `whole` finds the transactions of others.
    async fn look(&self, payment: &Authorized, hash: Option<B256>, whole: bool) -> Option<Look> {
        let depth = self.settings.confirmations.max(1);
        let own = self.own_receipt(payment, hash).await?;
        if own.is_none() && !whole {
            return Some(Look::Open);
        }
        let head = self.head().await?;
        // The newest block has depth 1.
        let Some(deep) = head.checked_sub(depth - 1) else {
            return Some(Look::Open);
        };
        // "Failed" must be final, because the payer then pays again.
        let deeper = deep.checked_sub(self.settings.failed_after);
        // The reason if the money never moves.
        let reasons = &payment.reasons;
        let mut reason = reasons.expired;
        let mut spoilt = false;
        if let Some(receipt) = own {
            // From now on the payer's balance includes it.
            self.guard.landed(payment);
            if !self.is_deep(&receipt, deep).await? {
                return Some(Look::Open);
            }
            let succeeded = receipt.succeeded();
            // The ledger's own transaction makes only this payment.
            if succeeded && receipt.logs.iter().any(|log| payment.paid.is(log)) {
                return Some(Look::Final(Outcome::Settled(id(receipt.transaction_hash))));
            }
            spoilt = true;
            reason = if succeeded { reasons.event } else { reasons.failed };
        }
        if !self.is_spent(payment, deep).await? {
            // Block times only rise: a payment that is too late for this block is too late for all later
            // ones.
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

    /// Returns the receipt of the payment's recorded transaction, or of another one that was sent for it. A
    /// successful transaction is preferred to a failed one. Each failed one is noted.
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

    /// Remembers the outcome of a transaction from here: the lost gas, and the payer that caused it.
    async fn note(&self, payment: &Authorized, receipt: &Receipt) {
        if !self.is_own(receipt) {
            return;
        }
        let payer = payment.payer;
        let failed = !receipt.succeeded();
        if !failed && payment.signed.by_key && !self.settings.smart_wallets {
            return;
        }
        // The code at the time of sending counts too: the payer may have removed it since.
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

    /// Returns whether one of this chain's accounts sent a transaction.
    fn is_own(&self, receipt: &Receipt) -> bool {
        self.addresses().any(|sender| receipt.from == Some(evm(sender)))
    }

    /// Returns whether the payment's authorization was used or cancelled, as of the block `at`.
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

    /// Returns the transactions that used or cancelled the payment's authorization, up to the block `deep`.
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
