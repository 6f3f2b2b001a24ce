//! Buyers that send the transfer themselves, over a node that errs; and the weather API of the
//! example, which sells to them.
#![cfg(feature = "evm-ledger")]

#[path = "common/durable.rs"]
mod durable;
#[path = "../examples/sei_weather.rs"]
#[allow(dead_code, unreachable_pub)] // an example has a main
mod sei_weather;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_consensus::{Signed, TxEip1559, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use durable::Durable;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use x402_core::buyer::Wallet;
use x402_core::crypto::secp256k1::{K256, LocalKey};
use x402_core::crypto::{
    AsyncSigner, Recover, RecoverableSignature, Secp256k1, SignError, Signer, keccak256 as keccak,
};
use x402_core::{Amount, Reason, Version};
use x402_evm::{TRANSFER_METHOD, assets};
use x402_std::SystemClock;
use x402_std::buyer::client::{Client, HttpTransport};
use x402_std::buyer::wallet::{
    EvmWallet, NotOwn, PaymentSigner, SignFailure, TransferFailure, TransferWallet,
};
use x402_std::buyer::{BuyError, Buyer};
use x402_std::facilitator::LocalFacilitator;
use x402_std::facilitator::ledger::{EvmChain, EvmLedger};
use x402_std::message::{PaymentRequired, PaymentRequirements};
use x402_std::rpc::Nodes;
use x402_std::scheme::ExactOnEvm;
use x402_std::seller::{Offers, Seller, exact};
use x402_std::transport::Transport;

use sei_weather::Weather;

const CHAIN_ID: u64 = 1328;
const NETWORK: &str = "eip155:1328";
const SELLER: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
const PRICE: u64 = 1000;
const URL: &str = "http://shop/weather";

fn key(n: u8) -> LocalKey {
    LocalKey::from_bytes(&[n; 32]).unwrap()
}

fn address(key: &LocalKey) -> Address {
    Address::new(Signer::public_key(key))
}

fn payer() -> Address {
    address(&key(7))
}

fn token() -> Address {
    Address::new(assets::default_of(CHAIN_ID).unwrap().address.0)
}

fn seller() -> Address {
    Address::new(x402_evm::Address::parse(SELLER).unwrap().0)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

// ---- a chain with a token, and its node

#[derive(Clone)]
struct Tx {
    hash: B256,
    from: Address,
    nonce: u64,
    to: Address,
    value: u64,
}

/// What becomes of a transfer that is mined.
#[derive(Clone, Copy, PartialEq)]
enum Mined {
    Made,
    Reverted,
    /// The token takes it, and logs nothing.
    Unlogged,
}

struct World {
    chain_id: u64,
    /// Hash and time of each block.
    blocks: Vec<(B256, u64)>,
    tokens: HashMap<Address, u64>,
    coins: u64,
    nonces: HashMap<Address, u64>,
    pool: Vec<Tx>,
    receipts: HashMap<B256, Value>,
    /// Whether what comes in is mined.
    mines: bool,
    mined: Mined,
    /// Methods the node does not answer.
    down: Vec<&'static str>,
    /// Whether the node takes transactions, as it says.
    refuses: Option<&'static str>,
    /// Whether it takes transactions and does not say so.
    silent: bool,
    told: usize,
}

type Shared = Arc<Mutex<World>>;

impl World {
    fn mine(&mut self) {
        let number = self.blocks.len();
        let hash = keccak256(format!("block {number}"));
        self.blocks.push((hash, now()));
        self.pool.sort_by_key(|tx| tx.nonce);
        for tx in std::mem::take(&mut self.pool) {
            let nonce = self.nonces.entry(tx.from).or_default();
            if tx.nonce != *nonce {
                self.pool.push(tx);
                continue;
            }
            *nonce += 1;
            let mut logs = json!([]);
            if self.mined == Mined::Made {
                *self.tokens.entry(tx.from).or_default() -= tx.value;
                *self.tokens.entry(tx.to).or_default() += tx.value;
                let topics = [
                    keccak256("Transfer(address,address,uint256)"),
                    tx.from.into_word(),
                    tx.to.into_word(),
                ];
                let data = Bytes::from(U256::from(tx.value).to_be_bytes_vec());
                logs = json!([{ "address": token(), "topics": topics, "data": data }]);
            }
            let receipt = json!({
                "transactionHash": tx.hash,
                "from": tx.from,
                "to": token(),
                "blockHash": hash,
                "blockNumber": format!("{number:#x}"),
                "status": if self.mined == Mined::Reverted { "0x0" } else { "0x1" },
                "logs": logs,
            });
            self.receipts.insert(tx.hash, receipt);
        }
    }

    fn balance(&self, account: Address) -> u64 {
        self.tokens.get(&account).copied().unwrap_or(0)
    }

    fn send(&mut self, raw: &[u8]) -> Result<Value, (i64, String)> {
        self.told += 1;
        if let Some(why) = self.refuses {
            return Err((-32000, why.into()));
        }
        let tx = decode(raw);
        let known = self.pool.iter().any(|other| other.hash == tx.hash);
        if known || self.receipts.contains_key(&tx.hash) {
            return Err((-32000, "already known".into()));
        }
        if tx.nonce < self.nonces.get(&tx.from).copied().unwrap_or(0) {
            return Err((-32000, "nonce too low".into()));
        }
        let hash = tx.hash;
        self.pool.push(tx);
        if self.mines {
            self.mine();
        }
        Ok(json!(hash))
    }

    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, (i64, String)> {
        let hex = |n: u64| json!(format!("{n:#x}"));
        let read = |value: &Value| serde_json::from_value::<Bytes>(value.clone()).unwrap();
        let account = || serde_json::from_value::<Address>(params[0].clone()).unwrap();
        Ok(match method {
            "eth_chainId" => hex(self.chain_id),
            "eth_blockNumber" => hex(self.blocks.len() as u64 - 1),
            "eth_maxPriorityFeePerGas" => hex(10_000_000),
            "eth_feeHistory" => json!({ "baseFeePerGas": ["0x3b9aca00", "0x3b9aca00"] }),
            "eth_gasPrice" => hex(1_000_000_000),
            "eth_getBalance" => hex(self.coins),
            "eth_getTransactionCount" => {
                let mined = self.nonces.get(&account()).copied().unwrap_or(0);
                let waiting = self.pool.iter().filter(|tx| tx.from == account()).count();
                hex(if params[1] == "pending" { mined + waiting as u64 } else { mined })
            }
            "eth_estimateGas" => {
                assert_eq!(params[0]["from"], json!(payer()));
                assert_eq!(params[0]["to"], json!(token()));
                if self.balance(payer()) < call(&read(&params[0]["data"])).unwrap().1 {
                    return Err((3, "execution reverted: transfer amount exceeds balance".into()));
                }
                hex(60_000)
            }
            "eth_sendRawTransaction" => self.send(&read(&params[0]))?,
            "eth_getTransactionReceipt" => {
                let hash: B256 = serde_json::from_value(params[0].clone()).unwrap();
                self.receipts.get(&hash).cloned().unwrap_or(Value::Null)
            }
            "eth_getBlockByNumber" => {
                let number = params[0].as_str().unwrap().trim_start_matches("0x");
                let block = self.blocks.get(usize::from_str_radix(number, 16).unwrap());
                block.map_or(Value::Null, |(hash, time)| {
                    json!({ "hash": hash, "number": params[0], "timestamp": hex(*time) })
                })
            }
            _ => panic!("{method}"),
        })
    }
}

/// The payee and the amount of a transfer's call.
fn call(data: &[u8]) -> Option<(Address, u64)> {
    let arguments = data.strip_prefix(&keccak(&[b"transfer(address,uint256)"])[..4])?;
    let (to, value) = arguments.split_at_checked(32)?;
    Some((Address::from_slice(&to[12..]), U256::try_from_be_slice(value)?.try_into().ok()?))
}

fn decode(raw: &[u8]) -> Tx {
    let (hash, digest, signature, nonce, contract, input) = if raw[0] == 2 {
        let signed = Signed::<TxEip1559>::eip2718_decode(&mut &*raw).unwrap();
        let tx = signed.tx();
        assert_eq!(tx.chain_id, CHAIN_ID);
        assert!(tx.value.is_zero());
        (
            *signed.hash(),
            signed.signature_hash(),
            *signed.signature(),
            tx.nonce,
            tx.to,
            tx.input.clone(),
        )
    } else {
        let signed = Signed::<TxLegacy>::rlp_decode(&mut &*raw).unwrap();
        let tx = signed.tx();
        assert_eq!(tx.chain_id, Some(CHAIN_ID));
        (
            *signed.hash(),
            signed.signature_hash(),
            *signed.signature(),
            tx.nonce,
            tx.to,
            tx.input.clone(),
        )
    };
    assert_eq!(contract.to(), Some(&token()));
    let r_s = [signature.r().to_be_bytes::<32>(), signature.s().to_be_bytes()].concat();
    let signature = RecoverableSignature::from_parts(r_s.try_into().unwrap(), signature.v());
    let from = Address::new(K256.recover(&digest.0, &signature.unwrap()).unwrap());
    let (to, value) = call(&input).unwrap();
    Tx { hash, from, nonce, to, value }
}

async fn rpc(State(world): State<Shared>, Json(call): Json<Value>) -> Response {
    let (method, params) = (call["method"].as_str().unwrap(), &call["params"]);
    let mut world = world.lock().unwrap();
    if world.down.contains(&method) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let answer = world.answer(method, params);
    if method == "eth_sendRawTransaction" && world.silent {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let mut envelope = json!({ "jsonrpc": "2.0", "id": call["id"] });
    match answer {
        Ok(result) => envelope["result"] = result,
        Err((code, message)) => envelope["error"] = json!({ "code": code, "message": message }),
    }
    Json(envelope).into_response()
}

/// What is served on loopback, until it is dropped.
struct Served {
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(app: Router) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    Served { url, task: tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }) }
}

struct Net {
    world: Shared,
    node: Served,
}

impl Net {
    async fn new() -> Self {
        let world = World {
            chain_id: CHAIN_ID,
            blocks: vec![(B256::ZERO, now())],
            tokens: [(payer(), 10 * PRICE)].into(),
            coins: 1_000_000_000_000_000_000,
            nonces: [(payer(), 3)].into(),
            pool: vec![],
            receipts: HashMap::new(),
            mines: true,
            mined: Mined::Made,
            down: vec![],
            refuses: None,
            silent: false,
            told: 0,
        };
        let world = Arc::new(Mutex::new(world));
        let node = serve(Router::new().route("/", post(rpc)).with_state(world.clone())).await;
        Self { world, node }
    }

    fn set<T>(&self, set: impl FnOnce(&mut World) -> T) -> T {
        set(&mut self.world.lock().unwrap())
    }

    fn chain(&self) -> EvmChain {
        let nodes = Nodes::new([&self.node.url]).unwrap();
        let nodes = nodes.with_timeout(Duration::from_millis(500)).with_attempts(1);
        let mut chain = EvmChain::new(CHAIN_ID, nodes);
        chain.confirm_time = Duration::from_millis(300);
        chain.poll_interval = Duration::from_millis(10);
        chain.resend_after = Duration::from_millis(30);
        chain
    }

    fn wallet(&self) -> TransferWallet<LocalKey> {
        TransferWallet::new(self.chain(), key(7))
    }

    /// A facilitator that takes transfers.
    fn facilitator(&self) -> LocalFacilitator<EvmLedger, Durable> {
        let mut chain = self.chain();
        chain.max_proof_age = Duration::from_secs(600);
        let ledger = EvmLedger::new().with_chain(chain, vec![key(9)]);
        let claims = Durable::default();
        LocalFacilitator::with_parts(ledger, claims, SystemClock).with_scheme(rules())
    }

    async fn shop(&self) -> Served {
        serve(weather(true).router(self.facilitator()).unwrap()).await
    }

    /// What was paid, and how many of the payer's transactions are mined.
    fn paid(&self) -> (u64, u64) {
        self.set(|world| (world.balance(seller()), world.nonces[&payer()] - 3))
    }

    fn told(&self) -> usize {
        self.set(|world| world.told)
    }
}

fn rules() -> ExactOnEvm {
    ExactOnEvm { transfer_proofs: true, ..ExactOnEvm::default() }
}

fn weather(transfers: bool) -> Weather {
    Weather { network: NETWORK.into(), pay_to: SELLER.into(), transfers }
}

fn offer() -> PaymentRequirements {
    let offer = exact(NETWORK, SELLER, "$0.001").unwrap().upfront();
    offer.with_extra("assetTransferMethod", TRANSFER_METHOD).with_extra("reference", "order 1")
}

async fn sign<K: AsyncSigner<Secp256k1> + Send>(
    wallet: &TransferWallet<K>,
    offer: &PaymentRequirements,
) -> Result<String, SignFailure> {
    let payload = wallet.sign(Some(URL), offer, now(), [1; 32]).await?;
    let payload: Value = serde_json::from_str(payload.as_str()).unwrap();
    assert_eq!(payload["from"], json!(wallet.address().to_string()));
    Ok(payload["txHash"].as_str().unwrap().into())
}

fn client<W: PaymentSigner>(wallet: W) -> Client<W> {
    Client::with_parts(Buyer::new(wallet), HttpTransport::new().unwrap())
}

// ---- the example

#[tokio::test]
async fn the_weather_is_sold_by_authorization() {
    let facilitator = Arc::new(sei_weather::simulated(NETWORK).unwrap());
    let shop = serve(weather(false).router(Arc::clone(&facilitator)).unwrap()).await;
    // The key that the example names.
    let key = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    let key = hex::decode(key).unwrap();
    let wallet = EvmWallet::new(LocalKey::from_bytes(&key.try_into().unwrap()).unwrap());
    assert_eq!(wallet.address().to_string(), sei_weather::BUYER);
    let bought = client(wallet).get(&format!("{}/weather", shop.url)).await.unwrap();
    let receipt = bought.receipt.unwrap();
    assert!(receipt.success);
    assert_eq!(receipt.network, NETWORK);
    assert_eq!(bought.response.json::<Value>().await.unwrap()["location"], "Lisbon");
    let usdc = assets::default_of(CHAIN_ID).unwrap().address;
    let seller = x402_evm::Address::parse(SELLER).unwrap();
    let paid = facilitator.ledger().balance(CHAIN_ID, usdc, seller);
    assert_eq!(paid, Amount::from(PRICE));
    // Those who read the body get it in version 1.
    let body = reqwest::get(format!("{}/weather", shop.url)).await.unwrap();
    let body: Value = body.json().await.unwrap();
    assert_eq!(body["x402Version"], 1);
    assert_eq!(body["accepts"][0]["network"], "sei-testnet");
    assert_eq!(body["accepts"][0]["maxAmountRequired"], "1000");
    assert_eq!(body["accepts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_weather_is_sold_by_transfer() {
    let net = Net::new().await;
    let shop = net.shop().await;
    let url = format!("{}/weather", shop.url);
    let client = client(net.wallet());
    let mut hashes = vec![];
    for n in 1..=2 {
        let bought = client.get(&url).await.unwrap();
        let receipt = bought.receipt.unwrap();
        assert!(receipt.success);
        assert_eq!(receipt.payer, Some(client.buyer().wallet().address().to_string()));
        assert_eq!(bought.response.json::<Value>().await.unwrap()["location"], "Lisbon");
        // Each purchase is a transfer, of the next nonce.
        assert_eq!(net.paid(), (n * PRICE, n));
        assert_eq!(net.told() as u64, n);
        hashes.push(receipt.transaction);
    }
    assert_ne!(hashes[0], hashes[1]);
    assert!(client.buyer().wallet().unpresented().is_empty());
}

/// A proof is for one resource, once.
#[tokio::test]
async fn a_proof_buys_once() {
    let net = Net::new().await;
    let shop = net.shop().await;
    let url = format!("{}/weather", shop.url);
    let buyer = Buyer::new(net.wallet());
    let transport = HttpTransport::new().unwrap();
    let request = reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
    let required = transport.exchange(&request, None).await.unwrap().challenge.unwrap().unwrap();
    let index = required.accepts.len() - 1;
    let payment = buyer.sign(&required, index).await.unwrap();
    let served = transport.exchange(&request, Some(&payment)).await.unwrap();
    assert_eq!(served.response.status(), 200);
    for _ in 0..2 {
        let again = transport.exchange(&request, Some(&payment)).await.unwrap();
        assert_eq!(again.response.status(), 402);
        let receipt = again.receipt.unwrap();
        assert_eq!(receipt.error_reason.as_deref(), Some("duplicate_settlement"));
    }
    // Signed for something else of the same seller's.
    let mut other = required.clone();
    other.resource.as_mut().unwrap().url = format!("{url}?city=Porto");
    let payment = buyer.sign(&other, index).await.unwrap();
    let refused = transport.exchange(&request, Some(&payment)).await.unwrap();
    assert_eq!(refused.response.status(), 402);
    assert_eq!(net.paid(), (2 * PRICE, 2));
}

/// Of two offers the one that moves nothing before there is something to be had.
#[tokio::test]
async fn authorizations_come_first() {
    let net = Net::new().await;
    let required = PaymentRequired {
        accepts: vec![offer(), exact(NETWORK, SELLER, "$0.001").unwrap()].into(),
        ..challenge(&Offers::from(offer()), Version::V2)
    };
    let both = Buyer::new((net.wallet(), EvmWallet::new(key(7))));
    let payment = both.sign(&required, 1).await.unwrap();
    assert!(payment.json.contains("authorization"));
    let chosen = both.policy().choose(&required, "", both.wallet()).unwrap();
    assert_eq!(chosen.index, 1);
    assert_eq!(net.told(), 0);
    // Whichever of a pair it is that pays, it signs, told what is bought.
    let turned = Buyer::new((EvmWallet::new(key(7)), Some(net.wallet())));
    for (n, buyer) in [(1, both.sign(&required, 0).await), (2, turned.sign(&required, 0).await)] {
        assert!(buyer.unwrap().json.contains("txHash"));
        assert!(net.told() >= n);
    }
    assert_eq!(net.paid(), (2 * PRICE, 2));
}

fn challenge(terms: &Offers, version: Version) -> PaymentRequired {
    let json = terms.challenge(version, "").unwrap();
    PaymentRequired::from_json(json.as_bytes()).unwrap()
}

#[tokio::test]
async fn proofs_pass_in_either_version() {
    // Longer than a payload commonly is, and with what JSON escapes.
    let references = ["o".repeat(900), "\"\n".repeat(60)];
    let versions = references.iter().flat_map(|text| [(Version::V1, text), (Version::V2, text)]);
    for (version, reference) in versions {
        let net = Net::new().await;
        let mut terms = Offers::from(offer()).with_description("weather", "text/plain");
        terms.resource.url = URL.into();
        terms.accepts[0] = offer().with_extra("reference", reference.as_str());
        let seller = Seller::new(net.facilitator());
        let mut required = challenge(&terms, version);
        // An offer of version 1 says itself what is bought.
        required.resource = required.resource.filter(|_| version == Version::V2);
        let payment = Buyer::new(net.wallet()).sign(&required, 0).await.unwrap();
        let admission = seller.admit(&terms, version, payment.json.as_bytes()).await.unwrap();
        assert!(seller.settle(admission).await.unwrap().success, "{version:?}");
        assert_eq!(net.paid(), (PRICE, 1));
    }
    // In version 2 an offer alone does not say what is bought.
    let net = Net::new().await;
    let failed = net.wallet().sign(None, &offer(), now(), [1; 32]).await.unwrap_err();
    assert_eq!(failed, SignFailure::Offer(Reason::InvalidPaymentRequirements));
    assert_eq!(net.told(), 0);
}

// ---- what goes wrong

#[tokio::test]
async fn what_fails_before_it_is_sent_costs_nothing() {
    use TransferFailure::{Failed, Gas, Node};
    type Set = fn(&mut World);
    let table: [(&str, Set, TransferFailure); 10] = [
        ("another chain", |world| world.chain_id = 1329, Node),
        ("chain", |world| world.down.push("eth_chainId"), Node),
        ("gas", |world| world.down.push("eth_estimateGas"), Node),
        ("fees", |world| world.down.push("eth_feeHistory"), Node),
        ("nonce", |world| world.down.push("eth_getTransactionCount"), Node),
        ("coins", |world| world.down.push("eth_getBalance"), Node),
        ("tip", |world| world.down.push("eth_maxPriorityFeePerGas"), Node),
        ("no coins", |world| world.coins = 1000, Gas),
        (
            "no tokens",
            |world| world.tokens = [(payer(), PRICE - 1)].into(),
            Failed(Reason::InvalidExactEvmInsufficientBalance),
        ),
        (
            "no account",
            |world| world.tokens.clear(),
            Failed(Reason::InvalidExactEvmInsufficientBalance),
        ),
    ];
    for (name, set, expected) in table {
        let net = Net::new().await;
        net.set(set);
        let wallet = net.wallet();
        assert_eq!(sign(&wallet, &offer()).await, Err(SignFailure::Transfer(expected)), "{name}");
        assert_eq!(net.told(), 0, "{name}");
        assert!(wallet.unpresented().is_empty(), "{name}");
        // Nor does it take a nonce.
        net.set(|world| {
            world.down.clear();
            world.chain_id = CHAIN_ID;
            world.coins = u64::MAX;
            world.tokens.insert(payer(), PRICE);
        });
        sign(&wallet, &offer()).await.unwrap();
        assert_eq!(net.paid(), (PRICE, 1), "{name}");
    }
}

/// A key that signs so often, and then no more or badly.
struct Tired {
    left: Mutex<usize>,
    then: Option<LocalKey>,
}

impl Signer<Secp256k1> for Tired {
    fn public_key(&self) -> [u8; 20] {
        Signer::public_key(&key(7))
    }

    fn sign(&self, message: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        let mut left = self.left.lock().unwrap();
        match (left.checked_sub(1), &self.then) {
            (Some(less), _) => {
                *left = less;
                Signer::sign(&key(7), message)
            }
            (None, Some(other)) => Signer::sign(other, message),
            (None, None) => Err(SignError::Unavailable),
        }
    }
}

#[tokio::test]
async fn a_proof_that_cannot_be_signed_is_not_paid_for() {
    for (then, error) in [(None, SignError::Unavailable), (Some(key(8)), SignError::Invalid)] {
        let net = Net::new().await;
        let tired = Tired { left: Mutex::new(1), then };
        let wallet = TransferWallet::new(net.chain(), tired);
        assert_eq!(sign(&wallet, &offer()).await, Err(SignFailure::Sign(error)));
        assert_eq!((net.told(), wallet.unpresented()), (0, vec![]));
    }
    // When it was sent before, it may have been paid.
    let net = Net::new().await;
    net.set(|world| world.mines = false);
    let wallet = TransferWallet::new(net.chain(), Tired { left: Mutex::new(2), then: None });
    let sent = sign(&wallet, &offer()).await.unwrap_err();
    assert!(matches!(sent, SignFailure::Sent(_)));
    assert_eq!(sign(&wallet, &offer()).await, Err(sent));
}

#[tokio::test]
async fn offers_that_are_not_for_it() {
    let net = Net::new().await;
    let wallet = net.wallet();
    assert!(wallet.pays(&offer().as_view()));
    assert_eq!(wallet.decimals(&offer().as_view()), Some(6));
    let bare = exact(NETWORK, SELLER, "$0.001").unwrap();
    let change = |change: fn(&mut PaymentRequirements)| {
        let mut offer = offer();
        change(&mut offer);
        offer
    };
    let own = wallet.address().to_string();
    let method =
        |offer: PaymentRequirements| offer.with_extra("assetTransferMethod", TRANSFER_METHOD);
    for (name, offer) in [
        ("authorization", bare.clone()),
        ("no reference", method(bare.clone().upfront())),
        ("reference too long to be read", offer().with_extra("reference", "\n".repeat(999))),
        ("empty reference", offer().with_extra("reference", "")),
        ("settled later", method(bare.clone()).with_extra("reference", "order 1")),
        ("another chain", change(|offer| offer.network = "eip155:1329".parse().unwrap())),
        ("another scheme", change(|offer| offer.scheme = "upto".into())),
        ("nothing", change(|offer| offer.amount = Amount::ZERO)),
        ("no token", change(|offer| offer.asset = "USDC".into())),
        ("nobody", change(|offer| offer.pay_to = "you".into())),
        ("itself", PaymentRequirements { pay_to: own, ..offer() }),
    ] {
        assert!(!wallet.pays(&offer.as_view()), "{name}");
        let failed = sign(&wallet, &offer).await;
        assert!(matches!(failed, Err(SignFailure::Offer(_))), "{name}: {failed:?}");
    }
    assert_eq!(net.told(), 0);
    // A token that nobody vouches for has no known decimals, so that no policy allows it.
    let unknown = change(|offer| offer.asset = SELLER.into());
    assert_eq!(wallet.decimals(&unknown.as_view()), None);
}

#[tokio::test]
async fn a_transfer_that_is_reverted_moved_nothing() {
    let net = Net::new().await;
    let wallet = net.wallet();
    net.set(|world| world.mined = Mined::Reverted);
    let failed = TransferFailure::Failed(Reason::InvalidExactEvmTransactionFailed);
    assert_eq!(sign(&wallet, &offer()).await, Err(SignFailure::Transfer(failed)));
    assert_eq!(net.paid(), (0, 1));
    assert!(wallet.unpresented().is_empty());
    net.set(|world| world.mined = Mined::Made);
    sign(&wallet, &offer()).await.unwrap();
    assert_eq!(net.paid(), (PRICE, 2));
}

/// Whatever becomes of what was sent, no second transfer is sent for the same before that is known.
#[tokio::test]
async fn what_was_sent_is_not_sent_twice() {
    type Set = fn(&mut World);
    let table: [(&str, Set); 6] = [
        ("not mined", |world| world.mines = false),
        ("not taken", |world| world.refuses = Some("txpool is full")),
        ("not taken, they say", |world| world.refuses = Some("nonce too low")),
        ("nobody hears", |world| world.down.push("eth_sendRawTransaction")),
        ("taken in silence, not mined", |world| (world.silent, world.mines) = (true, false)),
        ("mined, and nobody says so", |world| world.down.push("eth_getTransactionReceipt")),
    ];
    for (name, set) in table {
        let net = Net::new().await;
        let (wallet, shop) = (net.wallet(), net.shop().await);
        net.set(set);
        let SignFailure::Sent(hash) = sign(&wallet, &offer()).await.unwrap_err() else {
            panic!("{name}");
        };
        assert_eq!(wallet.unpresented(), [hash], "{name}");
        assert_eq!(sign(&wallet, &offer()).await, Err(SignFailure::Sent(hash)), "{name}");
        // What is for another payee has its own.
        let other = PaymentRequirements { pay_to: format!("0x{:040x}", 1), ..offer() };
        let other = sign(&wallet, &other).await;
        assert!(matches!(other, Err(SignFailure::Sent(other)) if other != hash), "{name}");
        net.set(|world| {
            (world.mines, world.refuses, world.silent) = (true, None, false);
            world.down.clear();
            world.mine();
        });
        // It buys something else, of the same seller's at the same price.
        let client = client(wallet);
        let bought = client.get(&format!("{}/weather", shop.url)).await.unwrap();
        let receipt = bought.receipt.unwrap();
        assert_eq!(receipt.transaction, format!("0x{}", hex::encode(hash)), "{name}");
        assert_eq!(client.buyer().wallet().unpresented().len(), 1, "{name}");
        client.get(&format!("{}/weather", shop.url)).await.unwrap();
        assert_eq!(net.paid(), (2 * PRICE, 3), "{name}");
    }
}

#[tokio::test]
async fn a_buyer_is_told_that_it_may_have_paid() {
    let net = Net::new().await;
    let shop = net.shop().await;
    net.set(|world| world.mines = false);
    let client = client(net.wallet());
    let error = client.get(&format!("{}/weather", shop.url)).await.unwrap_err();
    let BuyError::NotSigned(SignFailure::Sent(hash)) = error else { panic!("{error:?}") };
    let hash = hex::encode(hash);
    assert!(error.to_string().contains(&format!("0x{hash} may have been sent")), "{error}");
}

#[tokio::test]
async fn a_token_that_takes_a_call_and_logs_nothing() {
    let net = Net::new().await;
    net.set(|world| world.mined = Mined::Unlogged);
    let wallet = net.wallet();
    let SignFailure::Sent(hash) = sign(&wallet, &offer()).await.unwrap_err() else { panic!() };
    net.set(|world| world.mined = Mined::Made);
    assert_eq!(sign(&wallet, &offer()).await, Err(SignFailure::Sent(hash)));
    // Until it is given up.
    assert!(!wallet.forget(&[0; 32]));
    assert!(wallet.forget(&hash));
    assert!(!wallet.forget(&hash));
    sign(&wallet, &offer()).await.unwrap();
    assert_eq!(net.paid(), (PRICE, 2));
}

#[tokio::test]
async fn who_stops_waiting_does_not_lose_it() {
    let net = Net::new().await;
    net.set(|world| world.mines = false);
    let wallet = net.wallet();
    let offer = offer();
    let stopped = tokio::time::timeout(Duration::from_millis(100), sign(&wallet, &offer)).await;
    assert!(stopped.is_err());
    let [hash] = wallet.unpresented()[..] else { panic!() };
    // Of two that want as much one has it, and the other sends its own.
    let mine = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        net.set(|world| {
            world.mines = true;
            world.mine();
        });
    };
    let (one, other, ()) = tokio::join!(sign(&wallet, &offer), sign(&wallet, &offer), mine);
    let mut hashes = [one.unwrap(), other.unwrap()];
    hashes.sort_by_key(|known| *known != format!("0x{}", hex::encode(hash)));
    assert_eq!(hashes[0], format!("0x{}", hex::encode(hash)));
    assert_ne!(hashes[0], hashes[1]);
    assert_eq!(net.paid(), (2 * PRICE, 2));
}

#[tokio::test]
async fn nothing_is_presented_before_it_is_deep() {
    let net = Net::new().await;
    let mut chain = net.chain();
    chain.confirmations = 3;
    let wallet = TransferWallet::new(chain, key(7));
    let SignFailure::Sent(hash) = sign(&wallet, &offer()).await.unwrap_err() else { panic!() };
    net.set(World::mine);
    assert_eq!(sign(&wallet, &offer()).await, Err(SignFailure::Sent(hash)));
    net.set(World::mine);
    assert_eq!(sign(&wallet, &offer()).await, Ok(format!("0x{}", hex::encode(hash))));
    assert_eq!(net.paid(), (PRICE, 1));
}

// ---- after the process died

#[tokio::test]
async fn what_was_written_down_is_resumed() {
    for (legacy, told) in [(false, false), (false, true), (true, false)] {
        let net = Net::new().await;
        // Either it died before anything was sent, or right after it.
        net.set(|world| match told {
            true => world.mines = false,
            false => world.down.push("eth_sendRawTransaction"),
        });
        let chain = || {
            let mut chain = net.chain();
            chain.legacy = legacy;
            chain
        };
        let recorded = Arc::new(Mutex::new(Vec::<String>::new()));
        let record = {
            let (recorded, world) = (recorded.clone(), net.world.clone());
            move |text: &str| {
                assert_eq!(world.lock().unwrap().told, 0, "sent before it was written down");
                recorded.lock().unwrap().push(text.into());
                Ok(())
            }
        };
        let died = TransferWallet::new(chain(), key(7)).with_record(record);
        let SignFailure::Sent(hash) = sign(&died, &offer()).await.unwrap_err() else { panic!() };
        drop(died);
        let [text] = &recorded.lock().unwrap().clone()[..] else { panic!() };
        net.set(|world| {
            world.down.clear();
            world.mines = true;
            world.mine();
        });
        let wallet = TransferWallet::new(chain(), key(7));
        for _ in 0..2 {
            wallet.resume(&format!("{text}\n")).await.unwrap();
        }
        assert_eq!(wallet.unpresented(), [hash]);
        assert_eq!(sign(&wallet, &offer()).await, Ok(format!("0x{}", hex::encode(hash))));
        assert_eq!(net.paid(), (PRICE, 1));
        // The next one is another, and takes the next nonce.
        sign(&wallet, &offer()).await.unwrap();
        assert_eq!(net.paid(), (2 * PRICE, 2));

        let other = TransferWallet::new(chain(), key(8));
        let mut elsewhere = chain();
        elsewhere.chain_id = 1329;
        let elsewhere = TransferWallet::new(elsewhere, key(7));
        assert_eq!(other.resume(text).await, Err(NotOwn));
        assert_eq!(elsewhere.resume(text).await, Err(NotOwn));
        for junk in ["", "0x", "0x02", "02", "0xzz", &text[2..], &text[..60], &format!("{text}00")]
        {
            assert_eq!(wallet.resume(junk).await, Err(NotOwn), "{junk}");
        }
        assert!(wallet.unpresented().is_empty() && other.unpresented().is_empty());
    }
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_sent() {
    let net = Net::new().await;
    let wallet = net.wallet().with_record(|_| Err(io::ErrorKind::StorageFull.into()));
    let failed = SignFailure::Transfer(TransferFailure::Record);
    assert_eq!(sign(&wallet, &offer()).await, Err(failed));
    assert_eq!((net.told(), wallet.unpresented()), (0, vec![]));
}

#[test]
fn nothing_secret_is_shown() {
    let nodes = Nodes::new(["https://node.example/secret"]).unwrap();
    let wallet = TransferWallet::new(EvmChain::new(CHAIN_ID, nodes), key(7));
    let shown = format!("{wallet:?}");
    assert!(shown.contains(&wallet.address().to_string()), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains(&"07".repeat(8)), "{shown}");
}
