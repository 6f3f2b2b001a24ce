//! Settlement on EVM chains, over nodes that err and lie.
#![cfg(feature = "evm-ledger")]
#![allow(unreachable_pub)] // what `sol!` makes

#[path = "common/durable.rs"]
mod durable;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_consensus::transaction::RlpEcdsaEncodableTx;
use alloy_consensus::{SignableTransaction, Signed, TxEip1559, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, Signature, U256, address, keccak256};
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use durable::Durable;
use serde_json::{Value, json};
use x402_core::claim::ClaimState;
use x402_core::crypto::secp256k1::{K256, LocalKey};
use x402_core::crypto::{Recover, RecoverableSignature, Signer};
use x402_core::gate::{self, Verified};
use x402_core::{Amount, Money, Payment as _, Reason};
use x402_evm::{Eip3009Unsigned, PAYLOAD_BYTES, assets, eip712};
use x402_std::core::claim::Transaction;
use x402_std::facilitator::ledger::{
    EvmChain, EvmLedger, Ledger, Networks as _, NotReady, Outcome,
};
use x402_std::facilitator::{Facilitator, LocalFacilitator, settlement_id};
use x402_std::message::{PaymentRequirements, VerifyRequest};
use x402_std::rpc::Nodes;
use x402_std::scheme::{EvmPayment, ExactOnEvm};
use x402_std::store::MemoryStore;

const CHAIN_ID: u64 = 84532;
const NOW: u64 = 1_800_000_000;
const VALUE: u64 = 10_000;
const GWEI: u128 = 1_000_000_000;
const GAS: u64 = 90_000;

alloy_sol_types::sol! {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
    event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

    function name() external view returns (string);
    function version() external view returns (string);
    function DOMAIN_SEPARATOR() external view returns (bytes32);
    function balanceOf(address account) external view returns (uint256);
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
    function isValidSignature(bytes32 digest, bytes signature) external view returns (bytes4);

    function transferWithAuthorization(
        address from, address to, uint256 value, uint256 validAfter, uint256 validBefore,
        bytes32 nonce, uint8 v, bytes32 r, bytes32 s
    ) external;
    function transferWithAuthorization(
        address from, address to, uint256 value, uint256 validAfter, uint256 validBefore,
        bytes32 nonce, bytes signature
    ) external;

    struct Call3 {
        address target;
        bool allowFailure;
        bytes callData;
    }
    struct Result3 {
        bool success;
        bytes returnData;
    }
    function aggregate3(Call3[] calls) external payable returns (Result3[]);
}

const MULTICALL3: Address = address!("0xcA11bde05977b3631167028862bE2a173976CA11");

/// Makes accounts that like every signature.
const FACTORY: Address = Address::repeat_byte(0xfa);

fn token() -> Address {
    Address::new(assets::default_of(CHAIN_ID).unwrap().address.0)
}

fn key(n: u8) -> LocalKey {
    LocalKey::from_bytes(&[n; 32]).unwrap()
}

fn address(key: &LocalKey) -> Address {
    Address::new(Signer::public_key(key))
}

fn payer() -> LocalKey {
    key(7)
}

fn sender() -> LocalKey {
    key(9)
}

fn seller() -> Address {
    Address::repeat_byte(0x5e)
}

// ---- the chain

/// What a transaction does.
#[derive(Clone, Debug)]
enum Does {
    Transfer {
        from: Address,
        to: Address,
        value: U256,
        after: U256,
        before: U256,
        nonce: B256,
    },
    Cancel {
        from: Address,
        nonce: B256,
    },
    /// Uses an authorization for something that logs this.
    Use {
        from: Address,
        nonce: B256,
        logs: Vec<Value>,
    },
    Nothing,
}

#[derive(Clone, Debug)]
struct Tx {
    hash: B256,
    from: Address,
    nonce: u64,
    per_gas: u128,
    does: Does,
}

/// The state after a block.
#[derive(Clone, Default)]
struct Snapshot {
    hash: B256,
    time: u64,
    nonces: HashMap<Address, u64>,
    tokens: HashMap<Address, U256>,
    spent: HashSet<(Address, B256)>,
    receipts: HashMap<B256, Value>,
}

struct World {
    chain_id: u64,
    blocks: Vec<Snapshot>,
    pool: BTreeMap<(Address, u64), Tx>,
    coins: U256,
    base_fee: u128,
    priority: u128,
    /// Mines whatever comes in at once.
    auto: bool,
    salt: u64,
    token_code: bool,
    domain: (String, String),
    /// Contracts at payers' addresses, and whether they like signatures.
    accounts: HashMap<Address, bool>,
    eip3009: bool,
    /// Every transaction that was sent, as read.
    sent: Vec<Tx>,
    legacy_seen: usize,
    multicall: bool,
    /// The one signature that contracts like which like signatures, if not any.
    only: Option<Vec<u8>>,
}

fn word(address: Address) -> B256 {
    address.into_word()
}

fn log(contract: Address, topics: &[B256], data: Vec<u8>) -> Value {
    json!({ "address": contract, "topics": topics, "data": Bytes::from(data), "removed": false })
}

fn transfer_log(contract: Address, from: Address, to: Address, value: u64) -> Value {
    let topics = [Transfer::SIGNATURE_HASH, word(from), word(to)];
    log(contract, &topics, U256::from(value).to_be_bytes_vec())
}

fn used_log(from: Address, nonce: B256) -> Value {
    log(token(), &[AuthorizationUsed::SIGNATURE_HASH, word(from), nonce], vec![])
}

impl World {
    fn new() -> Self {
        let known = assets::default_of(CHAIN_ID).unwrap();
        let genesis = Snapshot {
            hash: keccak256("genesis"),
            time: NOW,
            tokens: [(address(&payer()), U256::from(10 * VALUE))].into(),
            ..Snapshot::default()
        };
        let mut world = Self {
            chain_id: CHAIN_ID,
            blocks: vec![genesis],
            pool: BTreeMap::new(),
            coins: U256::from(GWEI).pow(U256::from(2)),
            base_fee: GWEI,
            priority: GWEI / 100,
            auto: true,
            salt: 0,
            token_code: true,
            domain: (known.name.into(), known.version.into()),
            accounts: HashMap::new(),
            eip3009: true,
            sent: Vec::new(),
            legacy_seen: 0,
            multicall: true,
            only: None,
        };
        for _ in 0..10 {
            world.mine(1);
        }
        world
    }

    fn now(&self) -> &Snapshot {
        self.blocks.last().unwrap()
    }

    fn nonce(&self, account: Address) -> u64 {
        self.now().nonces.get(&account).copied().unwrap_or(0)
    }

    /// With what waits in the pool without a gap.
    fn pending(&self, account: Address) -> u64 {
        (self.nonce(account)..).find(|n| !self.pool.contains_key(&(account, *n))).unwrap()
    }

    fn balance(&self, account: Address) -> u64 {
        self.now().tokens.get(&account).copied().unwrap_or_default().to()
    }

    /// Makes a block of what is in the pool, `later` seconds after the last one.
    fn mine(&mut self, later: u64) {
        let mut next = self.now().clone();
        self.salt += 1;
        let number = self.blocks.len() as u64;
        next.hash = keccak256((number, self.salt).abi_encode());
        next.time += later;
        let accounts: HashSet<_> = self.pool.keys().map(|(account, _)| *account).collect();
        for account in accounts {
            loop {
                let nonce = next.nonces.get(&account).copied().unwrap_or(0);
                let affordable = |tx: &&Tx| tx.per_gas >= self.base_fee;
                if self.pool.get(&(account, nonce)).filter(affordable).is_none() {
                    break;
                }
                let tx = self.pool.remove(&(account, nonce)).unwrap();
                next.nonces.insert(account, nonce + 1);
                let logs = run(&mut next, &tx.does);
                let status = if logs.is_some() { "0x1" } else { "0x0" };
                let mut logs = logs.unwrap_or_default();
                for (index, log) in logs.iter_mut().enumerate() {
                    log["transactionHash"] = json!(tx.hash);
                    log["logIndex"] = json!(format!("{index:#x}"));
                }
                let receipt = json!({
                    "transactionHash": tx.hash,
                    "from": tx.from,
                    "blockHash": next.hash,
                    "blockNumber": format!("{number:#x}"),
                    "status": status,
                    "logs": logs,
                    "gasUsed": "0x1",
                    "type": "0x2",
                });
                next.receipts.insert(tx.hash, receipt);
            }
        }
        self.blocks.push(next);
    }

    /// Gives up the last blocks for empty ones. What was in them is gone from the pool too.
    fn reorg(&mut self, blocks: usize) {
        self.blocks.truncate(self.blocks.len() - blocks);
        for _ in 0..blocks {
            self.mine(1);
        }
    }

    /// Somebody else's transaction, in a block of its own.
    fn elsewhere(&mut self, does: Does) -> B256 {
        let from = Address::repeat_byte(0xee);
        let nonce = self.pending(from);
        let hash = keccak256((from, nonce).abi_encode());
        self.pool.insert((from, nonce), Tx { hash, from, nonce, per_gas: u128::MAX, does });
        let own: Vec<_> =
            self.pool.keys().filter(|(account, _)| *account != from).copied().collect();
        let kept: Vec<_> = own.iter().map(|key| (*key, self.pool.remove(key).unwrap())).collect();
        self.mine(1);
        self.pool.extend(kept);
        hash
    }

    fn send(&mut self, raw: &[u8]) -> Result<Value, (i64, String)> {
        let refuse = |why: &str| Err((-32000, why.to_string()));
        let tx = decode(self, raw);
        if !self.sent.iter().any(|sent| sent.hash == tx.hash) {
            self.sent.push(tx.clone());
        }
        if self.now().receipts.contains_key(&tx.hash) {
            return refuse("already known");
        }
        if tx.nonce < self.nonce(tx.from) {
            return refuse("nonce too low");
        }
        match self.pool.get(&(tx.from, tx.nonce)) {
            Some(old) if old.hash == tx.hash => return refuse("already known"),
            Some(old) if tx.per_gas < old.per_gas.saturating_add(old.per_gas / 10) => {
                return refuse("replacement transaction underpriced");
            }
            _ => {}
        }
        let hash = tx.hash;
        self.pool.insert((tx.from, tx.nonce), tx);
        if self.auto {
            self.mine(1);
        }
        Ok(json!(hash))
    }

    fn domain_separator(&self) -> [u8; 32] {
        let (name, version) = &self.domain;
        let token = x402_evm::Address(token().into());
        eip712::domain_separator(name, version, self.chain_id, token)
    }

    /// A call at a block's state.
    fn call(&self, at: &Snapshot, to: Address, data: &[u8]) -> Result<Vec<u8>, String> {
        if self.accounts.contains_key(&to) {
            return Ok(self.judge(to, data, false));
        }
        if to == MULTICALL3 && self.multicall {
            let calls = aggregate3Call::abi_decode(data).unwrap().calls;
            let (data, made) = (&calls[1].callData, makes(&calls[0]));
            let answer = if calls[1].target == address(&payer()) {
                self.judge(calls[1].target, data, made)
            } else {
                self.pay(at, data, made)?
            };
            let done = |data: Vec<u8>| Result3 { success: true, returnData: data.into() };
            return Ok(vec![done(vec![]), done(answer)].abi_encode());
        }
        if to != token() || !self.token_code {
            return Ok(vec![]);
        }
        let selector: [u8; 4] = data[..4].try_into().unwrap();
        match selector {
            nameCall::SELECTOR => Ok(self.domain.0.abi_encode()),
            versionCall::SELECTOR => Ok(self.domain.1.abi_encode()),
            DOMAIN_SEPARATORCall::SELECTOR => Ok(self.domain_separator().to_vec()),
            balanceOfCall::SELECTOR => {
                let account = balanceOfCall::abi_decode(data).unwrap().account;
                Ok(at.tokens.get(&account).copied().unwrap_or_default().abi_encode())
            }
            authorizationStateCall::SELECTOR if self.eip3009 => {
                let call = authorizationStateCall::abi_decode(data).unwrap();
                Ok(at.spent.contains(&(call.authorizer, call.nonce)).abi_encode())
            }
            _ if self.eip3009 => self.pay(at, data, false),
            _ => Err("execution reverted".into()),
        }
    }

    /// Whether the contract at an address, if there is one or it was just `made`, likes a signature.
    fn likes(&self, account: Address, made: bool, signature: &[u8]) -> bool {
        let likes = self.accounts.get(&account).copied().unwrap_or(made);
        likes && self.only.as_ref().is_none_or(|only| only == signature)
    }

    /// What it answers.
    fn judge(&self, account: Address, data: &[u8], made: bool) -> Vec<u8> {
        if !made && !self.accounts.contains_key(&account) {
            return vec![];
        }
        let signature = isValidSignatureCall::abi_decode(data).unwrap().signature;
        let likes = self.likes(account, made, &signature);
        let magic: &[u8] = if likes { &[0x16, 0x26, 0xba, 0x7e] } else { &[0xff; 4] };
        [magic, &[0; 28]].concat()
    }

    /// A payment's call, if its account was just `made` or not.
    fn pay(&self, at: &Snapshot, data: &[u8], made: bool) -> Result<Vec<u8>, String> {
        let does = self.transfer(data, made)?;
        let Does::Transfer { from, value, nonce, after, before, .. } = &does else {
            return Err("execution reverted".into());
        };
        let time = U256::from(at.time);
        if time <= *after {
            return Err("execution reverted: authorization is not yet valid".into());
        }
        if time >= *before {
            return Err("execution reverted: authorization is expired".into());
        }
        if at.spent.contains(&(*from, *nonce)) {
            return Err("execution reverted: authorization is used or canceled".into());
        }
        if at.tokens.get(from).is_none_or(|balance| balance < value) {
            return Err("execution reverted: transfer amount exceeds balance".into());
        }
        Ok(vec![])
    }

    /// Reads a payment's call, and checks its signature as the token does.
    fn transfer(&self, data: &[u8], made: bool) -> Result<Does, String> {
        let invalid = || "execution reverted: invalid signature".to_string();
        if let Ok(c) = transferWithAuthorization_1Call::abi_decode(data) {
            // Of an account without code it takes a key's signature here too.
            let by_key = !self.accounts.contains_key(&c.from) && c.signature.len() == 65;
            if !self.likes(c.from, made, &c.signature) && !by_key {
                return Err(invalid());
            }
            return Ok(Does::Transfer {
                from: c.from,
                to: c.to,
                value: c.value,
                after: c.validAfter,
                before: c.validBefore,
                nonce: c.nonce,
            });
        }
        let c = transferWithAuthorization_0Call::abi_decode(data).map_err(|_| invalid())?;
        if self.accounts.contains_key(&c.from) {
            return Err(invalid());
        }
        let amount = |value: U256| Amount::from_be_bytes(&value.to_be_bytes());
        let authorization = x402_evm::Authorization {
            from: x402_evm::Address(c.from.into()),
            to: x402_evm::Address(c.to.into()),
            value: amount(c.value),
            valid_after: amount(c.validAfter),
            valid_before: amount(c.validBefore),
            nonce: c.nonce.0,
        };
        let digest = eip712::transfer_digest(&self.domain_separator(), &authorization);
        let r_s: [u8; 64] = [c.r.0, c.s.0].concat().try_into().unwrap();
        let signature = RecoverableSignature::from_parts(r_s, c.v == 28).map_err(|_| invalid())?;
        if K256.recover(&digest, &signature) != Some(c.from.into()) {
            return Err(invalid());
        }
        Ok(Does::Transfer {
            from: c.from,
            to: c.to,
            value: c.value,
            after: c.validAfter,
            before: c.validBefore,
            nonce: c.nonce,
        })
    }

    fn at(&self, block: &Value) -> Option<&Snapshot> {
        match block.as_str() {
            Some("latest" | "pending") | None => self.blocks.last(),
            Some(number) => self.blocks.get(quantity(number) as usize),
        }
    }

    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, (i64, String)> {
        let hex = |n: u128| json!(format!("{n:#x}"));
        let parse = |value: &Value| serde_json::from_value::<Bytes>(value.clone()).unwrap();
        let account = || serde_json::from_value::<Address>(params[0].clone()).unwrap();
        Ok(match method {
            "eth_chainId" => hex(self.chain_id.into()),
            "eth_blockNumber" => hex(self.blocks.len() as u128 - 1),
            "eth_gasPrice" => hex(self.base_fee + self.priority),
            "eth_maxPriorityFeePerGas" => hex(self.priority),
            "eth_feeHistory" => {
                json!({ "baseFeePerGas": [hex(self.base_fee), hex(self.base_fee)] })
            }
            "eth_getBalance" => json!(self.coins),
            "eth_getTransactionCount" => match params[1].as_str() {
                Some("pending") => hex(self.pending(account()).into()),
                _ => hex(self.nonce(account()).into()),
            },
            "eth_getCode" => {
                let is_token = account() == token() && self.token_code;
                let code = is_token || self.accounts.contains_key(&account());
                json!(if code { "0xef" } else { "0x" })
            }
            "eth_call" | "eth_estimateGas" => {
                let at = self.at(&params[1]).ok_or((-32000, "header not found".to_string()))?;
                let to = serde_json::from_value(params[0]["to"].clone()).unwrap();
                let answer = self.call(at, to, &parse(&params[0]["data"]));
                let answer = answer.map_err(|why| (3, why))?;
                if method == "eth_call" { json!(Bytes::from(answer)) } else { hex(GAS.into()) }
            }
            "eth_sendRawTransaction" => self.send(&parse(&params[0]))?,
            "eth_getTransactionReceipt" => {
                let hash: B256 = serde_json::from_value(params[0].clone()).unwrap();
                self.now().receipts.get(&hash).cloned().unwrap_or(Value::Null)
            }
            "eth_getTransactionByHash" => {
                let hash: B256 = serde_json::from_value(params[0].clone()).unwrap();
                let pooled = self.pool.values().any(|tx| tx.hash == hash);
                match pooled || self.now().receipts.contains_key(&hash) {
                    true => json!({ "hash": hash }),
                    false => Value::Null,
                }
            }
            "eth_getBlockByNumber" => {
                let number = quantity(params[0].as_str().unwrap());
                match self.blocks.get(number as usize) {
                    Some(block) => json!({
                        "hash": block.hash,
                        "number": params[0],
                        "timestamp": format!("{:#x}", block.time),
                        "transactions": [],
                    }),
                    None => Value::Null,
                }
            }
            "eth_getLogs" => {
                let filter = &params[0];
                let limit = |key: &str| quantity(filter[key].as_str().unwrap());
                let range = limit("fromBlock")..=limit("toBlock");
                let fits = |log: &Value| {
                    log["address"] == filter["address"]
                        && filter["topics"].as_array().unwrap().iter().enumerate().all(
                            |(i, want)| {
                                want.as_array().map_or(*want == log["topics"][i], |any| {
                                    any.contains(&log["topics"][i])
                                })
                            },
                        )
                };
                let receipts = self.now().receipts.values();
                let deep = receipts
                    .filter(|r| range.contains(&quantity(r["blockNumber"].as_str().unwrap())));
                let logs = deep.flat_map(|receipt| receipt["logs"].as_array().unwrap());
                logs.filter(|log| fits(log)).cloned().collect()
            }
            _ => panic!("{method}"),
        })
    }
}

fn quantity(text: &str) -> u64 {
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

/// Runs a transaction; its logs, or `None` if it is reverted.
fn run(state: &mut Snapshot, does: &Does) -> Option<Vec<Value>> {
    let time = U256::from(state.time);
    match does {
        Does::Nothing => Some(vec![]),
        Does::Use { from, nonce, logs } => {
            state.spent.insert((*from, *nonce)).then(|| logs.clone())
        }
        Does::Cancel { from, nonce } => {
            let topics = [AuthorizationCanceled::SIGNATURE_HASH, word(*from), *nonce];
            state.spent.insert((*from, *nonce)).then(|| vec![log(token(), &topics, vec![])])
        }
        Does::Transfer { from, to, value, after, before, nonce } => {
            let balance = state.tokens.get(from).copied().unwrap_or_default();
            if time <= *after
                || time >= *before
                || balance < *value
                || !state.spent.insert((*from, *nonce))
            {
                return None;
            }
            state.tokens.insert(*from, balance - *value);
            *state.tokens.entry(*to).or_default() += *value;
            let transfer = transfer_log(token(), *from, *to, value.to());
            Some(vec![used_log(*from, *nonce), transfer])
        }
    }
}

/// Whether a factory's call makes an account.
fn makes(call: &Call3) -> bool {
    assert!(call.allowFailure);
    call.target == FACTORY && call.callData == b"make"[..]
}

fn decode(world: &mut World, raw: &[u8]) -> Tx {
    fn open<T>(signed: &Signed<T>) -> (B256, Address)
    where
        T: SignableTransaction<Signature> + RlpEcdsaEncodableTx,
    {
        let signature = signed.signature();
        let r_s = [signature.r().to_be_bytes::<32>(), signature.s().to_be_bytes()].concat();
        let r_s = r_s.try_into().unwrap();
        let signature = RecoverableSignature::from_parts(r_s, signature.v()).unwrap();
        let from = K256.recover(&signed.signature_hash().0, &signature).unwrap();
        (*signed.hash(), Address::new(from))
    }
    let (hash, from, nonce, per_gas, gas, chain_id, to, input) = if raw[0] == 2 {
        let signed = Signed::<TxEip1559>::eip2718_decode(&mut &*raw).unwrap();
        let ((hash, from), tx) = (open(&signed), signed.tx());
        assert!(tx.max_priority_fee_per_gas <= tx.max_fee_per_gas);
        let to = *tx.to.to().unwrap();
        let input = tx.input.clone();
        (hash, from, tx.nonce, tx.max_fee_per_gas, tx.gas_limit, Some(tx.chain_id), to, input)
    } else {
        let signed = Signed::<TxLegacy>::rlp_decode(&mut &*raw).unwrap();
        let ((hash, from), tx) = (open(&signed), signed.tx());
        world.legacy_seen += 1;
        let to = *tx.to.to().unwrap();
        (hash, from, tx.nonce, tx.gas_price, tx.gas_limit, tx.chain_id, to, tx.input.clone())
    };
    assert_eq!(hash, keccak256(raw));
    assert_eq!(chain_id, Some(world.chain_id));
    if to == from {
        // Nothing to oneself: it frees a nonce.
        assert_eq!((gas, input.len()), (21_000, 0));
        return Tx { hash, from, nonce, per_gas, does: Does::Nothing };
    }
    assert!((GAS..=300_000).contains(&gas));
    let does = if to == MULTICALL3 {
        let calls = aggregate3Call::abi_decode(&input).unwrap().calls;
        assert_eq!(calls[1].target, token());
        world.transfer(&calls[1].callData, makes(&calls[0]))
    } else {
        assert_eq!(to, token());
        world.transfer(&input, false)
    };
    let does = does.unwrap_or(Does::Nothing);
    Tx { hash, from, nonce, per_gas, does }
}

// ---- its nodes

/// What a node does with a call.
enum Reply {
    /// As an honest node.
    Honest,
    /// After a while.
    Late(u64),
    /// This HTTP status, and nothing is done.
    Status(u16),
    /// It is done, and this HTTP status.
    DoneAndStatus(u16),
    /// This result, and nothing is done.
    Result(Value),
    /// This error, and nothing is done.
    Refuse(i64, &'static str),
}

type Hook = Box<dyn FnMut(&mut World, &str, &Value) -> Reply + Send>;

#[derive(Clone)]
struct Node {
    world: Arc<Mutex<World>>,
    hook: Arc<Mutex<Hook>>,
}

async fn rpc(State(node): State<Node>, Json(call): Json<Value>) -> Response {
    let (method, params) = (call["method"].as_str().unwrap(), &call["params"]);
    let reply = (node.hook.lock().unwrap())(&mut node.world.lock().unwrap(), method, params);
    let honest = || node.world.lock().unwrap().answer(method, params);
    let answer = match reply {
        Reply::Honest => honest(),
        Reply::Late(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            honest()
        }
        Reply::Status(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Reply::DoneAndStatus(status) => {
            honest().ok();
            return StatusCode::from_u16(status).unwrap().into_response();
        }
        Reply::Result(result) => Ok(result),
        Reply::Refuse(code, why) => Err((code, why.into())),
    };
    let mut envelope = json!({ "jsonrpc": "2.0", "id": call["id"] });
    match answer {
        Ok(result) => envelope["result"] = result,
        Err((code, message)) => envelope["error"] = json!({ "code": code, "message": message }),
    }
    Json(envelope).into_response()
}

/// A chain with nodes on loopback, which stop with it.
struct Net {
    world: Arc<Mutex<World>>,
    hooks: Vec<Arc<Mutex<Hook>>>,
    urls: Vec<String>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Net {
    fn drop(&mut self) {
        self.servers.iter().for_each(|server| server.abort());
    }
}

impl Net {
    async fn new(nodes: usize) -> Self {
        let world = Arc::new(Mutex::new(World::new()));
        let mut net = Self { world, hooks: vec![], urls: vec![], servers: vec![] };
        for _ in 0..nodes {
            let hook: Arc<Mutex<Hook>> = Arc::new(Mutex::new(Box::new(|_, _, _| Reply::Honest)));
            let node = Node { world: net.world.clone(), hook: hook.clone() };
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            net.urls.push(format!("http://{}", listener.local_addr().unwrap()));
            net.hooks.push(hook);
            let app = Router::new().route("/", post(rpc)).with_state(node);
            net.servers
                .push(tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
        }
        net
    }

    fn hook(&self, hook: impl FnMut(&mut World, &str, &Value) -> Reply + Send + 'static) {
        *self.hooks[0].lock().unwrap() = Box::new(hook);
    }

    fn world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock().unwrap())
    }

    fn chain(&self) -> EvmChain {
        let nodes = Nodes::new(&self.urls).unwrap();
        let nodes = nodes.with_timeout(Duration::from_millis(400)).with_attempts(2);
        let mut chain = EvmChain::new(CHAIN_ID, nodes);
        chain.confirm_time = Duration::from_millis(1500);
        chain.poll_interval = Duration::from_millis(20);
        chain.resend_after = Duration::from_millis(60);
        chain.replace_after = Duration::from_millis(200);
        // Tests of their own have it otherwise.
        chain.failed_after = 0;
        chain.smart_wallets = true;
        chain
    }

    fn ledger(&self) -> EvmLedger {
        EvmLedger::new().with_chain(self.chain(), vec![sender()])
    }

    fn paid(&self) -> u64 {
        self.world(|world| world.balance(seller()))
    }
}

// ---- payments

fn offer() -> PaymentRequirements {
    let known = assets::default_of(CHAIN_ID).unwrap();
    let offer = json!({
        "scheme": "exact", "network": "eip155:84532", "amount": VALUE.to_string(),
        "asset": token(), "payTo": seller(), "maxTimeoutSeconds": 60,
        "extra": { "name": known.name, "version": known.version },
    });
    PaymentRequirements::from_json(offer.to_string().as_bytes()).unwrap()
}

fn request(nonce: u8) -> VerifyRequest {
    request_signed(nonce, None)
}

/// With a signature of the test's own.
fn request_signed(nonce: u8, other: Option<&[u8]>) -> VerifyRequest {
    let (offer, key) = (offer(), payer());
    let from = x402_evm::Address(Signer::public_key(&key));
    let unsigned = Eip3009Unsigned::new(&offer.as_view(), from, NOW, [nonce; 32]).unwrap();
    let signature = Signer::sign(&key, unsigned.digest()).unwrap();
    let mut buffer = [0; PAYLOAD_BYTES];
    let payload = unsigned.payload(&signature, &mut buffer).unwrap();
    let mut payload: Value = serde_json::from_str(payload.as_str()).unwrap();
    if let Some(other) = other {
        payload["signature"] = json!(Bytes::copy_from_slice(other));
    }
    let offer = serde_json::to_string(&offer).unwrap();
    let request = format!(
        r#"{{"x402Version":2,"paymentPayload":{{"x402Version":2,"payload":{},"accepted":{offer}}},"paymentRequirements":{offer}}}"#,
        payload,
    );
    VerifyRequest::from_json(request.as_bytes()).unwrap()
}

fn payment(nonce: u8) -> Verified<EvmPayment> {
    let request = request(nonce);
    let view = request.as_view();
    gate::verify(&ExactOnEvm::default(), &view.payment_payload, &view.payment_requirements, NOW)
        .unwrap()
}

/// What the payment's authorization does in somebody's transaction.
fn transfer(nonce: u8) -> Does {
    Does::Transfer {
        from: address(&payer()),
        to: seller(),
        value: U256::from(VALUE),
        after: U256::ZERO,
        before: U256::from(NOW + 60),
        nonce: B256::repeat_byte(nonce),
    }
}

async fn settle(ledger: &EvmLedger, payment: &Verified<EvmPayment>) -> (Transaction, Outcome) {
    let (transaction, unsent) = ledger.prepare(payment.as_ref()).await.unwrap();
    ledger.send(unsent).await;
    let outcome = ledger.confirm(payment.as_ref(), &transaction).await;
    (transaction, outcome)
}

/// What a settlement ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In the transaction that was written down.
    Own,
    /// In another one.
    Other,
    Failed(Reason),
    Pending,
}

impl End {
    fn of(transaction: &Transaction, outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Settled(moved) if moved == transaction => Self::Own,
            Outcome::Settled(_) => Self::Other,
            Outcome::Failed(reason) => Self::Failed(*reason),
            Outcome::Pending => Self::Pending,
        }
    }
}

fn is_send(method: &str) -> bool {
    method == "eth_sendRawTransaction"
}

/// Acts on the first transaction that is sent only.
fn first_send(act: impl Fn(&mut World, &Value) -> Reply + Send + 'static) -> Hook {
    let mut acted = false;
    Box::new(move |world, method, params| {
        if acted || !is_send(method) {
            return Reply::Honest;
        }
        acted = true;
        act(world, params)
    })
}

/// Takes every transaction and loses it, and gives this receipt for it.
fn false_receipt(forge: impl Fn(Value, &World) -> Value + Send + 'static) -> Hook {
    let mut hash = B256::ZERO;
    Box::new(move |world, method, params| match method {
        "eth_sendRawTransaction" => {
            let raw: Bytes = serde_json::from_value(params[0].clone()).unwrap();
            hash = keccak256(&raw);
            Reply::Result(json!(hash))
        }
        "eth_getTransactionReceipt" => Reply::Result(forge(
            json!({
                "transactionHash": hash,
                "from": address(&sender()),
                "blockHash": world.now().hash,
                "blockNumber": format!("{:#x}", world.blocks.len() - 1),
                "status": "0x1",
                "logs": [
                    used_log(address(&payer()), B256::repeat_byte(1)),
                    transfer_log(token(), address(&payer()), seller(), VALUE),
                ],
            }),
            world,
        )),
        _ => Reply::Honest,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nodes_do_with_a_transaction() {
    let buyer = address(&payer());
    let other = Address::repeat_byte(0x0b);
    let spend = move |logs: Vec<Value>| {
        first_send(move |world, _| {
            let (from, nonce) = (buyer, B256::repeat_byte(1));
            world.elsewhere(Does::Use { from, nonce, logs: logs.clone() });
            Reply::Honest
        })
    };
    let other_use = used_log(buyer, B256::repeat_byte(2));
    let this_use = used_log(buyer, B256::repeat_byte(1));
    let paid = transfer_log(token(), buyer, seller(), VALUE);
    let paid_other = transfer_log(token(), buyer, other, VALUE);
    let spent = End::Failed(Reason::InvalidExactEvmNonceAlreadyUsed);
    let table: Vec<(&str, Hook, End, u64)> = vec![
        ("honest", Box::new(|_, _, _| Reply::Honest), End::Own, 1),
        ("slow", Box::new(|_, _, _| Reply::Late(60)), End::Own, 1),
        ("sent on, answer lost", first_send(|_, _| Reply::DoneAndStatus(503)), End::Own, 1),
        ("lost, answer too", first_send(|_, _| Reply::Status(400)), End::Own, 1),
        (
            "taken and lost",
            first_send(|_, params| {
                let raw: Bytes = serde_json::from_value(params[0].clone()).unwrap();
                Reply::Result(json!(keccak256(&raw)))
            }),
            End::Own,
            1,
        ),
        ("refused and lost", first_send(|_, _| Reply::Refuse(-32000, "pool full")), End::Own, 1),
        (
            "always lost",
            Box::new(|_, method, _| match is_send(method) {
                true => Reply::Status(400),
                false => Reply::Honest,
            }),
            End::Pending,
            0,
        ),
        (
            "already known",
            first_send(|world, params| {
                world.answer("eth_sendRawTransaction", params).unwrap();
                Reply::Honest
            }),
            End::Own,
            1,
        ),
        (
            "too low because it is in already",
            first_send(|world, params| {
                world.answer("eth_sendRawTransaction", params).unwrap();
                Reply::Refuse(-32000, "nonce too low")
            }),
            End::Own,
            1,
        ),
        (
            "nonce too low",
            first_send(|world, _| {
                let from = address(&sender());
                let (hash, does) = (B256::repeat_byte(3), Does::Nothing);
                world.pool.insert((from, 0), Tx { hash, from, nonce: 0, per_gas: u128::MAX, does });
                world.mine(1);
                Reply::Honest
            }),
            End::Other,
            1,
        ),
        (
            "nonce taken in the pool",
            first_send(|world, _| {
                let from = address(&sender());
                let (hash, does) = (B256::repeat_byte(3), Does::Nothing);
                let per_gas = 1000 * GWEI;
                world.pool.insert((from, 0), Tx { hash, from, nonce: 0, per_gas, does });
                Reply::Honest
            }),
            End::Other,
            1,
        ),
        (
            "nonce falsely too low",
            first_send(|_, _| Reply::Refuse(-32000, "nonce too low")),
            // The first fills the gap below the second, and moves the money.
            End::Own,
            1,
        ),
        (
            "payer has spent it",
            first_send(|world, _| {
                world.blocks.last_mut().unwrap().tokens.clear();
                Reply::Honest
            }),
            End::Pending,
            0,
        ),
        (
            "front-run",
            first_send(|world, _| {
                world.elsewhere(transfer(1));
                Reply::Honest
            }),
            End::Other,
            1,
        ),
        (
            "front-run, own lost",
            {
                let mut front_run = first_send(|world, _| {
                    world.elsewhere(transfer(1));
                    Reply::Honest
                });
                Box::new(move |world, method, params| {
                    front_run(world, method, params);
                    if is_send(method) { Reply::Status(400) } else { Reply::Honest }
                })
            },
            End::Other,
            1,
        ),
        (
            "cancelled",
            first_send(move |world, _| {
                world.elsewhere(Does::Cancel { from: buyer, nonce: B256::repeat_byte(1) });
                Reply::Honest
            }),
            spent,
            0,
        ),
        ("nonce used to pay another", spend(vec![this_use.clone(), paid_other.clone()]), spent, 0),
        (
            "two uses, one transfer, not this one's",
            spend(vec![other_use.clone(), paid.clone(), this_use.clone(), paid_other.clone()]),
            End::Pending,
            0,
        ),
        ("transfer before its use", spend(vec![paid.clone(), this_use.clone()]), End::Pending, 0),
        (
            "two uses, two transfers",
            spend(vec![other_use, paid.clone(), this_use.clone(), paid.clone()]),
            End::Other,
            0,
        ),
        (
            "transfer of another token",
            spend(vec![this_use.clone(), transfer_log(other, buyer, seller(), VALUE)]),
            spent,
            0,
        ),
        (
            "transfer of less",
            spend(vec![this_use, transfer_log(token(), buyer, seller(), VALUE - 1)]),
            spent,
            0,
        ),
        (
            "used by nobody knows whom",
            {
                let mut front_run = first_send(|world, _| {
                    world.elsewhere(transfer(1));
                    Reply::Honest
                });
                Box::new(move |world, method, params| match method {
                    "eth_getLogs" => Reply::Result(json!([])),
                    _ => front_run(world, method, params),
                })
            },
            End::Pending,
            1,
        ),
        (
            "used by what was reverted",
            {
                let mut front_run = first_send(|world, _| {
                    world.elsewhere(transfer(1));
                    Reply::Honest
                });
                Box::new(move |world, method, params| match method {
                    "eth_getTransactionReceipt" => {
                        let mut receipt = world.answer(method, params).unwrap();
                        receipt["status"] = json!("0x0");
                        Reply::Result(receipt)
                    }
                    _ => front_run(world, method, params),
                })
            },
            End::Pending,
            1,
        ),
        (
            "receipt without a log",
            false_receipt(|mut receipt, _| {
                receipt["logs"] = json!([]);
                receipt
            }),
            End::Pending,
            0,
        ),
        (
            "receipt with another contract's log",
            false_receipt(|mut receipt, _| {
                receipt["logs"][1]["address"] = json!(seller());
                receipt
            }),
            End::Pending,
            0,
        ),
        (
            "receipt with another amount",
            false_receipt(|mut receipt, _| {
                receipt["logs"][1]["data"] = json!(B256::repeat_byte(1));
                receipt
            }),
            End::Pending,
            0,
        ),
        (
            "receipt with more data",
            false_receipt(|mut receipt, _| {
                let data = receipt["logs"][1]["data"].as_str().unwrap().to_string();
                receipt["logs"][1]["data"] = json!(data + "00");
                receipt
            }),
            End::Pending,
            0,
        ),
        (
            "receipt with a removed log",
            false_receipt(|mut receipt, _| {
                receipt["logs"][1]["removed"] = json!(true);
                receipt
            }),
            End::Pending,
            0,
        ),
        (
            "receipt of a failure with logs",
            false_receipt(|mut receipt, _| {
                receipt["status"] = json!("0x0");
                receipt
            }),
            End::Pending,
            0,
        ),
        (
            "receipt of another transaction",
            false_receipt(|mut receipt, _| {
                receipt["transactionHash"] = json!(B256::repeat_byte(1));
                receipt
            }),
            End::Pending,
            0,
        ),
        (
            "receipt of another block",
            false_receipt(|mut receipt, _| {
                receipt["blockHash"] = json!(B256::repeat_byte(1));
                receipt
            }),
            End::Pending,
            0,
        ),
        (
            "receipt of a block to come",
            false_receipt(|mut receipt, world| {
                receipt["blockNumber"] = json!(format!("{:#x}", world.blocks.len()));
                receipt
            }),
            End::Pending,
            0,
        ),
        ("receipt that is none", false_receipt(|_, _| json!("yes")), End::Pending, 0),
    ];
    let runs = table.into_iter().map(|(name, hook, end, paid)| async move {
        let net = Net::new(1).await;
        *net.hooks[0].lock().unwrap() = hook;
        let (mut chain, payment) = (net.chain(), payment(1));
        // What an own account sends anew is no stranger's.
        chain.settled_by_others = !name.starts_with("nonce");
        let ledger = || EvmLedger::new().with_chain(chain.clone(), vec![sender()]);
        let (first, again) = (ledger(), ledger());
        assert_eq!(first.check(payment.as_ref(), NOW).await, Ok(()), "{name}");
        let (transaction, outcome) = settle(&first, &payment).await;
        assert_eq!(End::of(&transaction, &outcome), end, "{name}");
        assert_eq!(net.paid(), paid * VALUE, "{name}");
        let signed_anew = name.starts_with("nonce") && end != spent;
        let sent = net.world(|world| world.sent.len());
        assert!(sent <= 1 || signed_anew && sent == 2, "{name}: {sent} transactions");
        // Another process, which has the payment and the transaction alone, sees the same.
        let again = again.confirm(payment.as_ref(), &transaction).await;
        assert_eq!(again, outcome, "{name}, after a restart");
        // It moves once, whatever else is sent.
        assert!(net.paid() <= VALUE, "{name}");
    });
    let mut all = tokio::task::JoinSet::new();
    for run in runs {
        all.spawn(run);
    }
    while let Some(ran) = all.join_next().await {
        ran.unwrap();
    }
}

/// A stranger's transaction may be one that another facilitator has told somebody of.
#[tokio::test]
async fn strangers_settle_only_where_they_may() {
    for settled_by_others in [false, true] {
        let net = Net::new(1).await;
        *net.hooks[0].lock().unwrap() = first_send(|world, _| {
            world.elsewhere(transfer(1));
            Reply::Honest
        });
        let mut chain = net.chain();
        chain.settled_by_others = settled_by_others;
        let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
        let (transaction, outcome) = settle(&ledger, &payment(1)).await;
        let end = if settled_by_others { End::Other } else { End::Pending };
        assert_eq!(End::of(&transaction, &outcome), end);
        assert_eq!(net.paid(), VALUE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_final_before_it_is_deep() {
    let net = Net::new(1).await;
    let mut chain = net.chain();
    chain.confirmations = 3;
    let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
    let payment = payment(1);
    let (transaction, outcome) = settle(&ledger, &payment).await;
    assert_eq!((outcome, net.paid()), (Outcome::Pending, VALUE));
    net.world(|world| world.mine(1));
    assert_eq!(ledger.confirm(payment.as_ref(), &transaction).await, Outcome::Pending);
    // Its block is given up, with all that is in the pool: the ledger sends it again.
    net.world(|world| world.reorg(2));
    assert_eq!(net.paid(), 0);
    let world = net.world.clone();
    let confirming = ledger.confirm(payment.as_ref(), &transaction);
    let mining = async {
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            world.lock().unwrap().mine(1);
        }
    };
    let (outcome, ()) = tokio::join!(confirming, mining);
    assert_eq!((outcome, net.paid()), (Outcome::Settled(transaction), VALUE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_is_certain() {
    let lost: fn(&mut World, &str, &Value) -> Reply = |_, method, _| match is_send(method) {
        true => Reply::Refuse(-32000, "pool full"),
        false => Reply::Honest,
    };
    let unsent = Reason::InvalidExactEvmPayloadAuthorizationValidBefore;
    // How long it takes until it expires, by the newest block; and what becomes of it.
    for (later, depth, end) in [
        (40, 1, End::Pending),
        // The block after next, of three.
        (120, 3, End::Pending),
        (120, 1, End::Failed(unsent)),
    ] {
        let net = Net::new(1).await;
        net.hook(lost);
        let mut chain = net.chain();
        (chain.confirmations, chain.confirm_time) = (depth, Duration::from_millis(200));
        let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
        let payment = payment(1);
        let (transaction, outcome) = settle(&ledger, &payment).await;
        assert_eq!(outcome, Outcome::Pending);
        net.world(|world| world.mine(later));
        let outcome = ledger.confirm(payment.as_ref(), &transaction).await;
        assert_eq!(End::of(&transaction, &outcome), end, "{later} {depth}");
        // Whoever sends it now is too late.
        net.world(|world| (world.elsewhere(transfer(1)), world.mine(1)));
        assert_eq!(net.paid() == 0, matches!(end, End::Failed(_)) || later == 120);
    }
    // A reverted one can still be submitted by anybody until it expires.
    for (between, end) in [
        (None, End::Failed(Reason::InvalidExactEvmTransactionFailed)),
        (Some(transfer(1)), End::Other),
    ] {
        let net = Net::new(1).await;
        let mut chain = net.chain();
        chain.settled_by_others = true;
        let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
        let payment = payment(1);
        let (transaction, unsent) = ledger.prepare(payment.as_ref()).await.unwrap();
        let funds = net.world(|world| world.blocks.last_mut().unwrap().tokens.drain().collect());
        ledger.send(unsent).await;
        let started = std::time::Instant::now();
        assert_eq!(ledger.confirm(payment.as_ref(), &transaction).await, Outcome::Pending);
        assert!(started.elapsed() < Duration::from_secs(1), "nothing to wait for");
        net.world(|world| {
            world.blocks.last_mut().unwrap().tokens = funds;
            between.map(|between| world.elsewhere(between));
            world.mine(120);
        });
        let outcome = ledger.confirm(payment.as_ref(), &transaction).await;
        assert_eq!(End::of(&transaction, &outcome), end);
        assert_eq!(net.paid() == VALUE, end == End::Other);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_liar_of_two_witnesses_proves_nothing() {
    for (witnesses, end) in [(1, End::Own), (2, End::Pending)] {
        let net = Net::new(2).await;
        *net.hooks[0].lock().unwrap() = false_receipt(|receipt, _| receipt);
        *net.hooks[1].lock().unwrap() = Box::new(|_, method, _| match is_send(method) {
            true => Reply::Refuse(-32000, "pool full"),
            false => Reply::Honest,
        });
        let mut chain = net.chain();
        (chain.witnesses, chain.confirm_time) = (witnesses, Duration::from_millis(300));
        let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
        let (transaction, outcome) = settle(&ledger, &payment(1)).await;
        assert_eq!(End::of(&transaction, &outcome), end);
        assert_eq!(net.paid(), 0);
    }
    // Honest ones do, and one more than there are never does.
    for (witnesses, settled) in [(2, true), (3, false)] {
        let net = Net::new(2).await;
        let mut chain = net.chain();
        (chain.witnesses, chain.confirm_time) = (witnesses, Duration::from_millis(300));
        let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
        assert_eq!(ledger.ready().await.is_ok(), settled);
        if settled {
            let (transaction, outcome) = settle(&ledger, &payment(1)).await;
            assert_eq!(End::of(&transaction, &outcome), End::Own);
        } else {
            assert_eq!(
                ledger.prepare(payment(1).as_ref()).await.unwrap_err(),
                Reason::UnexpectedSettleError
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_transaction_without_means() {
    type Setup = fn(&mut World);
    let busy = Reason::Busy;
    let table: [(&str, Setup, Reason); 7] = [
        ("gas above the cap", |world| world.base_fee = 200 * GWEI, busy),
        ("priority above the cap", |world| world.priority = 4 * GWEI, busy),
        ("sender without gas", |world| world.coins = U256::ZERO, busy),
        (
            "sender with too little",
            |world| world.coins = U256::from(2 * GWEI) * U256::from(GAS),
            busy,
        ),
        (
            "payer without money",
            |world| world.blocks.last_mut().unwrap().tokens.clear(),
            Reason::InvalidExactEvmInsufficientBalance,
        ),
        (
            "used",
            |world| {
                world.elsewhere(transfer(1));
            },
            Reason::InvalidExactEvmNonceAlreadyUsed,
        ),
        (
            "expired",
            |world| world.mine(120),
            Reason::InvalidExactEvmPayloadAuthorizationValidBefore,
        ),
    ];
    for (name, setup, reason) in table {
        let net = Net::new(1).await;
        net.world(setup);
        let ledger = net.ledger();
        assert_eq!(ledger.prepare(payment(1).as_ref()).await.unwrap_err(), reason, "{name}");
        assert!(net.world(|world| world.sent.is_empty()));
        // It passes, and left no nonce behind.
        let fresh = World::new();
        net.world(|world| *world = fresh);
        let (transaction, outcome) = settle(&ledger, &payment(1)).await;
        assert_eq!(End::of(&transaction, &outcome), End::Own, "{name}");
    }
    let net = Net::new(1).await;
    let ledger = EvmLedger::<LocalKey>::new().with_chain(net.chain(), vec![]);
    assert_eq!(ledger.prepare(payment(1).as_ref()).await.unwrap_err(), Reason::Busy);
    assert_eq!(ledger.ready().await, Err(NotReady::NoSender { chain_id: CHAIN_ID }));
    let ledger = net.ledger();
    net.world(|world| world.coins = U256::ZERO);
    let sender = x402_evm::Address(Signer::public_key(&sender()));
    assert_eq!(ledger.ready().await, Err(NotReady::NoGas { chain_id: CHAIN_ID, sender }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_chain_is_not_believed() {
    let net = Net::new(2).await;
    *net.hooks[1].lock().unwrap() = Box::new(|_, method, _| match method {
        "eth_chainId" => Reply::Result(json!("0x1")),
        _ => Reply::Honest,
    });
    let mut chain = net.chain();
    chain.confirm_time = Duration::from_millis(200);
    let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
    let payment = payment(1);
    assert_eq!(ledger.ready().await, Err(NotReady::WrongChain { chain_id: CHAIN_ID }));
    assert_eq!(ledger.check(payment.as_ref(), NOW).await, Err(Reason::UnexpectedVerifyError));
    assert_eq!(ledger.prepare(payment.as_ref()).await.unwrap_err(), Reason::UnexpectedSettleError);
    net.world(|world| world.elsewhere(transfer(1)));
    let transaction = Transaction::try_from("0x00").unwrap();
    assert_eq!(ledger.confirm(payment.as_ref(), &transaction).await, Outcome::Pending);
    // And a chain that was not given is none of its own.
    let ledger = EvmLedger::<LocalKey>::new();
    assert_eq!(ledger.check(payment.as_ref(), NOW).await, Err(Reason::InvalidNetwork));
    assert_eq!(ledger.prepare(payment.as_ref()).await.unwrap_err(), Reason::InvalidNetwork);
    assert_eq!(ledger.confirm(payment.as_ref(), &transaction).await, Outcome::Pending);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonces_follow_each_other() {
    let net = Net::new(1).await;
    let ledger = net.ledger();
    // Given up: the nonce is free again.
    drop(ledger.prepare(payment(1).as_ref()).await.unwrap());
    // Eight at once, over one account.
    let payments: Vec<_> = (1..=8).map(payment).collect();
    let settling = payments.iter().map(|payment| settle(&ledger, payment));
    for (transaction, outcome) in join_all(settling).await {
        assert_eq!(End::of(&transaction, &outcome), End::Own);
    }
    assert_eq!(net.paid(), 8 * VALUE);
    // They may overtake each other on the way.
    let nonces: BTreeSet<_> = net.world(|world| world.sent.iter().map(|tx| tx.nonce).collect());
    assert_eq!(nonces, (0..8).collect());
    // More than wait at once in a pool, one after the other: what is mined does not count.
    net.world(|world| {
        let funds = U256::from(100 * VALUE);
        world.blocks.last_mut().unwrap().tokens.insert(address(&payer()), funds);
    });
    for nonce in 20..40 {
        let (transaction, outcome) = settle(&ledger, &payment(nonce)).await;
        assert_eq!(End::of(&transaction, &outcome), End::Own);
    }
    // While one of two accounts is at it, the other one sends.
    let ledger = EvmLedger::new().with_chain(net.chain(), vec![sender(), key(10)]);
    let (first, second) = (
        ledger.prepare(payment(50).as_ref()).await.unwrap(),
        ledger.prepare(payment(51).as_ref()).await.unwrap(),
    );
    ledger.send(first.1).await;
    ledger.send(second.1).await;
    let senders: HashSet<_> =
        net.world(|world| world.sent.iter().rev().take(2).map(|tx| tx.from).collect());
    assert_eq!(senders.len(), 2);
}

async fn join_all<T: Send>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    // In one task, in turn: each waits on the network often enough.
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut ready = true;
        for (one, done) in &mut all {
            if done.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    all.into_iter().map(|(_, done)| done.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_does_not_get_stuck() {
    // A nonce that no node heard of is heard of again when the next one is waited for.
    let net = Net::new(1).await;
    *net.hooks[0].lock().unwrap() = first_send(|_, _| Reply::Status(400));
    let ledger = net.ledger();
    let (one, other) = (payment(1), payment(2));
    let (lost, unsent) = ledger.prepare(one.as_ref()).await.unwrap();
    ledger.send(unsent).await;
    let (transaction, outcome) = settle(&ledger, &other).await;
    assert_eq!(End::of(&transaction, &outcome), End::Own);
    assert_eq!(ledger.confirm(one.as_ref(), &lost).await, Outcome::Settled(lost));
    assert_eq!(net.paid(), 2 * VALUE);

    // The caller goes away while it is being sent.
    let net = Net::new(1).await;
    net.hook(|_, method, _| if is_send(method) { Reply::Status(503) } else { Reply::Honest });
    let ledger = net.ledger();
    let (_, unsent) = ledger.prepare(one.as_ref()).await.unwrap();
    let sending = tokio::time::timeout(Duration::from_millis(20), ledger.send(unsent));
    assert!(sending.await.is_err());
    net.hook(|_, _, _| Reply::Honest);
    let (transaction, outcome) = settle(&ledger, &other).await;
    assert_eq!(End::of(&transaction, &outcome), End::Own);
    assert_eq!(net.paid(), 2 * VALUE);

    // After a restart the nodes' count is where it goes on: a nonce nobody used is used.
    let net = Net::new(1).await;
    let gone = net.ledger().prepare(one.as_ref()).await.unwrap();
    let ledger = net.ledger();
    let (transaction, outcome) = settle(&ledger, &other).await;
    assert_eq!(End::of(&transaction, &outcome), End::Own);
    assert_eq!(net.world(|world| world.sent[0].nonce), 0);
    drop(gone);
    let (transaction, outcome) = settle(&net.ledger(), &one).await;
    assert_eq!(End::of(&transaction, &outcome), End::Own);
    assert_eq!(net.world(|world| world.sent[1].nonce), 1);

    // Gas gets dearer than what was offered: it is replaced, and found by its log.
    let net = Net::new(1).await;
    net.world(|world| world.auto = false);
    let ledger = net.ledger();
    let (transaction, unsent) = ledger.prepare(one.as_ref()).await.unwrap();
    ledger.send(unsent).await;
    net.world(|world| (world.base_fee, world.auto) = (10 * GWEI, true));
    let outcome = ledger.confirm(one.as_ref(), &transaction).await;
    assert_eq!(End::of(&transaction, &outcome), End::Other);
    let sent: Vec<_> = net.world(|world| world.sent.iter().map(|tx| tx.nonce).collect());
    assert_eq!((sent, net.paid()), (vec![0, 0], VALUE));
    // But not above the caps.
    let net = Net::new(1).await;
    net.world(|world| world.auto = false);
    let ledger = net.ledger();
    let (transaction, unsent) = ledger.prepare(one.as_ref()).await.unwrap();
    ledger.send(unsent).await;
    net.world(|world| (world.base_fee, world.auto) = (200 * GWEI, true));
    assert_eq!(ledger.confirm(one.as_ref(), &transaction).await, Outcome::Pending);
    assert_eq!(net.world(|world| world.sent.len()), 1);
    // Nor is it replaced by one above the caps.
    let net = Net::new(1).await;
    net.world(|world| (world.auto, world.base_fee) = (false, 40 * GWEI));
    let ledger = net.ledger();
    let (transaction, unsent) = ledger.prepare(one.as_ref()).await.unwrap();
    ledger.send(unsent).await;
    assert_eq!(ledger.confirm(one.as_ref(), &transaction).await, Outcome::Pending);
    let offered: Vec<_> = net.world(|world| world.sent.iter().map(|tx| tx.per_gas).collect());
    assert_eq!(offered.len(), 2);
    assert!(offered[0] < offered[1] && offered[1] <= 100 * GWEI, "{offered:?}");
    // Nodes keep a few of an account only.
    let net = Net::new(1).await;
    net.world(|world| {
        world.auto = false;
        world.blocks.last_mut().unwrap().tokens.insert(address(&payer()), U256::MAX);
    });
    let ledger = net.ledger();
    for nonce in 1..=16 {
        let (_, unsent) = ledger.prepare(payment(nonce).as_ref()).await.unwrap();
        ledger.send(unsent).await;
    }
    assert_eq!(ledger.prepare(payment(17).as_ref()).await.unwrap_err(), Reason::Busy);
    net.world(|world| world.mine(1));
    assert!(ledger.prepare(payment(17).as_ref()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_and_their_codes() {
    type Setup = fn(&mut World);
    let table: [(&str, Setup, Result<(), Reason>); 11] = [
        ("good", |_| {}, Ok(())),
        ("no token there", |world| world.token_code = false, Err(Reason::AssetNotDeployedContract)),
        (
            "no EIP-3009",
            |world| world.eip3009 = false,
            Err(Reason::InvalidExactEvmEip3009NotSupported),
        ),
        (
            "used",
            |world| {
                world.elsewhere(transfer(1));
            },
            Err(Reason::InvalidExactEvmNonceAlreadyUsed),
        ),
        (
            "cancelled",
            |world| {
                let (from, nonce) = (address(&payer()), B256::repeat_byte(1));
                world.elsewhere(Does::Cancel { from, nonce });
            },
            Err(Reason::InvalidExactEvmNonceAlreadyUsed),
        ),
        (
            "another name",
            |world| world.domain.0 = "Fool's Coin".into(),
            Err(Reason::InvalidExactEvmTokenNameMismatch),
        ),
        (
            "another version",
            |world| world.domain.1 = "7".into(),
            Err(Reason::InvalidExactEvmTokenVersionMismatch),
        ),
        (
            "poor",
            |world| world.blocks.last_mut().unwrap().tokens.clear(),
            Err(Reason::InvalidExactEvmInsufficientBalance),
        ),
        (
            "expired by the chain's time",
            |world| world.mine(120),
            Err(Reason::InvalidExactEvmTransactionSimulationFailed),
        ),
        (
            "a contract account that likes the signature",
            |world| world.accounts = [(address(&payer()), true)].into(),
            Ok(()),
        ),
        (
            "a contract account that does not, though it is the key's",
            |world| world.accounts = [(address(&payer()), false)].into(),
            Err(Reason::InvalidExactEvmSignature),
        ),
    ];
    for (name, setup, expected) in table {
        let net = Net::new(1).await;
        net.world(setup);
        let ledger = net.ledger();
        assert_eq!(ledger.check(payment(1).as_ref(), NOW).await, expected, "{name}");
        assert!(net.world(|world| world.sent.is_empty()), "{name}");
        if expected.is_ok() {
            let (transaction, outcome) = settle(&ledger, &payment(1)).await;
            assert_eq!(End::of(&transaction, &outcome), End::Own, "{name}");
        }
    }
    // A fault of the node is neither a refusal nor a pass, wherever it happens.
    for broken in ["eth_chainId", "eth_getCode", "eth_call"] {
        let replies: [fn() -> Reply; 4] = [
            || Reply::Status(503),
            || Reply::Refuse(-32603, "internal error"),
            || Reply::Refuse(-32000, "header not found"),
            || Reply::Result(json!({ "yes": true })),
        ];
        for reply in replies {
            let net = Net::new(1).await;
            net.hook(move |_, method, _| if method == broken { reply() } else { Reply::Honest });
            let checked = net.ledger().check(payment(1).as_ref(), NOW).await;
            assert_eq!(checked, Err(Reason::UnexpectedVerifyError), "{broken}");
            let prepared = net.ledger().prepare(payment(1).as_ref()).await.map(|(id, _)| id);
            match broken {
                "eth_call" => assert!(prepared.is_ok()),
                _ => assert_eq!(prepared, Err(Reason::UnexpectedSettleError), "{broken}"),
            }
        }
    }
    for broken in [
        balanceOfCall::SELECTOR,
        authorizationStateCall::SELECTOR,
        transferWithAuthorization_0Call::SELECTOR,
    ] {
        let net = Net::new(1).await;
        let broken = format!("0x{}", hex::encode(broken));
        net.hook(move |_, _, params| match params[0]["data"].as_str() {
            Some(data) if data.starts_with(&broken) => Reply::Status(503),
            _ => Reply::Honest,
        });
        let checked = net.ledger().check(payment(1).as_ref(), NOW).await;
        assert_eq!(checked, Err(Reason::UnexpectedVerifyError));
    }
    for broken in [
        "eth_estimateGas",
        "eth_feeHistory",
        "eth_maxPriorityFeePerGas",
        "eth_getTransactionCount",
        "eth_getBalance",
    ] {
        let net = Net::new(1).await;
        net.hook(move |_, method, _| match method == broken {
            true => Reply::Status(503),
            false => Reply::Honest,
        });
        let prepared = net.ledger().prepare(payment(1).as_ref()).await.map(|(id, _)| id);
        assert_eq!(prepared, Err(Reason::UnexpectedSettleError), "{broken}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_without_a_base_fee() {
    let net = Net::new(1).await;
    net.hook(|_, method, _| match method {
        "eth_feeHistory" | "eth_maxPriorityFeePerGas" => Reply::Refuse(-32601, "no such method"),
        _ => Reply::Honest,
    });
    assert!(net.ledger().prepare(payment(1).as_ref()).await.is_err());
    assert_eq!(net.ledger().ready().await, Err(NotReady::NoFees { chain_id: CHAIN_ID }));
    let mut chain = net.chain();
    chain.legacy = true;
    let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
    let (transaction, outcome) = settle(&ledger, &payment(1)).await;
    assert_eq!(End::of(&transaction, &outcome), End::Own);
    assert_eq!(net.world(|world| world.legacy_seen), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_facilitator_over_it_settles_once() {
    let net = Net::new(1).await;
    let (store, clock) = (MemoryStore::default(), NOW);
    let facilitator = Arc::new(LocalFacilitator::with_parts(net.ledger(), store, clock));
    let supported = facilitator.supported().await.unwrap();
    let kinds: Vec<_> =
        supported.kinds.iter().map(|kind| (kind.x402_version, &*kind.network)).collect();
    assert_eq!(kinds, [(2, "eip155:84532"), (1, "base-sepolia")]);
    assert!(facilitator.verify(&request(1)).await.unwrap().is_valid);
    let told = Arc::new(AtomicUsize::new(0));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (facilitator, told) = (facilitator.clone(), told.clone());
        all.spawn(async move {
            let answer = facilitator.settle(&request(1)).await.unwrap();
            if answer.success {
                told.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    all.join_all().await;
    assert_eq!((told.load(Ordering::SeqCst), net.paid()), (1, VALUE));
    assert_eq!(net.world(|world| world.sent.len()), 1);
    let shown = format!("{:?}", facilitator.ledger());
    assert!(!shown.contains("http") && !shown.contains("09090909"), "{shown}");
}

/// A signature with how its contract is made (ERC-6492).
fn wrap(factory: Address, call: &[u8], signature: &[u8]) -> Vec<u8> {
    let bytes = Bytes::copy_from_slice;
    let parts = (factory, bytes(call), bytes(signature));
    [parts.abi_encode_params(), [0x64, 0x92].repeat(16)].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smart_accounts() {
    let evm = ExactOnEvm { smart_wallets: true, ..ExactOnEvm::default() };
    let schemes = evm;
    let long = [7; 99];
    let wrapped = |factory: Address| wrap(factory, b"make", &long);
    type Setup = fn(&mut World);
    let nothing: Setup = |_| {};
    let likes: Setup = |world| world.accounts = [(address(&payer()), true)].into();
    let dislikes: Setup = |world| world.accounts = [(address(&payer()), false)].into();
    let invalid = Err(Reason::InvalidExactEvmSignature);
    type Expected = Result<(), Reason>;
    let failed = Err(Reason::InvalidExactEvmTransactionSimulationFailed);
    let cut = &wrapped(FACTORY)[32..];
    let table: [(&str, Vec<u8>, Setup, Expected); 13] = [
        ("to be made, not liked", wrapped(FACTORY), |world| world.only = Some(vec![]), failed),
        ("to be made by a call that makes none", wrap(FACTORY, b"", &long), nothing, failed),
        // The token would take it, and the factory be called for nothing.
        ("to be made by none, a key's", wrap(FACTORY, b"", &[7; 65]), nothing, failed),
        ("no wrapper", cut.to_vec(), likes, invalid),
        ("liked", long.to_vec(), likes, Ok(())),
        ("disliked", long.to_vec(), dislikes, invalid),
        ("of nobody", long.to_vec(), nothing, invalid),
        ("of another key", vec![1; 65], nothing, invalid),
        ("empty, liked", vec![], likes, Ok(())),
        ("to be made", wrapped(FACTORY), nothing, Ok(())),
        (
            "to be made by another",
            wrapped(Address::repeat_byte(1)),
            nothing,
            Err(Reason::Eip6492FactoryNotAllowed),
        ),
        ("made already, by any", wrapped(Address::repeat_byte(1)), likes, Ok(())),
        (
            "to be made, where nothing makes it",
            wrapped(FACTORY),
            |world| world.multicall = false,
            Err(Reason::InvalidExactEvmTransactionSimulationFailed),
        ),
    ];
    for (name, signature, setup, expected) in table {
        let net = Net::new(1).await;
        net.world(setup);
        let mut chain = net.chain();
        chain.factories = vec![x402_evm::Address(FACTORY.into())];
        let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
        let request = request_signed(1, Some(&signature));
        let view = request.as_view();
        let (payment, offer) = (&view.payment_payload, &view.payment_requirements);
        let payment = gate::verify(&schemes, payment, offer, NOW).unwrap();
        assert!(!payment.payment().is_proven(), "{name}");
        assert_eq!(ledger.check(payment.as_ref(), NOW).await, expected, "{name}");
        let proven = ledger.prove(payment.as_ref()).await;
        let signature = Err(Reason::InvalidExactEvmSignature);
        assert_eq!(proven, if expected == failed { signature } else { expected }, "{name}");
        if expected.is_ok() {
            let (transaction, outcome) = settle(&ledger, &payment).await;
            assert_eq!(End::of(&transaction, &outcome), End::Own, "{name}");
            assert_eq!(net.paid(), VALUE, "{name}");
        } else {
            assert!(net.world(|world| world.sent.is_empty()), "{name}");
        }
    }
}

/// Who knows payer and nonce of a payment is told nothing of it, and does it no harm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_signature_is_no_share_in_a_payment() {
    // What the gate has proven needs no chain.
    assert_eq!(EvmLedger::<LocalKey>::new().prove(payment(1).as_ref()).await, Ok(()));
    let evm = ExactOnEvm { smart_wallets: true, ..ExactOnEvm::default() };
    for made in [true, false] {
        let net = Net::new(1).await;
        let (own, caller) = ([7; 99], x402_std::facilitator::CallerId([1; 32]));
        net.world(|world| {
            world.only = Some(own.into());
            world.auto = false;
            if made {
                world.accounts = [(address(&payer()), true)].into();
            }
        });
        let mut chain = net.chain();
        chain.factories = vec![x402_evm::Address(FACTORY.into())];
        chain.confirm_time = Duration::from_millis(200);
        let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
        let facilitator = LocalFacilitator::with_parts(ledger, MemoryStore::default(), NOW);
        let facilitator = facilitator.with_scheme(evm);
        let request = |signature: &[u8]| match made {
            true => request_signed(1, Some(signature)),
            false => request_signed(1, Some(&wrap(FACTORY, b"make", signature))),
        };
        let (genuine, forged) = (request(&own), request(&[8; 99]));
        let sent = facilitator.settle_for(&genuine, caller).await.unwrap().answer;
        assert_eq!(sent.error_reason.as_deref(), Some("settlement_pending"), "{made}");
        let refused = |answer: x402_std::message::SettleResponse| {
            let reason = answer.error_reason.as_deref();
            assert_eq!(reason, Some("invalid_exact_evm_signature"), "{made}");
            assert_eq!((answer.success, &*answer.transaction), (false, ""), "{made}");
        };
        refused(facilitator.settle_for(&forged, caller).await.unwrap().answer);
        net.world(|world| world.mine(1));
        refused(facilitator.settle_for(&forged, caller).await.unwrap().answer);
        let told = facilitator.settle_for(&genuine, caller).await.unwrap().answer;
        assert!(told.success, "{made} {told:?}");
        refused(facilitator.settle_for(&forged, caller).await.unwrap().answer);
        assert_eq!(facilitator.settle_for(&genuine, caller).await.unwrap().answer, told);
        // On a slow machine it may have been sent again, in its own place.
        let nonces: BTreeSet<_> = net.world(|world| world.sent.iter().map(|tx| tx.nonce).collect());
        assert_eq!((net.paid(), nonces.len()), (VALUE, 1));
    }
}

// ---- transfers that payers sent themselves

/// Puts a transaction of the payer's, and its receipt, into a block of its own: a transfer of
/// `VALUE` to the seller, but for what is forged.
fn transferred(world: &mut World, hash: B256, forge: impl FnOnce(&mut Value)) {
    world.mine(1);
    let mut receipt = json!({
        "transactionHash": hash,
        "blockHash": world.now().hash,
        "blockNumber": format!("{:#x}", world.blocks.len() - 1),
        "status": "0x1",
        "from": address(&payer()),
        "to": token(),
        "logs": [transfer_log(token(), address(&payer()), seller(), VALUE)],
    });
    forge(&mut receipt);
    world.blocks.last_mut().unwrap().receipts.insert(hash, receipt);
}

fn by_transfer(reference: &str) -> PaymentRequirements {
    let offer = offer().upfront().with_extra("reference", reference);
    offer.with_extra("assetTransferMethod", x402_evm::TRANSFER_METHOD)
}

/// A proof by a key of whatever account, for a resource.
fn proof(offer: &PaymentRequirements, url: &str, key: &LocalKey, hash: B256) -> VerifyRequest {
    let from = x402_evm::Address(Signer::public_key(key));
    let unsigned =
        x402_evm::TransferProofUnsigned::new(&offer.as_view(), url, from, hash.0).unwrap();
    let signature = Signer::sign(key, unsigned.digest()).unwrap();
    let mut buffer = [0; 512];
    let payload = unsigned.payload(&signature, &mut buffer).unwrap().as_str().to_string();
    let offer = serde_json::to_string(offer).unwrap();
    let request = format!(
        r#"{{"x402Version":2,"paymentPayload":{{"x402Version":2,"resource":{{"url":"{url}"}},"payload":{payload},"accepted":{offer}}},"paymentRequirements":{offer}}}"#,
    );
    VerifyRequest::from_json(request.as_bytes()).unwrap()
}

fn proven(request: &VerifyRequest, now: u64) -> Verified<EvmPayment> {
    let evm = ExactOnEvm { transfer_proofs: true, ..ExactOnEvm::default() };
    let (schemes, view) = (evm, request.as_view());
    gate::verify(&schemes, &view.payment_payload, &view.payment_requirements, now).unwrap()
}

const URL: &str = "http://shop/one";
const MAX_AGE: u64 = 600;

fn proof_ledger(net: &Net) -> EvmLedger {
    let mut chain = net.chain();
    chain.max_proof_age = Duration::from_secs(MAX_AGE);
    chain.confirm_time = Duration::from_millis(200);
    EvmLedger::new().with_chain(chain, vec![sender()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_that_pay() {
    let (buyer, hash) = (address(&payer()), B256::repeat_byte(0x11));
    let other = Address::repeat_byte(0x0b);
    type Forge = Box<dyn Fn(&mut Value) + Send>;
    let logs = |logs: Vec<Value>| -> Forge { Box::new(move |r| r["logs"] = json!(logs)) };
    let set = |key: &'static str, value: Value| -> Forge {
        Box::new(move |receipt| receipt[key] = value.clone())
    };
    let pays = || transfer_log(token(), buyer, seller(), VALUE);
    let of = |value: u64| transfer_log(token(), buyer, seller(), value);
    let change = |path: &'static str, value: Value| -> Forge {
        Box::new(move |receipt| *receipt.pointer_mut(path).unwrap() = value.clone())
    };
    let mismatch = Err(Reason::InvalidExactEvmTransferEventMismatch);
    let (pending, fault) = (Err(Reason::SettlementPending), Err(Reason::UnexpectedVerifyError));
    let half = pays()["data"].as_str().unwrap()[..34].to_string();
    let longer = pays()["data"].as_str().unwrap().to_string() + "00";
    let table: Vec<(&str, Forge, Result<(), Reason>)> = vec![
        ("paid", Box::new(|_| {}), Ok(())),
        ("more", logs(vec![of(VALUE + 1)]), Ok(())),
        ("less", logs(vec![of(VALUE - 1)]), mismatch),
        ("in two parts", logs(vec![of(VALUE / 2), of(VALUE / 2)]), mismatch),
        ("twice", logs(vec![pays(), pays()]), Ok(())),
        (
            "among others",
            logs(vec![transfer_log(other, buyer, seller(), 1), of(1), pays()]),
            Ok(()),
        ),
        ("nothing", logs(vec![]), mismatch),
        ("another token", logs(vec![transfer_log(other, buyer, seller(), VALUE)]), mismatch),
        ("to another", logs(vec![transfer_log(token(), buyer, other, VALUE)]), mismatch),
        ("by another", logs(vec![transfer_log(token(), other, seller(), VALUE)]), mismatch),
        ("given up", change("/logs/0/removed", json!(true)), mismatch),
        ("less data", change("/logs/0/data", json!(half)), mismatch),
        ("more data", change("/logs/0/data", json!(longer)), mismatch),
        ("another event", change("/logs/0/topics/0", json!(B256::repeat_byte(1))), mismatch),
        (
            "more topics",
            change(
                "/logs/0/topics",
                json!([Transfer::SIGNATURE_HASH, word(buyer), word(seller()), hash]),
            ),
            mismatch,
        ),
        // Paid once, by an authorization.
        ("authorised", logs(vec![used_log(buyer, hash), pays()]), mismatch),
        ("authorised, later", logs(vec![pays(), used_log(buyer, hash)]), mismatch),
        ("authorised by another", logs(vec![used_log(other, hash), pays()]), Ok(())),
        ("sent by another", set("from", json!(other)), mismatch),
        ("sent to another contract", set("to", json!(other)), mismatch),
        ("sent by nobody knows whom", set("from", Value::Null), mismatch),
        ("a deployment", set("to", Value::Null), mismatch),
        ("failed", set("status", json!("0x0")), Err(Reason::InvalidExactEvmTransactionFailed)),
        (
            "of no status",
            set("status", json!("0x2")),
            Err(Reason::InvalidExactEvmTransactionFailed),
        ),
        ("in another block", set("blockHash", json!(hash)), pending),
        ("in a block to come", set("blockNumber", json!("0xffff")), pending),
        ("in no number's block", set("blockNumber", json!("0xffffffffffffffff")), pending),
        ("of another hash", set("transactionHash", json!(B256::repeat_byte(2))), fault),
        ("without logs", set("logs", Value::Null), fault),
    ];
    for (name, forge, expected) in table {
        let net = Net::new(1).await;
        net.world(|world| transferred(world, hash, forge));
        let payment = proven(&proof(&by_transfer("a"), URL, &payer(), hash), NOW);
        let ledger = proof_ledger(&net);
        assert_eq!(ledger.check(payment.as_ref(), NOW).await, expected, "{name}");
        assert_eq!(ledger.prove(payment.as_ref()).await, expected, "{name}");
        let (transaction, outcome) = settle(&ledger, &payment).await;
        assert_eq!(transaction, *hash.to_string(), "{name}");
        let outcomes = match expected {
            Ok(()) => Outcome::Settled(transaction),
            Err(reason @ Reason::InvalidExactEvmTransactionFailed) => Outcome::Failed(reason),
            Err(_) => Outcome::Pending,
        };
        assert_eq!(outcome, outcomes, "{name}");
        assert!(net.world(|world| world.sent.is_empty()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_transfers_pay() {
    let hash = B256::repeat_byte(0x11);
    let net = Net::new(1).await;
    let request = proof(&by_transfer("a"), URL, &payer(), hash);
    let check =
        async |ledger: &EvmLedger, now| ledger.check(proven(&request, now).as_ref(), now).await;
    let (ledger, pending) = (proof_ledger(&net), Err(Reason::SettlementPending));
    assert_eq!(check(&ledger, NOW).await, pending, "not there");
    net.world(|world| transferred(world, hash, |_| {}));
    let time = net.world(|world| world.now().time);
    let old = Err(Reason::PaymentExpired);
    for (now, expected) in [
        (time, Ok(())),
        (time + MAX_AGE, Ok(())),
        (time + MAX_AGE + 1, old),
        (u64::MAX, old),
        (time - 900, Ok(())),
        (time - 901, pending),
        (0, pending),
    ] {
        assert_eq!(check(&ledger, now).await, expected, "{now} of {time}");
    }
    let with = |set: fn(&mut EvmChain)| {
        let mut chain = net.chain();
        chain.max_proof_age = Duration::from_secs(MAX_AGE);
        set(&mut chain);
        EvmLedger::new().with_chain(chain, vec![sender()])
    };
    let longest = with(|chain| chain.max_proof_age = Duration::MAX);
    assert_eq!(check(&longest, time + 3600).await, Ok(()));
    assert_eq!(check(&longest, time + 3601).await, old);
    let none = with(|chain| chain.max_proof_age = Duration::from_millis(999));
    assert_eq!(check(&none, time).await, Err(Reason::UnsupportedPayloadType));
    let deep = with(|chain| chain.confirmations = 3);
    for expected in [pending, pending, Ok(())] {
        assert_eq!(check(&deep, time).await, expected);
        net.world(|world| world.mine(1));
    }
    net.world(|world| world.reorg(4));
    assert_eq!(check(&ledger, time).await, pending, "given up");
    let outcome = ledger.confirm(proven(&request, time).as_ref(), &Transaction::new()).await;
    assert_eq!(outcome, Outcome::Pending);
    // A witness who knows of no such transaction is enough to wait.
    let two = Net::new(2).await;
    two.world(|world| transferred(world, hash, |_| {}));
    *two.hooks[1].lock().unwrap() = Box::new(|_, method, _| match method {
        "eth_getTransactionReceipt" => Reply::Result(Value::Null),
        _ => Reply::Honest,
    });
    let mut chain = two.chain();
    (chain.witnesses, chain.max_proof_age) = (2, Duration::from_secs(MAX_AGE));
    let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
    assert_eq!(check(&ledger, NOW).await, Err(Reason::UnexpectedVerifyError));
    let elsewhere = EvmLedger::<LocalKey>::new();
    assert_eq!(check(&elsewhere, NOW).await, Err(Reason::InvalidNetwork));
}

/// Of all who present one transaction, one is served: who sent it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_transaction_pays_once() {
    let (hash, other) = (B256::repeat_byte(0x11), B256::repeat_byte(0x22));
    let net = Net::new(1).await;
    net.world(|world| {
        transferred(world, hash, |_| {});
        // Of two transfers, both of which would do.
        let paid = transfer_log(token(), address(&payer()), seller(), VALUE);
        transferred(world, other, |receipt| receipt["logs"] = json!([paid.clone(), paid]));
    });
    let evm = ExactOnEvm { transfer_proofs: true, ..ExactOnEvm::default() };
    let with = LocalFacilitator::with_parts;
    let facilitator = with(proof_ledger(&net), Durable::default(), NOW).with_scheme(evm);
    let settle = async |request: VerifyRequest| {
        let answer = facilitator.settle(&request).await.unwrap();
        answer.error_reason.unwrap_or_else(|| answer.transaction.clone())
    };
    let (a, b) = (by_transfer("a"), by_transfer("b"));
    // Whoever else presents it first gets nothing, and takes nothing from who sent it.
    let mismatch = "invalid_exact_evm_transfer_event_mismatch";
    assert_eq!(settle(proof(&a, URL, &key(3), hash)).await, mismatch);
    for _ in 0..2 {
        let verified = facilitator.verify(&proof(&a, URL, &payer(), hash)).await.unwrap();
        assert!(verified.is_valid, "{verified:?}");
    }
    assert_eq!(settle(proof(&a, URL, &payer(), hash)).await, hash.to_string());
    let again = "duplicate_settlement";
    assert_eq!(settle(proof(&a, URL, &payer(), hash)).await, again);
    assert_eq!(settle(proof(&b, URL, &payer(), hash)).await, again);
    assert_eq!(settle(proof(&a, "http://shop/two", &payer(), hash)).await, again);
    assert_eq!(settle(proof(&a, URL, &key(3), hash)).await, mismatch);
    assert_eq!(settle(proof(&b, URL, &payer(), other)).await, other.to_string());
    assert_eq!(settle(proof(&a, URL, &payer(), other)).await, again);
    // On a chain that nobody has nodes of.
    let mut elsewhere = by_transfer("a");
    elsewhere.network = "eip155:8453".parse().unwrap();
    assert_eq!(settle(proof(&elsewhere, URL, &payer(), hash)).await, "invalid_network");
    assert!(net.world(|world| world.sent.is_empty()));
}

/// What was settled by an authorization is not paid with again as a transfer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_is_no_transfer() {
    let net = Net::new(1).await;
    let ledger = proof_ledger(&net);
    let (transaction, outcome) = settle(&ledger, &payment(1)).await;
    assert_eq!(outcome, Outcome::Settled(transaction.clone()));
    // As it would be if the payer had sent it.
    net.hook(|world, method, params| {
        let mut receipt = world.answer(method, params).unwrap();
        if method != "eth_getTransactionReceipt" {
            return Reply::Result(receipt);
        }
        (receipt["from"], receipt["to"]) = (json!(address(&payer())), json!(token()));
        Reply::Result(receipt)
    });
    let hash = transaction.parse().unwrap();
    let payment = proven(&proof(&by_transfer("a"), URL, &payer(), hash), NOW);
    let mismatch = Err(Reason::InvalidExactEvmTransferEventMismatch);
    assert_eq!(ledger.check(payment.as_ref(), NOW).await, mismatch);
}

// ---- what costs gas for nothing

/// A payer's balance counts together with what is on its way, in whatever order they are sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_balance_pays_for_what_it_covers_and_no_more() {
    let net = Net::new(1).await;
    net.world(|world| {
        world.auto = false;
        let tokens = &mut world.blocks.last_mut().unwrap().tokens;
        tokens.insert(address(&payer()), U256::from(2 * VALUE));
    });
    let ledger = net.ledger();
    // What is given up takes nothing.
    drop(ledger.prepare(payment(9).as_ref()).await.unwrap());
    let mut sent = Vec::new();
    for n in [1, 2] {
        let (transaction, unsent) = ledger.prepare(payment(n).as_ref()).await.unwrap();
        ledger.send(unsent).await;
        sent.push((n, transaction));
    }
    for n in [3, 4] {
        assert_eq!(ledger.check(payment(n).as_ref(), NOW).await, Err(Reason::Busy));
        assert_eq!(ledger.prepare(payment(n).as_ref()).await.unwrap_err(), Reason::Busy);
    }
    // A payment that is on its way itself is no reason against it.
    assert_eq!(ledger.check(payment(1).as_ref(), NOW).await, Ok(()));
    net.world(|world| world.mine(1));
    for (n, transaction) in sent {
        let outcome = ledger.confirm(payment(n).as_ref(), &transaction).await;
        assert_eq!(End::of(&transaction, &outcome), End::Own);
    }
    let poor = Err(Reason::InvalidExactEvmInsufficientBalance);
    assert_eq!(ledger.check(payment(3).as_ref(), NOW).await, poor);
    assert_eq!(net.world(|world| world.sent.len()), 2);
    assert_eq!(ledger.gas_lost(), [(CHAIN_ID, Default::default())]);
}

/// What cannot be mined in time is not sent, however long the chain's blocks take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_must_outlive_two_blocks() {
    let late = Reason::InvalidExactEvmPayloadAuthorizationValidBefore;
    // Seconds a block takes, seconds that the payment is good for yet, whether that is enough.
    for (seconds, left, enough) in
        [(1, 15, true), (12, 25, true), (12, 24, false), (12, 8, false), (1, 2, false)]
    {
        let net = Net::new(1).await;
        net.world(|world| {
            let newest = world.blocks.len() as u64 - 1;
            for (number, block) in world.blocks.iter_mut().enumerate() {
                block.time = NOW + 60 - left - seconds * (newest - number as u64);
            }
        });
        let ledger = net.ledger();
        let checked = ledger.check(payment(1).as_ref(), NOW).await;
        let prepared = ledger.prepare(payment(1).as_ref()).await.map(|_| ());
        let expected = if enough { Ok(()) } else { Err(late) };
        assert_eq!((checked, prepared), (expected, expected), "{seconds} {left}");
    }
}

/// Accounts that have code can say one thing and do another: they are not paid for unless told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_is_not_paid_for_unless_it_is_taken() {
    let net = Net::new(1).await;
    net.world(|world| world.accounts.insert(address(&payer()), true));
    let mut chain = net.chain();
    chain.smart_wallets = false;
    let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
    let refused = Reason::InvalidExactEvmSignature;
    assert_eq!(ledger.check(payment(1).as_ref(), NOW).await, Err(refused));
    assert_eq!(ledger.prepare(payment(1).as_ref()).await.unwrap_err(), refused);
    assert!(net.world(|world| world.sent.is_empty()));
    // Where they are taken, few at a time.
    let mut chain = net.chain();
    chain.code_at_once = 1;
    let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
    let first = ledger.prepare(payment(1).as_ref()).await.unwrap();
    assert_eq!(ledger.prepare(payment(2).as_ref()).await.unwrap_err(), Reason::Busy);
    drop(first);
    assert!(ledger.prepare(payment(2).as_ref()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_made_a_transaction_fail_waits() {
    for has_code in [false, true] {
        let net = Net::new(1).await;
        net.world(|world| {
            world.auto = false;
            if has_code {
                world.accounts.insert(address(&payer()), true);
            }
        });
        let ledger = net.ledger();
        let (transaction, unsent) = ledger.prepare(payment(1).as_ref()).await.unwrap();
        ledger.send(unsent).await;
        // The money is gone when the transaction is mined.
        let tokens = net.world(|world| {
            let tokens = std::mem::take(&mut world.blocks.last_mut().unwrap().tokens);
            world.mine(1);
            tokens
        });
        for _ in 0..2 {
            assert_eq!(ledger.confirm(payment(1).as_ref(), &transaction).await, Outcome::Pending);
        }
        net.world(|world| world.blocks.last_mut().unwrap().tokens = tokens);
        assert_eq!(ledger.check(payment(2).as_ref(), NOW).await, Err(Reason::Busy), "{has_code}");
        assert_eq!(ledger.prepare(payment(2).as_ref()).await.unwrap_err(), Reason::Busy);
        let [(_, lost)] = ledger.gas_lost()[..] else { panic!("one chain") };
        assert_eq!((lost.transactions, lost.gas), (1, 1), "counted once");
    }
}

/// A payer who is told "failed" pays again: that must never be taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_is_surer_than_settled() {
    let ends: [fn(&mut World); 2] = [
        |world| world.mine(120),
        |world| {
            let nonce = B256::repeat_byte(1);
            world.elsewhere(Does::Cancel { from: address(&payer()), nonce });
        },
    ];
    for end in ends {
        let net = Net::new(1).await;
        let mut chain = net.chain();
        (chain.failed_after, chain.confirm_time) = (3, Duration::from_millis(200));
        let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
        net.world(end);
        let transaction = Transaction::try_from("0x00").unwrap();
        for _ in 0..3 {
            let outcome = ledger.confirm(payment(1).as_ref(), &transaction).await;
            assert_eq!(outcome, Outcome::Pending);
            net.world(|world| world.mine(1));
        }
        let outcome = ledger.confirm(payment(1).as_ref(), &transaction).await;
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }
}

// ---- nodes that come and go

/// A node that was down at first is asked which chain it is of before anything else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_up_late_says_first_who_it_is() {
    let net = Net::new(2).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let is_up = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (seen, up) = (asked.clone(), is_up.clone());
    *net.hooks[1].lock().unwrap() = Box::new(move |_, method, _| {
        seen.lock().unwrap().push(method.to_owned());
        match (up.load(Ordering::SeqCst), method) {
            (false, _) => Reply::Status(503),
            (true, "eth_chainId") => Reply::Result(json!("0x1")),
            (true, _) => Reply::Result(json!("0x0")),
        }
    });
    let ledger = net.ledger();
    let (transaction, outcome) = settle(&ledger, &payment(1)).await;
    assert_eq!(End::of(&transaction, &outcome), End::Own);
    is_up.store(true, Ordering::SeqCst);
    assert_eq!(ledger.ready().await, Err(NotReady::WrongChain { chain_id: CHAIN_ID }));
    let (transaction, outcome) = settle(&ledger, &payment(2)).await;
    assert_eq!(End::of(&transaction, &outcome), End::Own);
    let asked = asked.lock().unwrap().clone();
    assert!(asked.iter().all(|method| method == "eth_chainId"), "{asked:?}");
}

/// No single node sets everybody's price.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tip_is_the_least_that_nodes_name() {
    let net = Net::new(2).await;
    net.hook(|_, method, _| match method {
        "eth_maxPriorityFeePerGas" => Reply::Result(json!(format!("{:#x}", 3 * GWEI))),
        _ => Reply::Honest,
    });
    settle(&net.ledger(), &payment(1)).await;
    assert_eq!(net.world(|world| world.sent[0].per_gas), 2 * GWEI + GWEI / 100);
}

/// A payment for which gas would cost more than it is worth is not settled, where the coin's price
/// is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gas_is_held_against_what_is_paid() {
    for (price, expected) in
        [(Some("$1"), Ok(())), (Some("$100000000"), Err(Reason::Busy)), (None, Ok(()))]
    {
        let net = Net::new(1).await;
        let mut chain = net.chain();
        chain.coin_price = price.map(|price| Money::parse(price).unwrap());
        let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
        let prepared = ledger.prepare(payment(1).as_ref()).await.map(|_| ());
        assert_eq!(prepared, expected, "{price:?}");
    }
}

// ---- what an earlier life left behind

/// A transaction that was written down and never sent is sent, or another one in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_down_is_sent_by_the_next_life() {
    for nonce_taken in [false, true] {
        let net = Net::new(1).await;
        let before = net.ledger();
        let (transaction, unsent) = before.prepare(payment(1).as_ref()).await.unwrap();
        let raw = before.raw(&unsent);
        drop((unsent, before));
        let ledger = net.ledger();
        if nonce_taken {
            let (transaction, outcome) = settle(&ledger, &payment(2)).await;
            assert_eq!(End::of(&transaction, &outcome), End::Own);
        }
        ledger.recover(payment(1).as_ref(), &transaction, &raw).await;
        ledger.tend().await;
        let outcome = ledger.confirm(payment(1).as_ref(), &transaction).await;
        let expected = if nonce_taken { End::Other } else { End::Own };
        assert_eq!(End::of(&transaction, &outcome), expected);
        // Once more changes nothing, nor does what is not a transaction.
        let sent = net.world(|world| world.sent.len());
        for raw in [&raw[..], &raw[1..], b""] {
            ledger.recover(payment(1).as_ref(), &transaction, raw).await;
            ledger.tend().await;
        }
        assert_eq!(net.world(|world| world.sent.len()), sent);
        assert_eq!(net.paid(), if nonce_taken { 2 * VALUE } else { VALUE });
    }
}

/// A facilitator that died between writing down and sending has its successor settle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_settlement_is_finished_by_the_keeper() {
    let net = Net::new(1).await;
    // It is lost on its way, and so is whoever sent it.
    net.hook(|_, method, _| if is_send(method) { Reply::Status(503) } else { Reply::Honest });
    let mut chain = net.chain();
    (chain.confirm_time, chain.resend_after) = (Duration::from_millis(100), Duration::MAX);
    let store = Arc::new(MemoryStore::default());
    let ledger = EvmLedger::new().with_chain(chain, vec![sender()]);
    let facilitator = LocalFacilitator::with_parts(ledger, Arc::clone(&store), NOW);
    let answer = facilitator.settle(&request(1)).await.unwrap();
    assert_eq!(answer.error_reason.as_deref(), Some("settlement_pending"));
    assert_eq!(net.paid(), 0);
    drop(facilitator);
    net.hook(|_, _, _| Reply::Honest);
    tokio::time::sleep(x402_std::store::PENDING_AFTER).await;
    let next = Arc::new(LocalFacilitator::with_parts(net.ledger(), Arc::clone(&store), NOW));
    let keeping = tokio::spawn(Arc::clone(&next).keep());
    let id = settlement_id(payment(1).payment());
    let since = std::time::Instant::now();
    while !matches!(next.settlement(id).await, Ok(Some(ClaimState::Settled(_)))) {
        assert!(since.elapsed() < Duration::from_secs(20), "nobody finishes it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    keeping.abort();
    assert_eq!(net.paid(), VALUE);
}

/// A send that hangs holds up nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_send_holds_up_nobody() {
    let net = Net::new(1).await;
    net.hook(first_send(|_, _| Reply::Late(60_000)));
    let ledger = Arc::new(net.ledger());
    let (_, unsent) = ledger.prepare(payment(1).as_ref()).await.unwrap();
    let sending = Arc::clone(&ledger);
    let first = tokio::spawn(async move { sending.send(unsent).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (_, unsent) = ledger.prepare(payment(2).as_ref()).await.unwrap();
    assert!(!first.is_finished());
    ledger.send(unsent).await;
    assert_eq!(net.world(|world| world.sent.len()), 1);
    first.abort();
}

/// An account that is stuck behind a transaction which nobody knows of goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_transaction_does_not_hold_up_an_account_for_ever() {
    let net = Net::new(1).await;
    let account = address(&sender());
    net.world(|world| {
        let (hash, does) = (B256::repeat_byte(0xdd), Does::Nothing);
        let cheap = Tx { hash, from: account, nonce: 0, per_gas: GWEI / 2, does };
        world.pool.insert((account, 0), cheap);
    });
    let ledger = net.ledger();
    let (transaction, unsent) = ledger.prepare(payment(1).as_ref()).await.unwrap();
    ledger.send(unsent).await;
    assert_eq!(net.paid(), 0, "it waits");
    let since = std::time::Instant::now();
    while net.paid() == 0 {
        assert!(since.elapsed() < Duration::from_secs(20), "it is stuck");
        ledger.tend().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let outcome = ledger.confirm(payment(1).as_ref(), &transaction).await;
    assert_eq!(End::of(&transaction, &outcome), End::Own);
    assert_eq!(net.world(|world| world.nonce(account)), 2);
}

/// More than may wait at once waits for a place, and is busy only after a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_above_the_places_waits_for_one() {
    let net = Net::new(1).await;
    net.world(|world| world.auto = false);
    let mut chain = net.chain();
    (chain.at_once, chain.confirm_time) = (1, Duration::from_secs(20));
    let ledger = Arc::new(EvmLedger::new().with_chain(chain, vec![sender()]));
    let (_, unsent) = ledger.prepare(payment(1).as_ref()).await.unwrap();
    ledger.send(unsent).await;
    let waiting = Arc::clone(&ledger);
    let second =
        tokio::spawn(async move { waiting.prepare(payment(2).as_ref()).await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!second.is_finished());
    net.world(|world| world.mine(1));
    assert_eq!(second.await.unwrap(), Ok(()));
    let mut chain = net.chain();
    (chain.at_once, chain.confirm_time) = (1, Duration::from_millis(200));
    let impatient = EvmLedger::new().with_chain(chain, vec![sender()]);
    let (_, unsent) = impatient.prepare(payment(3).as_ref()).await.unwrap();
    impatient.send(unsent).await;
    assert_eq!(impatient.prepare(payment(4).as_ref()).await.unwrap_err(), Reason::Busy);
}
