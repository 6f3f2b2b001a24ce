//! One chain: what its nodes are asked, and what follows from their answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy_sol_types::SolCall;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use x402_core::budget::MONEY_DECIMALS;
use x402_core::claim::Transaction;
use x402_core::crypto::{AsyncSigner, Recover, RecoverableSignature, Secp256k1};
use x402_core::{Amount, Reason};
use x402_evm::{assets, eip712};

use super::guard::{Guard, Hold, Reserved};
use super::sender::{Draft, Fees, Sealed, Sender};
use super::token::{
    self, Authorized, Call, DOMAIN_SEPARATORCall, Log, Movement, Proof, authorizationStateCall,
    balanceOfCall, evm, nameCall, versionCall,
};
use super::{EvmChain, NotReady};
use crate::crypto::Recovery;
use crate::ledger::Outcome;
use crate::rpc::{Nodes, OwnNodes, RpcError};

/// Longest wait for an account that can send.
const TURN: Duration = Duration::from_secs(10);

/// How often a transaction is signed anew because its nonce is taken.
const NONCES: usize = 3;

/// Gas of a transfer of the chain's own coin.
const PLAIN_TRANSFER_GAS: u64 = 21_000;

/// Wei in one of the chain's own coin.
const COIN: u128 = 1_000_000_000_000_000_000;

/// Most transactions looked at that claim to have used one authorization. There can be one; only a
/// node or a token that lies names more.
const USERS: usize = 4;

/// How long it is believed which block is the newest, and how much time blocks take.
const HEAD: Duration = Duration::from_secs(2);
const PACE: Duration = Duration::from_secs(60);

/// So many blocks show how much time one takes.
const PACE_BLOCKS: u64 = 10;

/// How long the nodes are waited for that name a price, once one has.
const QUOTED: Duration = Duration::from_secs(2);

/// Blocks for which a payment must be valid when it is sent.
const BLOCKS_LEFT: u64 = 2;

pub(crate) struct Chain<K> {
    pub(crate) settings: EvmChain,
    own: Arc<OwnNodes>,
    pub(super) senders: Vec<Sender<K>>,
    turn: AtomicUsize,
    pub(super) guard: Arc<Guard>,
    pace: Mutex<Option<Pace>>,
}

/// The newest block's time, and seconds that a block takes, as far as they were asked for.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) time: u64,
    pub(super) seconds: u64,
    looked: Instant,
    measured: Instant,
}

/// The failure of a call to a node.
enum CallError {
    /// The contract does not take it, and says why.
    Reverted(String),
    /// There is no answer.
    Fault,
}

#[derive(PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt {
    transaction_hash: B256,
    pub(super) block_hash: B256,
    pub(super) block_number: U64,
    pub(super) status: U64,
    gas_used: Option<U64>,
    effective_gas_price: Option<U256>,
    pub(super) from: Option<Address>,
    pub(super) to: Option<Address>,
    pub(super) logs: Vec<Log>,
}

#[derive(PartialEq, Deserialize)]
pub(super) struct Block {
    pub(super) hash: B256,
    number: U64,
    pub(super) timestamp: U64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FeeHistory {
    base_fee_per_gas: Vec<U256>,
}

/// The state of a payment that was sent.
enum Look {
    Final(Outcome),
    /// Something may come of it yet.
    Open,
    /// Nothing comes of what was sent here, and it is not for this ledger to say more: the payer's
    /// authorization is good and public, and somebody may use it, or somebody has.
    Spoilt,
}

/// A transaction that is signed and not sent.
pub(crate) struct Prepared {
    /// The place of who sends it.
    sender: usize,
    next: OwnedMutexGuard<u64>,
    draft: Draft,
    pub(crate) sealed: Sealed,
    /// The payment that the transaction settles, and its money; `None` for a transfer of the
    /// sender's own.
    payment: Option<(Authorized, Reserved)>,
}

fn read<T: DeserializeOwned>(answer: &RawValue) -> Option<T> {
    serde_json::from_str(answer.get()).ok()
}

fn number(answer: &RawValue) -> Option<u64> {
    read::<U64>(answer).map(|number| number.to())
}

fn wei(answer: &RawValue) -> Option<u128> {
    read::<U256>(answer).and_then(|wei| u128::try_from(wei).ok())
}

/// `0x` and 64 digits.
pub(super) fn id(hash: B256) -> Transaction {
    Transaction::try_from(&*format!("0x{}", hex::encode(hash))).unwrap_or_default()
}

fn refusal(error: RpcError) -> CallError {
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
    let text = data.and_then(|data| token::revert_text(&data));
    CallError::Reverted(format!("{message} {}", text.unwrap_or_default()))
}

/// A node's reason not to take a transaction.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It has it already.
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

impl<K> Chain<K> {
    pub(crate) fn new(settings: EvmChain, keys: Vec<K>) -> Self {
        let senders = keys.into_iter().map(Sender::new).collect();
        let chain_id = settings.chain_id;
        let is_right = move |answer: &RawValue| number(answer) == Some(chain_id);
        let own = OwnNodes::new(settings.nodes.clone(), "eth_chainId", is_right);
        let guard = Arc::new(Guard::new(settings.code_at_once));
        let (turn, pace) = Default::default();
        Self { settings, own, senders, turn, guard, pace }
    }

    /// Asks until one node answers with something that can be read.
    async fn ask<T>(
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

    /// The answer on which as many nodes agree as a verdict takes.
    async fn agreed<T: PartialEq>(
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

    /// Whether there are enough nodes that have shown that they are of this chain. Each is asked
    /// before it is used, whenever it first answers.
    pub(super) async fn genuine(&self) -> Result<(), NotReady> {
        let chain_id = self.settings.chain_id;
        let nodes = self.own.get().await;
        // A mistake in what was given, not a fault that may pass.
        if self.own.wrong_at_first() {
            return Err(NotReady::WrongChain { chain_id });
        }
        if nodes.count() < self.settings.witnesses.max(1) {
            return Err(NotReady::Unreachable { chain_id });
        }
        Ok(())
    }

    /// The same, at once: also that no node is of another chain.
    pub(super) async fn all_genuine(&self) -> Result<(), NotReady> {
        let chain_id = self.settings.chain_id;
        if !self.own.ask().await {
            tracing::error!(chain_id, "a node is of another chain");
            return Err(NotReady::WrongChain { chain_id });
        }
        self.genuine().await
    }

    fn known_pace(&self) -> MutexGuard<'_, Option<Pace>> {
        // No code panics while it holds the lock.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An account's balance in the chain's own coin, in wei.
    pub(super) async fn balance(&self, account: x402_evm::Address) -> Option<u128> {
        let read = |answer: &RawValue| read::<U256>(answer).map(|wei| wei.saturating_to());
        self.ask("eth_getBalance", &json!([evm(account), "latest"]), read).await
    }

    async fn count(&self, account: x402_evm::Address, block: &str) -> Option<u64> {
        self.ask("eth_getTransactionCount", &json!([evm(account), block]), number).await
    }

    /// The hash of the code at an address, if there is some: with EIP-7702 that of whom it
    /// delegates to.
    async fn code(&self, account: x402_evm::Address) -> Option<Option<B256>> {
        let read = |answer: &RawValue| {
            read::<Bytes>(answer).map(|code| (!code.is_empty()).then(|| keccak256(&code)))
        };
        self.ask("eth_getCode", &json!([evm(account), "latest"]), read).await
    }

    /// Calls a contract without a transaction. A node that cannot read its own answer is at fault.
    async fn call(&self, params: &impl Serialize) -> Result<Bytes, CallError> {
        let answer = self.own.get().await.ask("eth_call", params).await.map_err(refusal)?;
        read(&answer).ok_or(CallError::Fault)
    }

    /// The answer of a contract's function: `None` if it has no such function.
    async fn view<F: SolCall>(
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

impl<K: AsyncSigner<Secp256k1>> Chain<K> {
    pub(super) fn addresses(&self) -> impl Iterator<Item = x402_evm::Address> {
        self.senders.iter().map(|sender| x402_evm::Address(sender.key.public()))
    }

    /// A call as one of the senders would make it. With fees it is simulated as it will be run: code
    /// can tell by them whether somebody pays for it.
    fn as_sender(&self, call: &Call, fees: Option<Fees>) -> serde_json::Value {
        let from = self.addresses().next().map(evm).unwrap_or_default();
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

    /// The newest block's time and how long blocks take; `None` if nodes do not say.
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

    /// Whether a payment is valid for long enough to be mined.
    fn is_in_time(payment: &Authorized, pace: &Pace) -> bool {
        let least = pace.seconds.saturating_mul(BLOCKS_LEFT);
        payment.authorization.valid_before > Amount::from(pace.time.saturating_add(least))
    }

    /// Refuses what must not cost gas: payers with code unless they are taken, and who made
    /// transactions fail.
    fn admit(&self, payment: &Authorized, code: Option<B256>) -> Result<(), Reason> {
        if code.is_some() && !self.settings.smart_wallets {
            return Err(Reason::InvalidExactEvmSignature);
        }
        let payer = payment.authorization.from;
        match self.guard.holds(payer, code, self.settings.max_gas_lost) {
            None => Ok(()),
            Some(hold) => Err(self.held(payer, hold)),
        }
    }

    fn held(&self, payer: x402_evm::Address, hold: Hold) -> Reason {
        let chain_id = self.settings.chain_id;
        tracing::warn!(chain_id, %payer, ?hold, "no transaction is sent for this payer now");
        Reason::Busy
    }

    /// Checks a payment against the newest block: in the official facilitator's order, and with its
    /// codes. Balance and nonce are looked at even if the simulation goes through: a contract that
    /// takes any call is no token.
    pub(super) async fn check(&self, payment: &Authorized) -> Result<(), Reason> {
        const FAULT: Reason = Reason::UnexpectedVerifyError;
        let Authorized { token, authorization, .. } = payment;
        let from = authorization.from;
        self.genuine().await.map_err(|_| FAULT)?;
        let (contract, code, used, balance, pace) = tokio::join!(
            self.code(*token),
            self.code(from),
            self.view(*token, used(payment)),
            self.view(*token, balanceOfCall { account: evm(from) }),
            self.pace(),
        );
        let ((contract, code), pace) = contract.zip(code).zip(pace).ok_or(FAULT)?;
        if contract.is_none() {
            return Err(Reason::AssetNotDeployedContract);
        }
        self.admit(payment, code)?;
        let has_code = code.is_some();
        let proof = Proof::new(payment, has_code, &self.settings.factories)?;
        let good = self.is_good(payment, &proof).await?;
        if !good && has_code {
            return Err(Reason::InvalidExactEvmSignature);
        }
        // Not if nothing is made at the payer's address: whatever a token says to the signature then,
        // the factory's call would be for nothing.
        let call = Call::transfer(payment, proof);
        let fees = if has_code { Some(self.fees().await?) } else { None };
        let went_through = good && self.simulate(call, fees).await?.is_some();
        match used.map_err(|_| FAULT)? {
            None => return Err(Reason::InvalidExactEvmEip3009NotSupported),
            Some(true) => return Err(Reason::InvalidExactEvmNonceAlreadyUsed),
            Some(false) => {}
        }
        if !went_through {
            self.check_names(payment).await?;
        }
        let value = U256::from_be_bytes(authorization.value.to_be_bytes());
        let balance = balance.map_err(|_| FAULT)?;
        if balance.is_some_and(|balance| balance < value) {
            return Err(Reason::InvalidExactEvmInsufficientBalance);
        }
        if !went_through {
            return Err(Reason::InvalidExactEvmTransactionSimulationFailed);
        }
        // Not by the clock here: the token goes by the block's time.
        if !Self::is_in_time(payment, &pace) {
            return Err(Reason::InvalidExactEvmPayloadAuthorizationValidBefore);
        }
        let others = self.guard.in_flight(payment, pace.time);
        if balance.is_some_and(|balance| balance < others.saturating_add(value)) {
            return Err(self.held(from, Hold::Balance));
        }
        Ok(())
    }

    /// Proves a signature that no key of the payer's made.
    ///
    /// # Errors
    /// Those of [`Proof::new`]; [`Reason::UnexpectedVerifyError`] without an answer.
    pub(super) async fn prove(&self, payment: &Authorized) -> Result<(), Reason> {
        const FAULT: Reason = Reason::UnexpectedVerifyError;
        self.genuine().await.map_err(|_| FAULT)?;
        let code = self.code(payment.authorization.from).await.ok_or(FAULT)?;
        self.admit(payment, code)?;
        let proof = Proof::new(payment, code.is_some(), &self.settings.factories)?;
        if self.is_good(payment, &proof).await? {
            Ok(())
        } else {
            Err(Reason::InvalidExactEvmSignature)
        }
    }

    /// The answer of a call; `None` if it is not taken.
    async fn simulate(&self, call: Call, fees: Option<Fees>) -> Result<Option<Bytes>, Reason> {
        match self.call(&json!([self.as_sender(&call, fees), "latest"])).await {
            Ok(answer) => Ok(call.answer(answer)),
            Err(CallError::Reverted(_)) => Ok(None),
            Err(CallError::Fault) => Err(Reason::UnexpectedVerifyError),
        }
    }

    /// Whether a signature is good, of which the contract at the payer's address alone says so: the
    /// one that is there, or that would be made.
    async fn is_good(&self, payment: &Authorized, proof: &Proof) -> Result<bool, Reason> {
        const FAULT: Reason = Reason::UnexpectedVerifyError;
        if matches!(proof, Proof::Key(..)) {
            return Ok(true); // The gate has seen to it.
        }
        let separator = match assets::find(self.settings.chain_id, payment.token) {
            Some(known) => Some(known.domain_separator),
            None => {
                let own = self.view(payment.token, DOMAIN_SEPARATORCall {}).await;
                own.map_err(|_| FAULT)?.map(|separator| separator.0)
            }
        };
        let Some(separator) = separator else { return Ok(false) };
        let digest = eip712::transfer_digest(&separator, &payment.authorization);
        let call = Call::judgement(evm(payment.authorization.from), digest, proof);
        let Some(call) = call else { return Ok(true) };
        let fees = Some(self.fees().await?);
        let answer = self.simulate(call, fees).await?;
        Ok(answer.is_some_and(|answer| token::is_valid_signature(&answer)))
    }

    /// Whether the token goes by the name and version the payment was signed for, as far as it says.
    ///
    /// A known token was compared with its table before. Of another one the signature tells: it is
    /// the payer's under the token's own name and version, or else those are others.
    async fn check_names(&self, payment: &Authorized) -> Result<(), Reason> {
        const FAULT: Reason = Reason::UnexpectedVerifyError;
        let (name, version) = tokio::join!(
            self.view(payment.token, nameCall {}),
            self.view(payment.token, versionCall {})
        );
        let (name, version) = (name.map_err(|_| FAULT)?, version.map_err(|_| FAULT)?);
        let name_mismatch = Err(Reason::InvalidExactEvmTokenNameMismatch);
        let version_mismatch = Err(Reason::InvalidExactEvmTokenVersionMismatch);
        if let Some(known) = assets::find(self.settings.chain_id, payment.token) {
            return match (name, version) {
                (Some(name), _) if name != known.name => name_mismatch,
                (_, Some(version)) if version != known.version => version_mismatch,
                _ => Ok(()),
            };
        }
        let signature = RecoverableSignature::from_bytes(&payment.signature);
        let signature = signature.ok().filter(|_| payment.by_key);
        let Some(((name, version), signature)) = name.zip(version).zip(signature) else {
            return Ok(());
        };
        let signed = |version: &str| {
            let (chain_id, token) = (self.settings.chain_id, payment.token);
            let separator = eip712::domain_separator(&name, version, chain_id, token);
            let digest = eip712::transfer_digest(&separator, &payment.authorization);
            Recovery.recover(&digest, &signature) == Some(payment.authorization.from.0)
        };
        if signed(&version) {
            Ok(())
        } else if ["1", "2"].into_iter().any(signed) {
            version_mismatch
        } else {
            name_mismatch
        }
    }

    /// The price of gas now.
    ///
    /// Above the caps there is no transaction: one that offers less than is asked for waits, and
    /// everything after it does.
    ///
    /// # Errors
    /// [`Reason::Busy`] above the caps, [`Reason::UnexpectedSettleError`] without an answer.
    pub(super) async fn fees(&self) -> Result<Fees, Reason> {
        self.fees_by(|quotes, _| quotes.get(quotes.len().saturating_sub(1) / 2).copied()).await
    }

    /// The price of gas if it must not wait for longer: the most that a node names within the cap. The
    /// one that named too little must not name what takes its place.
    ///
    /// # Errors
    /// As [`fees`](Self::fees).
    async fn fees_to_replace(&self) -> Result<Fees, Reason> {
        self.fees_by(|quotes, cap| {
            let within = quotes.iter().rev().find(|quote| **quote <= cap);
            within.or(quotes.first()).copied()
        })
        .await
    }

    async fn fees_by(&self, pick: impl Fn(&[u128], u128) -> Option<u128>) -> Result<Fees, Reason> {
        const FAULT: Reason = Reason::UnexpectedSettleError;
        let EvmChain { chain_id, max_fee_per_gas: cap, max_priority_fee_per_gas, .. } =
            self.settings;
        if self.settings.legacy {
            let price = self.quote("eth_gasPrice", cap, pick).await.ok_or(FAULT)?;
            if price > cap {
                tracing::warn!(chain_id, price, cap, "gas costs more than allowed");
                return Err(Reason::Busy);
            }
            return Ok(Fees { per_gas: price, priority: 0 });
        }
        let base = |answer: &RawValue| {
            let history: FeeHistory = read(answer)?;
            u128::try_from(*history.base_fee_per_gas.last()?).ok()
        };
        let history = json!(["0x1", "latest", []]);
        let (base, priority) = tokio::join!(
            self.ask("eth_feeHistory", &history, base),
            self.quote("eth_maxPriorityFeePerGas", max_priority_fee_per_gas, pick),
        );
        let (base, priority) = base.zip(priority).ok_or(FAULT)?;
        // A block's base fee is at most an eighth above that of the one before.
        let next = base.saturating_add(base / 8).saturating_add(priority);
        if priority > max_priority_fee_per_gas || next > cap {
            tracing::warn!(chain_id, base, priority, cap, "gas costs more than allowed");
            return Err(Reason::Busy);
        }
        let per_gas = base.saturating_mul(2).saturating_add(priority).min(cap);
        Ok(Fees { per_gas, priority })
    }

    /// One of the prices that the nodes name, in wei, lowest first: no single one of them sets
    /// everybody's price, and none that takes long holds up the others.
    async fn quote(
        &self,
        method: &str,
        cap: u128,
        pick: impl Fn(&[u128], u128) -> Option<u128>,
    ) -> Option<u128> {
        let no_params: [(); 0] = [];
        let answers = self.own.get().await.ask_all(QUOTED, method, &no_params).await;
        let mut quotes: Vec<_> = answers.iter().filter_map(|answer| wei(answer)).collect();
        if quotes.is_empty() {
            // In case that it passes.
            return self.ask(method, &no_params, wei).await;
        }
        quotes.sort_unstable();
        pick(&quotes, cap)
    }

    /// Whether gas costs no more than the payment is worth, where the coin's price is known.
    fn is_worth(&self, payment: &Authorized, gas: u64, fees: Fees) -> bool {
        let Some(price) = self.settings.coin_price else { return true };
        let token = assets::find(self.settings.chain_id, payment.token);
        let Some(token) = token else { return true };
        // In millionths of a cent; 18 decimals of the coin.
        let coin = price
            .to_units(MONEY_DECIMALS)
            .ok()
            .map(|units| U256::from_be_bytes(units.to_be_bytes()));
        let cost = U256::from(gas).saturating_mul(U256::from(fees.likely()));
        let cost = coin.map(|coin| cost.saturating_mul(coin) / U256::from(COIN));
        let worth = U256::from_be_bytes(payment.authorization.value.to_be_bytes());
        let scale = |decimals: u8| U256::from(10u64).pow(U256::from(decimals));
        let worth = worth.saturating_mul(scale(MONEY_DECIMALS)) / scale(token.decimals);
        cost.is_some_and(|cost| cost <= worth)
    }

    /// The gas a call takes, with a quarter more for what changes until it is mined.
    async fn gas(&self, call: &Call, fees: Option<Fees>) -> Result<u64, Reason> {
        let cap = self.settings.gas_limit;
        let asked = [self.as_sender(call, fees)];
        let answer = self.own.get().await.ask("eth_estimateGas", &asked).await;
        let gas = match answer.map_err(refusal) {
            Ok(answer) => number(&answer).ok_or(Reason::UnexpectedSettleError)?,
            Err(CallError::Reverted(text)) => {
                let otherwise = Reason::InvalidExactEvmTransactionFailed;
                return Err(token::reason_of(&text).unwrap_or(otherwise));
            }
            Err(CallError::Fault) => return Err(Reason::UnexpectedSettleError),
        };
        if gas > cap {
            return Err(Reason::InvalidExactEvmTransactionSimulationFailed);
        }
        Ok(gas.saturating_add(gas / 4).min(cap))
    }

    /// An account that nobody sends from at the moment, and its nonce.
    async fn turn(&self) -> Option<(usize, &Sender<K>, OwnedMutexGuard<u64>)> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let places = (0..self.senders.len()).map(|i| first.wrapping_add(i) % self.senders.len());
        let mut senders = places.filter_map(|place| Some((place, self.senders.get(place)?)));
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
        let (account, payer) = (evm(payment.authorization.from), payment.authorization.from);
        let (code, pace, fees) = tokio::join!(self.code(payer), self.pace(), self.fees());
        let ((code, pace), fees) = (code.zip(pace).ok_or(FAULT)?, fees?);
        self.admit(payment, code)?;
        if !Self::is_in_time(payment, &pace) {
            *self.known_pace() = None;
            let pace = self.pace().await.ok_or(FAULT)?;
            if !Self::is_in_time(payment, &pace) {
                return Err(Reason::InvalidExactEvmPayloadAuthorizationValidBefore);
            }
        }
        let proof = Proof::new(payment, code.is_some(), &self.settings.factories)?;
        let call = Call::transfer(payment, proof);
        let (balance, gas_limit) = tokio::join!(
            self.view(payment.token, balanceOfCall { account }),
            self.gas(&call, Some(fees)),
        );
        let gas_limit = gas_limit?;
        if !self.is_worth(payment, gas_limit, fees) {
            let chain_id = self.settings.chain_id;
            tracing::warn!(chain_id, gas_limit, "gas costs more than the payment is worth");
            return Err(Reason::Busy);
        }
        // It was looked at before; gas is estimated by it once more.
        let balance = balance.ok().flatten().unwrap_or(U256::MAX);
        let reserved = self.guard.reserve(payment, balance, code, pace.time);
        let reserved = reserved.map_err(|hold| self.held(payer, hold))?;
        self.sign(call, gas_limit, fees, Some((payment.clone(), reserved))).await
    }

    /// Signs the transaction of a call.
    pub(super) async fn prepare_call(&self, call: Call) -> Result<Prepared, Reason> {
        let (gas_limit, fees) = tokio::join!(self.gas(&call, None), self.fees());
        self.sign(call, gas_limit?, fees?, None).await
    }

    /// Chooses an account and its nonce, and signs. Payments wait for a place among those of the
    /// account that are not mined.
    async fn sign(
        &self,
        call: Call,
        gas_limit: u64,
        fees: Fees,
        payment: Option<(Authorized, Reserved)>,
    ) -> Result<Prepared, Reason> {
        const FAULT: Reason = Reason::UnexpectedSettleError;
        let chain_id = self.settings.chain_id;
        let queued = Instant::now();
        let (place, sender, next, known, balance, unmined) = loop {
            let Some((place, sender, next)) = self.turn().await else {
                tracing::warn!(chain_id, "every sender signs for others: too many payments wait");
                return Err(Reason::Busy);
            };
            let account = x402_evm::Address(sender.key.public());
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
            // In case that nobody waits for them any more.
            drop(next);
            timeout(TURN, self.push()).await.ok();
            if queued.elapsed() >= self.settings.confirm_time / 2 {
                tracing::warn!(chain_id, sender = %account, unmined, "too many transactions wait");
                return Err(Reason::Busy);
            }
            sleep(self.settings.poll_interval).await;
        };
        let account = x402_evm::Address(sender.key.public());
        // What waits is paid from it too, and what some chains charge for data comes on top.
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

    /// Sends a transaction to every node. If its nonce turns out to be taken, another one is signed
    /// and sent: of both, the authorization lets one move money. Which one that was, its log tells.
    /// A transfer of the sender's own has no such guard, and is sent as it is.
    ///
    /// Others choose their nonces meanwhile: a node that takes long holds up nobody else.
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
            let account = x402_evm::Address(sender.key.public());
            // Not if it was this very transaction that took the nonce.
            let (known, used) =
                tokio::join!(self.is_known(sealed.hash), self.view(payment.token, used(payment)),);
            let (Some(false), Ok(Some(false))) = (known, used) else { return };
            let Ok(locked) = timeout(TURN, sender.next.clone().lock_owned()).await else { return };
            next = locked;
            let Some(count) = self.count(account, "pending").await else { return };
            draft.nonce = count.max(*next).max(draft.nonce.saturating_add(1));
            let Ok(anew) = draft.seal(&sender.key).await else { return };
            sealed = anew;
        }
    }

    /// Whether nodes know of a transaction.
    async fn is_known(&self, hash: B256) -> Option<bool> {
        let known = |known: &RawValue| Some(known.get() != "null");
        self.ask("eth_getTransactionByHash", &json!([hash]), known).await
    }

    /// Takes up a payment whose transaction was written down. What the nodes have is left to them;
    /// what they do not have is sent again, and if its nonce is taken, in another transaction.
    pub(super) async fn recover(&self, payment: &Authorized, hash: Option<B256>, raw: &[u8]) {
        let read = Sealed::read(raw).filter(|(_, draft, sealed)| {
            draft.chain_id == self.settings.chain_id && hash.is_none_or(|it| it == sealed.hash)
        });
        let Some((from, mut draft, sealed)) = read else { return };
        draft.of = Some(payment.key());
        if self.genuine().await.is_err() {
            return;
        }
        let own = self.senders.iter().find(|sender| sender.key.public() == from.0);
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
            // It is looked after like those that were sent from here.
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

    /// Sends a payment in another transaction, unless it was used. Of both one moves its money.
    async fn send_anew(&self, payment: &Authorized) {
        match self.view(payment.token, used(payment)).await {
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

    /// Frees accounts that are stuck behind a transaction which nobody here knows of: one of an
    /// earlier life, that offers too little. A transfer of nothing to oneself takes its place.
    pub(super) async fn unwedge(&self) {
        let EvmChain { chain_id, replace_after, legacy, .. } = self.settings;
        if replace_after == Duration::MAX || self.genuine().await.is_err() {
            return;
        }
        for sender in &self.senders {
            let account = x402_evm::Address(sender.key.public());
            let (mined, known) =
                tokio::join!(self.count(account, "latest"), self.count(account, "pending"));
            let (Some(mined), Some(known)) = (mined, known) else { continue };
            let Some(times) = sender.wedged(mined, known, replace_after) else { continue };
            let Ok(fees) = self.fees_to_replace().await else { continue };
            // More each time: how much the other one offers is not known.
            let mut fees = (0..times).fold(fees, |fees, _| fees.to_replace());
            fees.per_gas = fees.per_gas.min(self.settings.max_fee_per_gas);
            fees.priority = fees.priority.min(self.settings.max_priority_fee_per_gas);
            let call = Call::to(evm(account), Vec::new());
            let gas_limit = PLAIN_TRANSFER_GAS;
            let (nonce, of) = (mined, None);
            let draft = Draft { chain_id, legacy, nonce, gas_limit, fees, call, of };
            let Ok(sealed) = draft.seal(&sender.key).await else { continue };
            let transaction = id(sealed.hash);
            let told = self.tell(&sealed).await;
            let taken = told.is_ok();
            tracing::warn!(chain_id, sender = %account, nonce = mined, %transaction, taken,
                "an unknown transaction holds up the account: it is replaced by nothing");
            if taken {
                sender.take_up(&draft, &sealed).await;
            }
        }
    }

    /// Tells the nodes again what waits to be mined, and has the first of it pay more if it has
    /// waited for long.
    pub(super) async fn push(&self) {
        for sender in &self.senders {
            let EvmChain { chain_id, resend_after, replace_after, .. } = self.settings;
            if !sender.is_due(resend_after) {
                continue;
            }
            let account = x402_evm::Address(sender.key.public());
            let Some(mined) = self.count(account, "latest").await else { continue };
            let mut telling = JoinSet::new();
            for sealed in sender.due(mined, resend_after) {
                let nodes = self.own.get().await;
                // What comes of it shows when it is mined.
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
        let mut reason = Reason::InvalidExactEvmPayloadAuthorizationValidBefore;
        let mut spoilt = false;
        if let Some(receipt) = self.own_receipt(payment, hash).await? {
            // The payer's balance tells from now on.
            self.guard.landed(payment);
            if !self.is_deep(&receipt, deep).await? {
                return Some(Look::Open);
            }
            let succeeded = receipt.status.to::<u64>() == 1;
            if succeeded && payment.moved_in_own(&receipt.logs) {
                return Some(Look::Final(Outcome::Settled(id(receipt.transaction_hash))));
            }
            spoilt = true;
            reason = if succeeded {
                Reason::InvalidExactEvmTransferEventMismatch
            } else {
                Reason::InvalidExactEvmTransactionFailed
            };
        }
        if !self.is_spent(payment, deep).await? {
            // Blocks only get later: what is too late for this one is too late for all after it.
            let expired = match deeper {
                Some(deeper) => {
                    let time = Amount::from(self.block(deeper).await?.timestamp.to::<u64>());
                    payment.authorization.valid_before <= time
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
            let Some(receipt) = receipt.filter(|receipt| receipt.status.to::<u64>() == 1) else {
                continue;
            };
            if !self.is_deep(&receipt, deep).await? {
                continue;
            }
            match payment.movement(&receipt.logs) {
                Movement::Moved if self.settings.by_strangers || self.is_own(&receipt) => {
                    return Some(Look::Final(Outcome::Settled(id(user))));
                }
                Movement::Moved => {
                    let (chain_id, transaction) = (self.settings.chain_id, id(user));
                    tracing::warn!(chain_id, %transaction, "payment settled by a stranger");
                    return Some(Look::Spoilt);
                }
                Movement::Spent => {
                    let sure =
                        deeper.is_some_and(|deeper| receipt.block_number.to::<u64>() <= deeper);
                    let reason = match hash == Some(user) {
                        true => reason,
                        false => Reason::InvalidExactEvmNonceAlreadyUsed,
                    };
                    return Some(match sure {
                        true => Look::Final(Outcome::Failed(reason)),
                        false => Look::Open,
                    });
                }
                Movement::Unclear => {}
            }
        }
        Some(Look::Open)
    }

    /// The receipt of the transaction that was written down for a payment, or of another one that was
    /// sent for it: one that moved the money rather than one that failed. Each that failed is noted.
    async fn own_receipt(
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
            if found.as_ref().is_none_or(|found| found.status.to::<u64>() != 1) {
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
        let payer = payment.authorization.from;
        let failed = receipt.status.to::<u64>() != 1;
        if !failed && payment.by_key && !self.settings.smart_wallets {
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

    /// The number of the newest block that every witness has.
    pub(super) async fn head(&self) -> Option<u64> {
        let no_params: [(); 0] = [];
        let witnesses = self.settings.witnesses;
        if witnesses <= 1 {
            return self.ask("eth_blockNumber", &no_params, number).await;
        }
        let answers = self.own.get().await.ask_each(witnesses, "eth_blockNumber", &no_params).await;
        if answers.len() < witnesses {
            return None;
        }
        let heads = answers.iter().map(|answer| number(answer.as_ref().ok()?));
        heads.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// The receipt of a transaction, if it is in a block.
    pub(super) async fn receipt(&self, hash: Option<B256>) -> Option<Option<Receipt>> {
        let Some(hash) = hash else { return Some(None) };
        let receipt = |answer: &RawValue| read::<Option<Receipt>>(answer);
        let receipt = self.agreed("eth_getTransactionReceipt", &[hash], receipt).await?;
        let own = receipt.as_ref().is_none_or(|receipt| receipt.transaction_hash == hash);
        own.then_some(receipt)
    }

    /// The block at a height.
    pub(super) async fn block(&self, at: u64) -> Option<Block> {
        let block: Block =
            self.agreed("eth_getBlockByNumber", &json!([U64::from(at), false]), read).await?;
        (block.number.to::<u64>() == at).then_some(block)
    }

    /// Whether a receipt's block is no newer than `deep`, and the one at its height.
    async fn is_deep(&self, receipt: &Receipt, deep: u64) -> Option<bool> {
        let at = receipt.block_number.to();
        Some(at <= deep && self.block(at).await?.hash == receipt.block_hash)
    }

    /// Whether the payment's authorization was used or cancelled, as of the block `at`.
    async fn is_spent(&self, payment: &Authorized, at: u64) -> Option<bool> {
        let data = Bytes::from(used(payment).abi_encode());
        let params = json!([{ "to": evm(payment.token), "data": data }, U64::from(at)]);
        let state = |answer: &RawValue| {
            let answer: Bytes = read(answer)?;
            authorizationStateCall::abi_decode_returns_validate(&answer).ok()
        };
        self.agreed("eth_call", &params, state).await
    }

    /// The transactions that used or cancelled the payment's authorization, up to the block `deep`.
    async fn users(&self, payment: &Authorized, deep: u64) -> Option<Vec<B256>> {
        let filter = json!([{
            "address": evm(payment.token),
            "topics": token::spent_topics(&payment.authorization),
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

async fn tell(nodes: &Nodes, sealed: &Sealed) -> Result<Box<RawValue>, RpcError> {
    let raw = format!("0x{}", hex::encode(&sealed.raw));
    nodes.tell("eth_sendRawTransaction", &[raw]).await
}

fn used(payment: &Authorized) -> authorizationStateCall {
    let authorizer: Address = evm(payment.authorization.from);
    authorizationStateCall { authorizer, nonce: B256::new(payment.authorization.nonce) }
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
