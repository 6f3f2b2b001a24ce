//! Makes, signs, sends, resends and replaces transactions.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use alloy_primitives::{B256, U64, U256};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use x402_core::Reason;
use x402_core::crypto::{AsyncSigner, Secp256k1};
use x402_evm::Address;

use super::EvmChain;
use super::chain::{CallError, Chain, id, number, refusal};
use super::contract::{Calling, balanceOfCall, evm};
use super::guard::Reserved;
use super::sender::{Draft, Fees, Sealed, Sender};
use super::settlement::Authorized;
use super::signature::Proof;
use super::transfer_proof;
use crate::rpc::{Nodes, RpcError};

/// Longest wait for an account that can send.
const TURN: Duration = Duration::from_secs(10);

/// Number of attempts to send a transaction whose nonce is taken.
const NONCES: usize = 3;

/// Gas of a transfer of the chain's own coin.
const PLAIN_TRANSFER_GAS: u64 = 21_000;

/// A signed transaction that was not sent.
pub(crate) struct Prepared {
    /// The place of its sender.
    sender: usize,
    next: OwnedMutexGuard<u64>,
    draft: Draft,
    pub(crate) sealed: Sealed,
    /// The payment that the transaction settles, and its money; `None` for a transfer of the
    /// sender's own.
    payment: Option<(Authorized, Reserved)>,
}

/// The reason why the gas of a call is unknown.
enum NoGas {
    /// The call is reverted, with this text.
    Reverted(String),
    /// It is more than a transaction may use.
    AboveLimit,
    /// There is no answer.
    Fault,
}

/// A node's reason for refusing a transaction.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// The node has it already.
    Known,
    /// Another transaction of the account has its nonce.
    NonceTaken,
    Other,
}

impl Refusal {
    fn of(message: &str) -> Self {
        const KNOWN: &[&str] = &[
            "already known",
            "alreadyknown",
            "already imported",
            "already exists",
            "already in mempool",
            "already in the",
            "known transaction",
        ];
        const TAKEN: &[&str] = &["nonce too low", "nonce is too low", "oldnonce", "replace"];
        let message = message.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
        if has(KNOWN) {
            Self::Known
        } else if has(TAKEN) {
            Self::NonceTaken
        } else {
            Self::Other
        }
    }
}

impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    /// Returns a call as one of the senders would make it. With fees, the simulation equals the later run.
    /// Code can distinguish the two by the fees.
    pub(super) fn as_sender(
        &self,
        call: &Calling,
        sender: Option<Address>,
        fees: Option<Fees>,
    ) -> serde_json::Value {
        let from = sender.or_else(|| self.addresses().next()).map(evm).unwrap_or_default();
        let gas = U64::from(self.settings.gas_limit);
        let mut call = json!({ "from": from, "to": call.to, "data": call.data, "gas": gas });
        match fees {
            Some(Fees { per_gas, .. }) if self.settings.legacy => {
                call["gasPrice"] = json!(U256::from(per_gas));
            }
            Some(Fees { per_gas, priority }) => {
                call["maxFeePerGas"] = json!(U256::from(per_gas));
                call["maxPriorityFeePerGas"] = json!(U256::from(priority));
            }
            None => {}
        }
        call
    }

    /// Returns the gas of a call, with a quarter more for changes until it is mined.
    ///
    /// # Errors
    /// [`NoGas`].
    async fn gas(
        &self,
        call: &Calling,
        sender: Option<Address>,
        fees: Option<Fees>,
    ) -> Result<u64, NoGas> {
        let cap = self.settings.gas_limit;
        let asked = [self.as_sender(call, sender, fees)];
        let answer = self.own.get().await.ask("eth_estimateGas", &asked).await;
        let gas = match answer.map_err(refusal) {
            Ok(answer) => number(&answer).ok_or(NoGas::Fault)?,
            Err(CallError::Reverted(text)) => return Err(NoGas::Reverted(text)),
            Err(CallError::Fault) => return Err(NoGas::Fault),
        };
        if gas > cap {
            return Err(NoGas::AboveLimit);
        }
        Ok(gas.saturating_add(gas / 4).min(cap))
    }

    /// Returns an account that no other payment uses at the moment, and its nonce.
    async fn turn(
        &self,
        only: Option<Address>,
    ) -> Option<(usize, &Sender<K>, OwnedMutexGuard<u64>)> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let places = (0..self.senders.len()).map(|i| first.wrapping_add(i) % self.senders.len());
        let senders = places.filter_map(|place| Some((place, self.senders.get(place)?)));
        let is_right = |key: &K| only.is_none_or(|only| only.0 == key.public_key());
        let mut senders = senders.filter(|(_, sender)| is_right(&sender.key));
        let mut wanted = None;
        let free = senders.find_map(|(place, sender)| {
            wanted = wanted.or(Some((place, sender)));
            Some((place, sender, sender.next.clone().try_lock_owned().ok()?))
        });
        if free.is_some() {
            return free;
        }
        let (place, sender) = wanted?;
        let next = timeout(TURN, sender.next.clone().lock_owned()).await.ok()?;
        Some((place, sender, next))
    }

    /// Signs the transaction of a payment.
    pub(super) async fn prepare(&self, payment: &Authorized) -> Result<Prepared, Reason> {
        const FAULT: Reason = Reason::UnexpectedSettleError;
        self.genuine().await.map_err(|_| FAULT)?;
        let (payer, reasons) = (payment.payer, &payment.reasons);
        self.sends(payment)?;
        let account = evm(payer);
        let (code, pace, fees) = tokio::join!(self.code(payer), self.pace(), self.fees());
        let ((code, pace), fees) = (code.zip(pace).ok_or(FAULT)?, fees?);
        self.admit(payment, code)?;
        if !Self::is_in_time(payment, &pace) {
            *self.known_pace() = None;
            let pace = self.pace().await.ok_or(FAULT)?;
            if !Self::is_in_time(payment, &pace) {
                return Err(reasons.expired);
            }
        }
        let proof = Proof::new(payment, code.is_some(), &self.settings.factories)?;
        let call = proof.call(payment);
        let (balance, gas_limit) = tokio::join!(
            self.view(payment.token, balanceOfCall { account }),
            self.gas(&call, payment.sender, Some(fees)),
        );
        let gas_limit = gas_limit.map_err(|error| match error {
            NoGas::Reverted(text) => payment.reason_of(&text),
            NoGas::AboveLimit => reasons.simulation,
            NoGas::Fault => FAULT,
        })?;
        if !self.is_worth(payment, gas_limit, fees) {
            let chain_id = self.settings.chain_id;
            tracing::warn!(chain_id, gas_limit, "gas costs more than the payment is worth");
            return Err(Reason::Busy);
        }
        // The balance was checked before, and the estimate of the gas checks it again.
        let balance = balance.ok().flatten().unwrap_or(U256::MAX);
        let reserved = self.guard.reserve(payment, balance, code, pace.time);
        let reserved = reserved.map_err(|hold| self.held(payer, hold))?;
        self.sign(call, gas_limit, fees, Some((payment.clone(), reserved))).await
    }

    /// Signs the transaction of a call.
    pub(super) async fn prepare_call(&self, call: Calling) -> Result<Prepared, Reason> {
        let (gas_limit, fees) = tokio::join!(self.gas(&call, None, None), self.fees());
        let gas_limit = gas_limit.map_err(|error| match error {
            NoGas::Reverted(text) => transfer_proof::reason_of(&text),
            NoGas::AboveLimit => Reason::InvalidExactEvmTransactionSimulationFailed,
            NoGas::Fault => Reason::UnexpectedSettleError,
        })?;
        self.sign(call, gas_limit, fees?, None).await
    }

    /// Chooses an account and its nonce, and signs. Payments wait until the account may have one more unmined
    /// transaction.
    async fn sign(
        &self,
        call: Calling,
        gas_limit: u64,
        fees: Fees,
        payment: Option<(Authorized, Reserved)>,
    ) -> Result<Prepared, Reason> {
        const FAULT: Reason = Reason::UnexpectedSettleError;
        let chain_id = self.settings.chain_id;
        let queued = Instant::now();
        let (place, sender, next, known, balance, unmined) = loop {
            let only = payment.as_ref().and_then(|(payment, _)| payment.sender);
            let Some((place, sender, next)) = self.turn(only).await else {
                tracing::warn!(chain_id, "all senders are busy: too many payments wait");
                return Err(Reason::Busy);
            };
            let account = x402_evm::Address(sender.key.public_key());
            let (mined, known, balance) = tokio::join!(
                self.count(account, "latest"),
                self.count(account, "pending"),
                self.balance(account)
            );
            let (Some(mined), Some(known), Some(balance)) = (mined, known, balance) else {
                return Err(FAULT);
            };
            let unmined = sender.unmined(mined);
            if unmined < self.settings.at_once.max(1) {
                break (place, sender, next, known, balance, unmined);
            }
            // Perhaps no other task sends the waiting transactions again.
            drop(next);
            timeout(TURN, self.push()).await.ok();
            if queued.elapsed() >= self.settings.confirm_time / 2 {
                tracing::warn!(chain_id, sender = %account, unmined, "too many transactions wait");
                return Err(Reason::Busy);
            }
            sleep(self.settings.poll_interval).await;
        };
        let account = x402_evm::Address(sender.key.public_key());
        // The balance also pays for the waiting transactions, and for data on some chains.
        let shares = u128::try_from(unmined).unwrap_or(u128::MAX).saturating_add(2);
        let cost = fees.per_gas.saturating_mul(gas_limit.into()).saturating_mul(shares);
        if balance < cost {
            tracing::warn!(chain_id, sender = %account, balance, cost, "sender cannot pay for gas");
            return Err(Reason::Busy);
        }
        let (nonce, legacy) = (sender.choose(*next, known), self.settings.legacy);
        let of = payment.as_ref().map(|(payment, _)| payment.key());
        let draft = Draft { chain_id, legacy, nonce, gas_limit, fees, call, of };
        let sealed = draft.seal(&sender.key).await.map_err(|error| {
            tracing::warn!(chain_id, sender = %account, %error, "transaction not signed");
            FAULT
        })?;
        Ok(Prepared { sender: place, next, draft, sealed, payment })
    }

    /// Sends a transaction to every node. If its nonce is taken, another one is signed and sent. The
    /// authorization lets only one of them move money, and the log shows which. A transfer of the sender's
    /// own lacks this guard, and is sent unchanged.
    ///
    /// Other payments choose their nonces meanwhile, so a slow node does not delay them.
    pub(crate) async fn send(&self, prepared: Prepared) {
        let Prepared { sender: place, mut next, mut draft, mut sealed, payment } = prepared;
        let Some(sender) = self.senders.get(place) else { return };
        let payment = payment.map(|(payment, reserved)| {
            reserved.sent();
            payment
        });
        for _ in 0..NONCES {
            sender.note(&mut next, &draft, &sealed);
            drop(next);
            let transaction = id(sealed.hash);
            let chain_id = self.settings.chain_id;
            let Err(error) = self.tell(&sealed).await else {
                tracing::info!(chain_id, %transaction, nonce = draft.nonce, "transaction sent");
                return;
            };
            let refusal = match &error {
                RpcError::Refused { message, .. } => Refusal::of(message),
                _ => Refusal::Other,
            };
            tracing::warn!(chain_id, %transaction, nonce = draft.nonce, %error, ?refusal, "transaction not taken");
            if refusal != Refusal::NonceTaken {
                return;
            }
            let Some(payment) = &payment else { return };
            let account = x402_evm::Address(sender.key.public_key());
            // This very transaction may have taken the nonce.
            let (known, used) =
                tokio::join!(self.is_known(sealed.hash), self.meaning(&payment.used));
            let (Some(false), Ok(Some(false))) = (known, used) else { return };
            let Ok(locked) = timeout(TURN, sender.next.clone().lock_owned()).await else { return };
            next = locked;
            let Some(count) = self.count(account, "pending").await else { return };
            draft.nonce = count.max(*next).max(draft.nonce.saturating_add(1));
            let Ok(anew) = draft.seal(&sender.key).await else { return };
            sealed = anew;
        }
    }

    /// Returns whether nodes know a transaction.
    async fn is_known(&self, hash: B256) -> Option<bool> {
        let known = |known: &RawValue| Some(known.get() != "null");
        self.ask("eth_getTransactionByHash", &json!([hash]), known).await
    }

    /// Takes up a payment whose transaction was recorded. If the nodes lack the transaction, it is sent
    /// again. If its nonce is taken, another transaction is sent.
    pub(super) async fn recover(&self, payment: &Authorized, hash: Option<B256>, raw: &[u8]) {
        let read = Sealed::read(raw).filter(|(_, draft, sealed)| {
            draft.chain_id == self.settings.chain_id && hash.is_none_or(|it| it == sealed.hash)
        });
        let Some((from, mut draft, sealed)) = read else { return };
        draft.of = Some(payment.key());
        if self.genuine().await.is_err() {
            return;
        }
        let own = self.senders.iter().find(|sender| sender.key.public_key() == from.0);
        let (Some(receipt), Some(known)) =
            tokio::join!(self.own_receipt(payment, Some(sealed.hash)), self.is_known(sealed.hash))
        else {
            return;
        };
        if receipt.is_some() {
            return;
        }
        let Some(mined) = self.count(from, "latest").await else { return };
        let free = draft.nonce >= mined;
        match own {
            // It is treated like transactions that were sent from here.
            Some(sender) if free => {
                if !sender.take_up(&draft, &sealed).await {
                    self.send_anew(payment).await;
                }
            }
            _ if known => {}
            _ if free => _ = self.tell(&sealed).await,
            _ => self.send_anew(payment).await,
        }
    }

    /// Sends a payment in another transaction, unless it was used. Only one of the two moves its money.
    async fn send_anew(&self, payment: &Authorized) {
        match self.meaning(&payment.used).await {
            Ok(Some(false)) => {}
            _ => return,
        }
        match self.prepare(payment).await {
            Ok(prepared) => {
                let (chain_id, transaction) = (self.settings.chain_id, id(prepared.sealed.hash));
                tracing::info!(chain_id, %transaction, "payment sent anew");
                self.send(prepared).await;
            }
            Err(reason) => {
                let chain_id = self.settings.chain_id;
                tracing::warn!(chain_id, %reason, "payment not sent anew");
            }
        }
    }

    async fn tell(&self, sealed: &Sealed) -> Result<Box<RawValue>, RpcError> {
        tell(&self.own.get().await, sealed).await
    }

    /// Frees accounts that are stuck behind an unknown transaction: one of an earlier run that offers too
    /// little. An empty transfer to the account itself replaces it.
    pub(super) async fn unwedge(&self) {
        let EvmChain { chain_id, replace_after, legacy, .. } = self.settings;
        if replace_after == Duration::MAX || self.genuine().await.is_err() {
            return;
        }
        for sender in &self.senders {
            let account = x402_evm::Address(sender.key.public_key());
            let (mined, known) =
                tokio::join!(self.count(account, "latest"), self.count(account, "pending"));
            let (Some(mined), Some(known)) = (mined, known) else { continue };
            let Some(times) = sender.wedged(mined, known, replace_after) else { continue };
            let Ok(fees) = self.fees_to_replace().await else { continue };
            // Each attempt offers more, because the other offer is unknown.
            let mut fees = (0..times).fold(fees, |fees, _| fees.to_replace());
            fees.per_gas = fees.per_gas.min(self.settings.max_fee_per_gas);
            fees.priority = fees.priority.min(self.settings.max_priority_fee_per_gas);
            let call = Calling::to(evm(account), Vec::new());
            let gas_limit = PLAIN_TRANSFER_GAS;
            let (nonce, of) = (mined, None);
            let draft = Draft { chain_id, legacy, nonce, gas_limit, fees, call, of };
            let Ok(sealed) = draft.seal(&sender.key).await else { continue };
            let transaction = id(sealed.hash);
            let told = self.tell(&sealed).await;
            let taken = told.is_ok();
            tracing::warn!(chain_id, sender = %account, nonce = mined, %transaction, taken,
                "an unknown transaction blocks the account: an empty transfer replaces it");
            if taken {
                sender.take_up(&draft, &sealed).await;
            }
        }
    }

    /// Sends waiting transactions to the nodes again, and raises the fee of the first if it has waited for
    /// long.
    pub(super) async fn push(&self) {
        for sender in &self.senders {
            let EvmChain { chain_id, resend_after, replace_after, .. } = self.settings;
            if !sender.is_due(resend_after) {
                continue;
            }
            let account = x402_evm::Address(sender.key.public_key());
            let Some(mined) = self.count(account, "latest").await else { continue };
            let mut telling = JoinSet::new();
            for sealed in sender.due(mined, resend_after) {
                let nodes = self.own.get().await;
                // Its success shows when it is mined.
                telling.spawn(async move { tell(&nodes, &sealed).await.ok() });
            }
            telling.join_all().await;
            let Some((mut draft, old)) = sender.stuck(replace_after) else { continue };
            let Ok(now) = self.fees_to_replace().await else { continue };
            draft.fees = draft.fees.to_replace().at_least(now);
            if draft.fees.per_gas > self.settings.max_fee_per_gas
                || draft.fees.priority > self.settings.max_priority_fee_per_gas
            {
                tracing::warn!(chain_id, sender = %account, nonce = draft.nonce, "transaction stuck");
                continue;
            }
            let Ok(sealed) = draft.seal(&sender.key).await else { continue };
            let (transaction, nonce) = (id(sealed.hash), draft.nonce);
            if sender.replace(old, draft, sealed.clone()) {
                tracing::info!(chain_id, %transaction, nonce, "transaction replaced");
                self.tell(&sealed).await.ok();
            }
        }
    }
}

async fn tell(nodes: &Nodes, sealed: &Sealed) -> Result<Box<RawValue>, RpcError> {
    let raw = format!("0x{}", hex::encode(&sealed.raw));
    nodes.tell("eth_sendRawTransaction", &[raw]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_refuse() {
        for (message, meant) in [
            ("already known", Refusal::Known),
            ("AlreadyKnown", Refusal::Known),
            ("Transaction with the same hash was already imported.", Refusal::Known),
            ("tx already in mempool cache", Refusal::Known),
            ("nonce already in use", Refusal::Other),
            ("nonce too low: next nonce 5, tx nonce 4", Refusal::NonceTaken),
            ("OldNonce, Current nonce: 5", Refusal::NonceTaken),
            ("replacement transaction underpriced", Refusal::NonceTaken),
            ("could not replace existing tx", Refusal::NonceTaken),
            ("transaction underpriced", Refusal::Other),
            ("insufficient funds for gas * price + value", Refusal::Other),
            ("", Refusal::Other),
        ] {
            assert_eq!(Refusal::of(message), meant, "{message}");
        }
    }
}
