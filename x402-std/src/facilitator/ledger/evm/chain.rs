//! One chain: the questions to its nodes.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy_sol_types::SolCall;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use x402_core::claim::Transaction;
use x402_core::crypto::{AsyncSigner, Secp256k1};

use super::contract::{evm, revert_text};
use super::guard::Guard;
use super::heads::Heads;
use super::sender::Sender;
use super::settlement::{Call, Log, Question};
use super::{EvmChain, NotReady};
use crate::lock;
use crate::rpc::{OwnNodes, RpcError};

/// Times for which the newest block's time, and the time that a block takes, are reused.
const HEAD: Duration = Duration::from_secs(2);
const PACE: Duration = Duration::from_secs(60);

/// Number of blocks from which the time of one is measured.
const PACE_BLOCKS: u64 = 10;

pub(crate) struct Chain<K> {
    pub(crate) settings: EvmChain,
    pub(super) own: Arc<OwnNodes>,
    pub(super) senders: Vec<Sender<K>>,
    pub(super) turn: AtomicUsize,
    pub(super) guard: Arc<Guard>,
    pace: Mutex<Option<Pace>>,
    pub(super) heads: Heads,
}

/// The newest block's time, and the seconds that a block takes, as they were last measured.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) time: u64,
    pub(super) seconds: u64,
    looked: Instant,
    measured: Instant,
}

/// The failure of a call to a node.
pub(super) enum CallError {
    /// The contract refuses it, with this text.
    Reverted(String),
    /// There is no answer.
    Fault,
}

#[derive(PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt {
    pub(super) transaction_hash: B256,
    pub(super) block_hash: B256,
    pub(super) block_number: U64,
    status: U64,
    pub(super) gas_used: Option<U64>,
    pub(super) effective_gas_price: Option<U256>,
    pub(super) from: Option<Address>,
    pub(super) to: Option<Address>,
    pub(super) logs: Vec<Log>,
}

impl Receipt {
    pub(super) fn succeeded(&self) -> bool {
        self.status.to::<u64>() == 1
    }
}

#[derive(PartialEq, Deserialize)]
pub(super) struct Block {
    pub(super) hash: B256,
    number: U64,
    pub(super) timestamp: U64,
}

pub(super) fn read<T: DeserializeOwned>(answer: &RawValue) -> Option<T> {
    serde_json::from_str(answer.get()).ok()
}

pub(super) fn number(answer: &RawValue) -> Option<u64> {
    read::<U64>(answer).map(|number| number.to())
}

pub(super) fn wei(answer: &RawValue) -> Option<u128> {
    read::<U256>(answer).and_then(|wei| u128::try_from(wei).ok())
}

/// Returns the id of a transaction: `0x` and 64 digits.
pub(super) fn id(hash: B256) -> Transaction {
    Transaction::try_from(&*format!("0x{}", hex::encode(hash))).unwrap_or_default()
}

pub(super) fn refusal(error: RpcError) -> CallError {
    const REVERTS: &[&str] = &[
        "revert",
        "vm execution error",
        "out of gas",
        "gas required exceeds",
        "invalid opcode",
        "invalid jump",
        "stack",
    ];
    let RpcError::Refused { code, message, data } = error else { return CallError::Fault };
    let lower = message.to_ascii_lowercase();
    if code != 3 && !REVERTS.iter().any(|word| lower.contains(word)) {
        return CallError::Fault;
    }
    let data = data.and_then(|data| read::<String>(&data));
    let data = data.as_deref().and_then(|text| Some(text.split_once("0x")?.1));
    let data = data.and_then(|digits| hex::decode(digits).ok());
    let text = data.and_then(|data| revert_text(&data));
    CallError::Reverted(format!("{message} {}", text.unwrap_or_default()))
}

impl<K> Chain<K> {
    pub(crate) fn new(settings: EvmChain, keys: Vec<K>) -> Self {
        let senders = keys.into_iter().map(Sender::new).collect();
        let chain_id = settings.chain_id;
        let is_right = move |answer: &RawValue| number(answer) == Some(chain_id);
        let own = OwnNodes::new(settings.nodes.clone(), "eth_chainId", is_right);
        let guard = Arc::new(Guard::new(settings.code_at_once));
        let (turn, pace, heads) = Default::default();
        Self { settings, own, senders, turn, guard, pace, heads }
    }

    /// Asks nodes in turn until one answers, and reads the answer.
    pub(super) async fn ask<T>(
        &self,
        method: &str,
        params: &impl Serialize,
        read: impl FnOnce(&RawValue) -> Option<T>,
    ) -> Option<T> {
        let answer = self.own.get().await.ask(method, params).await;
        let answer = answer.inspect_err(|error| self.warn(method, error)).ok()?;
        read(&answer)
    }

    fn warn(&self, method: &str, error: &RpcError) {
        tracing::warn!(chain_id = self.settings.chain_id, method, %error, "no answer from the chain");
    }

    /// Returns the answer on which enough nodes agree for a verdict.
    pub(super) async fn agreed<T: PartialEq>(
        &self,
        method: &str,
        params: &impl Serialize,
        read: impl Fn(&RawValue) -> Option<T>,
    ) -> Option<T> {
        let witnesses = self.settings.witnesses;
        if witnesses <= 1 {
            return self.ask(method, params, read).await;
        }
        let answers = self.own.get().await.ask_each(witnesses, method, params).await;
        if answers.len() < witnesses {
            return None;
        }
        let mut answers = answers.iter().map(|answer| read(answer.as_ref().ok()?));
        let first = answers.next()??;
        answers.all(|other| other.as_ref() == Some(&first)).then_some(first)
    }

    /// Checks that enough nodes have shown that they are of this chain. Each is asked before its first use.
    pub(super) async fn genuine(&self) -> Result<(), NotReady> {
        let chain_id = self.settings.chain_id;
        let nodes = self.own.get().await;
        // This is a mistake in the settings, not a temporary fault.
        if self.own.wrong_at_first() {
            return Err(NotReady::WrongChain { chain_id });
        }
        if nodes.count() < self.settings.witnesses.max(1) {
            return Err(NotReady::Unreachable { chain_id });
        }
        Ok(())
    }

    /// As [`genuine`](Self::genuine), with a question to all nodes now: no node may be of another chain.
    pub(super) async fn all_genuine(&self) -> Result<(), NotReady> {
        let chain_id = self.settings.chain_id;
        if !self.own.ask().await {
            tracing::error!(chain_id, "a node is of another chain");
            return Err(NotReady::WrongChain { chain_id });
        }
        self.genuine().await
    }

    pub(super) fn known_pace(&self) -> MutexGuard<'_, Option<Pace>> {
        lock(&self.pace)
    }

    /// Returns an account's balance in the chain's own coin, in wei.
    pub(super) async fn balance(&self, account: x402_evm::Address) -> Option<u128> {
        let read = |answer: &RawValue| read::<U256>(answer).map(|wei| wei.saturating_to());
        self.ask("eth_getBalance", &json!([evm(account), "latest"]), read).await
    }

    pub(super) async fn count(&self, account: x402_evm::Address, block: &str) -> Option<u64> {
        self.ask("eth_getTransactionCount", &json!([evm(account), block]), number).await
    }

    /// Returns the hash of the code at an address, if there is some. With EIP-7702 the code names the
    /// contract that the account delegates to.
    pub(super) async fn code(&self, account: x402_evm::Address) -> Option<Option<B256>> {
        let read = |answer: &RawValue| {
            read::<Bytes>(answer).map(|code| (!code.is_empty()).then(|| keccak256(&code)))
        };
        self.ask("eth_getCode", &json!([evm(account), "latest"]), read).await
    }

    /// Calls a contract without a transaction. An unreadable answer is the node's fault.
    pub(super) async fn call(&self, params: &impl Serialize) -> Result<Bytes, CallError> {
        let answer = self.own.get().await.ask("eth_call", params).await.map_err(refusal)?;
        read(&answer).ok_or(CallError::Fault)
    }

    /// Returns the answer of a contract's function; `None` if it has no such function.
    pub(super) async fn view<F: SolCall>(
        &self,
        contract: x402_evm::Address,
        call: F,
    ) -> Result<Option<F::Return>, CallError> {
        let data = Bytes::from(call.abi_encode());
        match self.call(&json!([{ "to": evm(contract), "data": data }, "latest"])).await {
            Ok(answer) => Ok(F::abi_decode_returns_validate(&answer).ok()),
            Err(CallError::Reverted(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

/// Returns a call in the nodes' form, on the state after the block `at`.
pub(super) fn call_at(call: &Call, at: impl Serialize) -> serde_json::Value {
    let data = Bytes::copy_from_slice(&call.data);
    json!([{ "to": evm(call.to), "data": data }, at])
}

impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    /// Returns the meaning of the contracts' present answers.
    pub(super) async fn meaning<T>(&self, question: &Question<T>) -> Result<T, CallError> {
        let mut answers = Vec::with_capacity(question.calls.len());
        for call in &question.calls {
            answers.push(match self.call(&call_at(call, "latest")).await {
                Ok(answer) => Some(answer.to_vec()),
                Err(CallError::Reverted(_)) => None,
                Err(CallError::Fault) => return Err(CallError::Fault),
            });
        }
        Ok((question.meaning)(&answers))
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = x402_evm::Address> {
        self.senders.iter().map(|sender| x402_evm::Address(sender.key.public_key()))
    }

    /// Returns the newest block's time and the time of a block; `None` without an answer of the nodes.
    pub(super) async fn pace(&self) -> Option<Pace> {
        let known = *self.known_pace();
        if let Some(pace) = known.filter(|pace| pace.looked.elapsed() < HEAD) {
            return Some(pace);
        }
        let head = self.head().await?;
        let time = self.block(head).await?.timestamp.to::<u64>();
        let now = Instant::now();
        let pace = match known.filter(|pace| pace.measured.elapsed() < PACE) {
            Some(known) => Pace { time, looked: now, ..known },
            None => {
                let back = head.min(PACE_BLOCKS);
                let then = self.block(head - back).await?.timestamp.to::<u64>();
                let seconds = time.saturating_sub(then).div_ceil(back.max(1));
                Pace { time, seconds, looked: now, measured: now }
            }
        };
        *self.known_pace() = Some(pace);
        Some(pace)
    }

    /// Returns the number of the newest block that every witness has, and notes it.
    pub(super) async fn head(&self) -> Option<u64> {
        let no_params: [(); 0] = [];
        let witnesses = self.settings.witnesses;
        let head = if witnesses <= 1 {
            self.ask("eth_blockNumber", &no_params, number).await?
        } else {
            let nodes = self.own.get().await;
            let answers = nodes.ask_each(witnesses, "eth_blockNumber", &no_params).await;
            if answers.len() < witnesses {
                return None;
            }
            let heads = answers.iter().map(|answer| number(answer.as_ref().ok()?));
            heads.collect::<Option<Vec<_>>>()?.into_iter().min()?
        };
        self.heads.saw(head);
        Some(head)
    }

    /// Returns the receipt of a transaction, if it is in a block.
    pub(super) async fn receipt(&self, hash: Option<B256>) -> Option<Option<Receipt>> {
        let Some(hash) = hash else { return Some(None) };
        let receipt = |answer: &RawValue| read::<Option<Receipt>>(answer);
        let receipt = self.agreed("eth_getTransactionReceipt", &[hash], receipt).await?;
        let own = receipt.as_ref().is_none_or(|receipt| receipt.transaction_hash == hash);
        own.then_some(receipt)
    }

    /// Returns the block at a height.
    pub(super) async fn block(&self, at: u64) -> Option<Block> {
        let block: Block =
            self.agreed("eth_getBlockByNumber", &json!([U64::from(at), false]), read).await?;
        (block.number.to::<u64>() == at).then_some(block)
    }

    /// Returns whether a receipt's block is no newer than `deep`, and still the one at its height.
    pub(super) async fn is_deep(&self, receipt: &Receipt, deep: u64) -> Option<bool> {
        let at = receipt.block_number.to();
        Some(at <= deep && self.block(at).await?.hash == receipt.block_hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverts_are_told_from_faults() {
        let reverted = |code, message: &str, data: Option<&str>| {
            let data = data.and_then(|data| RawValue::from_string(data.into()).ok());
            match refusal(RpcError::Refused { code, message: message.into(), data }) {
                CallError::Reverted(text) => Some(text),
                CallError::Fault => None,
            }
        };
        // `Error("why")`, as contracts return it.
        let data = format!("0x08c379a0{:064x}{:064x}{:0<64}", 32, 3, hex::encode("why"),);
        let (geth, parity) = (format!("{data:?}"), format!("\"Reverted {data}\""));
        for data in [geth, parity] {
            let text = reverted(-32015, "VM execution error.", Some(&data));
            assert_eq!(text.as_deref(), Some("VM execution error. why"));
        }
        for odd in ["{}", "1", "\"0xzz\"", "\"0x\""] {
            let text = reverted(3, "execution reverted: so", Some(odd));
            assert_eq!(text.as_deref(), Some("execution reverted: so "));
        }
        assert!(reverted(-32000, "out of gas", None).is_some());
        assert!(reverted(-32000, "gas required exceeds allowance (300000)", None).is_some());
        for fault in ["header not found", "internal error", "missing trie node", ""] {
            assert_eq!(reverted(-32000, fault, None), None, "{fault}");
        }
        assert!(matches!(refusal(RpcError::TimedOut), CallError::Fault));
    }
}
