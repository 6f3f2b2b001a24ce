//! Settling on Solana, against nodes that are honest, slow, confused and lying, over real sockets
//! on this machine.
#![cfg(feature = "svm-ledger")]
#![allow(missing_docs)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::Response;
use axum::{Router, routing::any};
use common::{SVM_NETWORK, SVM_SELLER, svm_usdc, svm_wallet};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use x402_core::Version;
use x402_core::claim::Transaction;
use x402_core::crypto::ed25519::{Dalek, LocalKey};
use x402_core::crypto::{Ed25519, SignError, Signer, Verify};
use x402_core::gate::{self, Verified};
use x402_core::{Reason, base64};
use x402_std::buyer::Buyer;
use x402_std::facilitator::ledger::{
    Commitment, Ledger, Networks, Outcome, SvmLedger, SvmNotReady, SvmSettings,
};
use x402_std::facilitator::{Facilitator, LocalFacilitator};
use x402_std::message::{PaymentPayload, PaymentRequired, PaymentRequirements, VerifyRequest};
use x402_std::rpc::Nodes;
use x402_std::scheme::{ExactOnSvm, SvmTransfer};
use x402_std::seller::{Offers, exact};
use x402_std::store::MemoryStore;
use x402_std::svm::{self, base58, message};

const GENESIS: &str = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG";
const BLOCKHASH: &str = "CmpNeggWJ4JaWJeJ8YKN1Zypmk7uvQq3PECGUCAEMbky";
const AMOUNT: u64 = 10_000;

/// A chain as its nodes see it. Every question about a signature takes it `step` slots further.
struct Chain {
    processed: u64,
    step: u64,
    /// Slots in which the blockhash is alive.
    alive: std::ops::Range<u64>,
    /// Transactions a node was sent, in order.
    sent: Vec<String>,
    /// How many of those are lost.
    loses: usize,
    /// In how many slots what is not lost lands.
    lands_in: u64,
    landed: Option<Landed>,
    /// The error that what lands ends in.
    err: Value,
    /// First slot that nodes know about.
    first: u64,
    /// Balances of source and destination, and what the fee payer has.
    balances: (u64, u64, u64),
    calls: Vec<String>,
    /// For lies that count.
    count: u64,
}

#[derive(Clone)]
struct Landed {
    slot: u64,
    err: Value,
    wire: String,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            processed: 1_000_000,
            step: 1,
            alive: 999_900..1_000_050,
            sent: Vec::new(),
            loses: 0,
            lands_in: 1,
            landed: None,
            err: Value::Null,
            first: 0,
            balances: (1_000_000, 5, 20_000_000),
            calls: Vec::new(),
            count: 0,
        }
    }
}

enum Reply {
    Is(Value),
    Error(i64),
    Silence,
}

/// What a node makes of what it should answer.
type Lie = fn(&mut Chain, &str, Value) -> Reply;

fn honest(_: &mut Chain, _: &str, answer: Value) -> Reply {
    Reply::Is(answer)
}

fn bytes_of(wire: &str) -> Vec<u8> {
    base64::decode(wire.as_bytes(), &mut [0; 4096]).unwrap().to_vec()
}

fn encoded(bytes: &[u8]) -> String {
    base64::encode(bytes, &mut [0; 8192]).unwrap().to_owned()
}

fn account(amount: u64) -> Value {
    let mut data = [0; 165];
    data[..32].copy_from_slice(&svm_usdc().address.0);
    data[64..72].copy_from_slice(&amount.to_le_bytes());
    data[108] = 1;
    let owner = svm_usdc().mint.program.address().to_string();
    json!({ "lamports": 2_039_280, "owner": owner, "data": [encoded(&data), "base64"] })
}

fn wallet_account(lamports: u64) -> Value {
    json!({ "lamports": lamports, "owner": svm::Address([0; 32]).to_string(), "data": ["", "base64"] })
}

impl Chain {
    fn at(&self, commitment: &Value) -> u64 {
        self.processed
            - match commitment.as_str() {
                Some("confirmed") => 2,
                Some("finalized") => 34,
                _ => 0,
            }
    }

    fn landed(&self) -> Option<&Landed> {
        self.landed.as_ref().filter(|landed| landed.slot <= self.processed)
    }

    fn take(&mut self, wire: &str) {
        self.sent.push(wire.to_owned());
        if self.sent.len() > self.loses
            && self.landed.is_none()
            && self.alive.contains(&self.processed)
        {
            let slot = self.processed + self.lands_in;
            self.landed = Some(Landed { slot, err: self.err.clone(), wire: wire.to_owned() });
        }
    }

    fn answer(&mut self, method: &str, params: &Value) -> Value {
        let options = &params[1];
        let at = |slot: u64, value: Value| json!({ "context": { "slot": slot }, "value": value });
        match method {
            "getGenesisHash" => json!(GENESIS),
            "getFirstAvailableBlock" => json!(self.first),
            "getMultipleAccounts" => {
                let (source, destination, lamports) = self.balances;
                let accounts = [account(source), account(destination), wallet_account(lamports)];
                let asked = params[0].as_array().unwrap().len();
                at(self.at(&options["commitment"]), json!(accounts[..asked]))
            }
            "simulateTransaction" => {
                let transaction = bytes_of(params[0].as_str().unwrap());
                assert_eq!(transaction[1..65], [0; 64], "signed before it was checked");
                assert_eq!(options["sigVerify"], false);
                assert_eq!(options["replaceRecentBlockhash"], false);
                let (source, destination, lamports) = self.balances;
                let accounts = [
                    account(source - AMOUNT),
                    account(destination + AMOUNT),
                    wallet_account(lamports - 10_001),
                ];
                at(
                    self.at(&options["commitment"]),
                    json!({ "err": null, "logs": [], "accounts": accounts }),
                )
            }
            "sendTransaction" => {
                assert_eq!(options["skipPreflight"], true);
                self.take(params[0].as_str().unwrap());
                json!("the id")
            }
            "getSignatureStatuses" => {
                assert_eq!(options["searchTransactionHistory"], true);
                self.processed += self.step;
                let status = self.landed().map(|landed| {
                    let reached = |commitment| landed.slot <= self.at(&json!(commitment));
                    let status = match (reached("finalized"), reached("confirmed")) {
                        (true, _) => "finalized",
                        (_, true) => "confirmed",
                        _ => "processed",
                    };
                    json!({ "slot": landed.slot, "confirmations": 0, "err": landed.err,
                            "confirmationStatus": status })
                });
                at(self.processed, json!([status]))
            }
            "isBlockhashValid" => {
                let slot = self.at(&options["commitment"]);
                at(slot, json!(self.alive.contains(&slot)))
            }
            "getTransaction" => {
                let slot = self.at(&options["commitment"]);
                let Some(landed) = self.landed().filter(|landed| landed.slot <= slot) else {
                    return Value::Null;
                };
                let bytes = bytes_of(&landed.wire);
                let transaction = message::Transaction::parse(&bytes).unwrap();
                let keys = transaction.message().keys();
                let seller = svm::Address::parse(SVM_SELLER).unwrap();
                let usdc = svm_usdc();
                let own =
                    svm::associated_token_address(&Dalek, seller, usdc.mint.program, usdc.address);
                let place = keys.iter().position(|key| *key == own.unwrap().0).unwrap();
                let balance = |amount: u64| {
                    json!([
                        { "accountIndex": place + 100, "mint": "x", "uiTokenAmount": { "amount": "1" } },
                        { "accountIndex": place, "mint": usdc.address.to_string(), "owner": SVM_SELLER,
                          "uiTokenAmount": { "amount": amount.to_string(), "decimals": 6 } },
                    ])
                };
                json!({
                    "slot": landed.slot, "blockTime": 1, "version": 0,
                    "transaction": [landed.wire, "base64"],
                    "meta": { "err": landed.err, "fee": 10_001,
                              "preTokenBalances": balance(5),
                              "postTokenBalances": balance(5 + AMOUNT) },
                })
            }
            other => panic!("{other}"),
        }
    }
}

type Shared = Arc<Mutex<Chain>>;

/// A node of a chain that lies, or does not.
async fn node(chain: &Shared, lie: Lie) -> String {
    let chain = Arc::clone(chain);
    let handler = move |body: Bytes| async move {
        let call: Value = serde_json::from_slice(&body).unwrap();
        let method = call["method"].as_str().unwrap();
        let reply = {
            let mut chain = chain.lock().unwrap();
            chain.calls.push(method.to_owned());
            let answer = chain.answer(method, &call["params"]);
            lie(&mut chain, method, answer)
        };
        let mut answer = json!({ "jsonrpc": "2.0", "id": call["id"] });
        match reply {
            Reply::Is(result) => answer["result"] = result,
            Reply::Error(code) => answer["error"] = json!({ "code": code, "message": "no" }),
            Reply::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
        }
        Response::new(Body::from(answer.to_string()))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/key", listener.local_addr().unwrap());
    let app = Router::new().fallback(any(handler));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn key() -> LocalKey {
    LocalKey::from_seed(&[1; 32])
}

fn fee_payer() -> svm::Address {
    svm::Address(Signer::public_key(&key()))
}

fn settings() -> SvmSettings {
    SvmSettings {
        confirm_within: Duration::from_secs(4),
        resend_every: Duration::from_millis(300),
        ..SvmSettings::default()
    }
}

fn ledger_of(urls: &[String], settings: SvmSettings) -> SvmLedger {
    let nodes = Nodes::new(urls).unwrap().with_timeout(Duration::from_millis(700));
    let nodes = nodes.with_attempts(2);
    let ledger = SvmLedger::new(key()).with_settings(settings);
    ledger.with_network(SVM_NETWORK.parse().unwrap(), nodes).unwrap()
}

async fn ledger(chain: &Shared, lies: &[Lie], settings: SvmSettings) -> SvmLedger {
    let mut urls = Vec::new();
    for lie in lies {
        urls.push(node(chain, *lie).await);
    }
    ledger_of(&urls, settings)
}

fn offer() -> PaymentRequirements {
    let offer = exact(SVM_NETWORK, SVM_SELLER, "$0.01").unwrap();
    let offer = offer.with_extra("feePayer", fee_payer().to_string());
    offer.with_extra("recentBlockhash", BLOCKHASH)
}

async fn request(offer: PaymentRequirements) -> VerifyRequest {
    let text = Offers::from(offer.clone()).challenge(Version::V2, "").unwrap();
    let challenge = PaymentRequired::from_json(text.as_bytes()).unwrap();
    let payment = Buyer::new(svm_wallet()).sign(&challenge, 0).await.unwrap();
    VerifyRequest {
        payment_payload: PaymentPayload::from_json(payment.json.as_bytes()).unwrap(),
        payment_requirements: offer,
        other: None,
    }
}

async fn payment_for(offer: PaymentRequirements) -> Verified<SvmTransfer> {
    let request = request(offer).await;
    let view = request.as_view();
    let schemes = ExactOnSvm::default();
    gate::verify(&schemes, &view.payment_payload, &view.payment_requirements, 0).unwrap()
}

async fn payment() -> Verified<SvmTransfer> {
    payment_for(offer()).await
}

fn transaction(payment: &Verified<SvmTransfer>) -> &[u8] {
    payment.payment().transaction()
}

/// What is wanted of `confirm`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    Settled,
    Failed(Reason),
    Pending,
}
use Wanted::{Failed, Pending, Settled};

const FAILED: Wanted = Failed(Reason::InvalidExactSvmTransactionFailed);
const NOT_CONFIRMED: Wanted = Failed(Reason::PostSettlementTransferNotConfirmed);

struct Case {
    name: &'static str,
    set: fn(&mut Chain),
    lies: &'static [Lie],
    settings: fn(&mut SvmSettings),
    /// Between sending and asking the process is another one.
    restart: bool,
    wanted: Wanted,
}

const CASE: Case = Case {
    name: "",
    set: |_| {},
    lies: &[honest],
    settings: |_| {},
    restart: false,
    wanted: Settled,
};

fn landed_elsewhere(chain: &mut Chain) {
    chain.landed = chain.sent.first().map(|wire| Landed {
        slot: chain.processed,
        err: Value::Null,
        wire: wire.clone(),
    });
}

/// A lie about the record of the transaction.
macro_rules! record {
    ($answer:ident => $change:expr) => {
        |_, method, mut $answer| {
            if method == "getTransaction" && !$answer.is_null() {
                $change;
            }
            Reply::Is($answer)
        }
    };
}

/// A lie in answer to one method.
macro_rules! on {
    ($method:literal, |$chain:ident, $answer:ident| $reply:expr) => {
        |$chain: &mut Chain, method: &str, $answer: Value| {
            if method == $method { $reply } else { honest($chain, method, $answer) }
        }
    };
}

const LOST: fn(&mut Chain) = |chain| chain.loses = usize::MAX;

/// The blockhash dies and all of it is final, two looks after the payment was sent.
const DIES: Lie = on!("getSignatureStatuses", |chain, answer| {
    chain.count += 1;
    if chain.count == 2 {
        chain.processed += 400;
    }
    Reply::Is(answer)
});

const SAYS_GONE: Lie = |chain, method, mut answer| {
    let slot = chain.processed + 10_000;
    match method {
        "getSignatureStatuses" => answer["value"] = json!([null]),
        "isBlockhashValid" => answer["value"] = json!(chain.count > 0),
        _ => {}
    }
    chain.count = 0;
    if answer.get("context").is_some() {
        answer["context"]["slot"] = json!(slot);
    }
    Reply::Is(answer)
};

const SAYS_FAILED: Lie = |_, method, mut answer| {
    match method {
        "getSignatureStatuses" => {
            answer["value"] = json!([{ "err": "x", "confirmationStatus": "finalized" }]);
        }
        "getTransaction" if !answer.is_null() => answer["meta"]["err"] = json!("x"),
        _ => {}
    }
    Reply::Is(answer)
};

/// The signature was there all along, says this one.
const SAYS_SETTLED: Lie = |chain, method, mut answer| {
    match method {
        "getSignatureStatuses" => {
            answer["value"] = json!([{ "err": null, "confirmationStatus": "finalized" }]);
        }
        "getTransaction" => {
            answer = json!({ "transaction": [chain.sent[0], "base64"], "meta": { "err": null } });
        }
        _ => {}
    }
    Reply::Is(answer)
};

const SILENT: Lie = |_, _, _| Reply::Silence;

const LIAR_OF_ANOTHER_CHAIN: Lie = |chain, method, answer| match method {
    "getGenesisHash" => Reply::Is(json!("5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d")),
    _ => SAYS_FAILED(chain, method, answer),
};

const TWO: fn(&mut SvmSettings) = |settings| settings.witnesses = 2;

fn cases() -> Vec<Case> {
    let cases = [
        Case { name: "honest", ..CASE },
        Case { name: "slow to land", set: |chain| chain.lands_in = 4, ..CASE },
        Case { name: "two honest witnesses", lies: &[honest, honest], settings: TWO, ..CASE },
        Case { name: "more witnesses than nodes", settings: TWO, ..CASE },
        Case {
            name: "finalized",
            set: |chain| chain.step = 20,
            settings: |settings| settings.commitment = Commitment::Finalized,
            ..CASE
        },
        Case {
            name: "confirmed is not finalized",
            settings: |settings| settings.commitment = Commitment::Finalized,
            wanted: Pending,
            ..CASE
        },
        // Sending.
        Case {
            name: "refuses and sends it on all the same",
            lies: &[on!("sendTransaction", |_c, _a| Reply::Error(-32002))],
            ..CASE
        },
        Case {
            name: "says nothing and sends it on all the same",
            lies: &[on!("sendTransaction", |_c, _a| Reply::Silence)],
            ..CASE
        },
        Case { name: "lost twice, and sent again", set: |chain| chain.loses = 2, ..CASE },
        Case { name: "always lost, still alive", set: LOST, wanted: Pending, ..CASE },
        // Errors.
        Case {
            name: "fails",
            set: |chain| (chain.err, chain.step) = (json!("x"), 20),
            wanted: FAILED,
            ..CASE
        },
        // Whoever is told "failed" pays again: no fork must take that back.
        Case {
            name: "fails, and that is not finalized",
            set: |chain| chain.err = json!("x"),
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "fails, and that was a fork",
            set: |chain| chain.err = json!("x"),
            lies: &[on!("getSignatureStatuses", |chain, answer| {
                // Seen failing before two thirds have voted, it is gone, and made anew.
                if answer["value"][0]["err"] == "x" && chain.err == "x" {
                    (chain.err, chain.landed) = (Value::Null, None);
                }
                Reply::Is(answer)
            })],
            ..CASE
        },
        Case {
            name: "processed, and that was a fork",
            lies: &[on!("getSignatureStatuses", |chain, answer| {
                chain.landed = None;
                Reply::Is(answer)
            })],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "an error in the status that the record does not have",
            lies: &[on!("getSignatureStatuses", |_c, answer| {
                let mut answer = answer;
                if answer["value"][0].is_object() {
                    answer["value"][0]["err"] = json!("x");
                }
                Reply::Is(answer)
            })],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "an error in the record that the status does not have",
            lies: &[record!(answer => answer["meta"]["err"] = json!("x"))],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "a status that does not say whether there was an error",
            lies: &[on!("getSignatureStatuses", |_c, answer| {
                let mut answer = answer;
                answer["value"][0].as_object_mut().map(|status| status.remove("err"));
                Reply::Is(answer)
            })],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "a status of a commitment nobody knows",
            lies: &[on!("getSignatureStatuses", |_c, answer| {
                let mut answer = answer;
                if answer["value"][0].is_object() {
                    answer["value"][0]["confirmationStatus"] = json!("certain");
                }
                Reply::Is(answer)
            })],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "statuses of several",
            lies: &[on!("getSignatureStatuses", |_c, answer| {
                let mut answer = answer;
                let status = answer["value"][0].clone();
                answer["value"] = json!([status, status]);
                Reply::Is(answer)
            })],
            wanted: Pending,
            ..CASE
        },
        // The record.
        Case {
            name: "no record",
            lies: &[on!("getTransaction", |_c, _a| Reply::Is(Value::Null))],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "no history",
            lies: &[on!("getTransaction", |_c, _a| Reply::Error(-32011))],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "no record at first",
            lies: &[on!("getTransaction", |chain, answer| {
                chain.count += 1;
                Reply::Is(if chain.count == 1 { Value::Null } else { answer })
            })],
            ..CASE
        },
        Case {
            name: "another transaction",
            lies: &[record!(answer => {
                let mut bytes = bytes_of(answer["transaction"][0].as_str().unwrap());
                let last = bytes.len() - 10;
                bytes[last] ^= 1;
                answer["transaction"][0] = json!(encoded(&bytes));
            })],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "another signature",
            lies: &[record!(answer => {
                let mut bytes = bytes_of(answer["transaction"][0].as_str().unwrap());
                bytes[5] ^= 1;
                answer["transaction"][0] = json!(encoded(&bytes));
            })],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "another encoding",
            lies: &[record!(answer => answer["transaction"][1] = json!("base58"))],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "not a transaction",
            lies: &[record!(answer => answer["transaction"][0] = json!("!"))],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "a record without its effects",
            lies: &[record!(answer => answer["meta"] = Value::Null)],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "effects that do not say whether there was an error",
            lies: &[record!(answer => answer["meta"].as_object_mut().unwrap().remove("err"))],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "no token balances",
            lies: &[record!(answer => {
                answer["meta"]["preTokenBalances"] = json!([]);
                answer["meta"]["postTokenBalances"] = json!([]);
            })],
            ..CASE
        },
        Case {
            name: "token balances are null",
            lies: &[record!(answer => {
                answer["meta"]["preTokenBalances"] = Value::Null;
                answer["meta"]["postTokenBalances"] = Value::Null;
            })],
            ..CASE
        },
        Case {
            name: "another mint",
            lies: &[record!(answer =>
                answer["meta"]["postTokenBalances"][1]["mint"] = json!(SVM_SELLER))],
            wanted: NOT_CONFIRMED,
            ..CASE
        },
        Case {
            name: "less than the amount",
            lies: &[record!(answer =>
                answer["meta"]["postTokenBalances"][1]["uiTokenAmount"]["amount"] = json!("10004"))],
            wanted: NOT_CONFIRMED,
            ..CASE
        },
        Case {
            name: "more than the amount",
            lies: &[record!(answer =>
                answer["meta"]["preTokenBalances"][1]["uiTokenAmount"]["amount"] = json!("4"))],
            wanted: NOT_CONFIRMED,
            ..CASE
        },
        Case {
            name: "a balance that shrinks",
            lies: &[record!(answer =>
                answer["meta"]["preTokenBalances"][1]["uiTokenAmount"]["amount"] = json!("99999"))],
            wanted: NOT_CONFIRMED,
            ..CASE
        },
        Case {
            name: "balances of others only",
            lies: &[record!(answer => {
                answer["meta"]["preTokenBalances"].as_array_mut().unwrap().truncate(1);
                answer["meta"]["postTokenBalances"].as_array_mut().unwrap().truncate(1);
            })],
            wanted: NOT_CONFIRMED,
            ..CASE
        },
        Case {
            name: "a balance that is no number",
            lies: &[record!(answer =>
                answer["meta"]["postTokenBalances"][1]["uiTokenAmount"]["amount"] = json!("1e4"))],
            wanted: Pending,
            ..CASE
        },
        // What is nowhere.
        Case { name: "lost, and dead", set: LOST, lies: &[DIES], wanted: FAILED, ..CASE },
        Case {
            name: "a blockhash that is too new to be final",
            set: |chain| {
                LOST(chain);
                chain.alive = 999_990..1_000_140;
            },
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "a blockhash newer than what the node knows",
            set: |chain| {
                LOST(chain);
                (chain.alive, chain.step) = (1_000_100..1_000_250, 4);
            },
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "dead, and not yet final",
            set: |chain| {
                LOST(chain);
                chain.alive = 999_850..1_000_000;
            },
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "it lands just before its blockhash dies",
            set: LOST,
            lies: &[|chain, method, answer| {
                // The question about the final chain comes in between.
                if method == "getSignatureStatuses" {
                    chain.count += 1;
                    if chain.count == 2 {
                        chain.processed += 400;
                    }
                } else if method == "isBlockhashValid" && chain.count == 2 {
                    landed_elsewhere(chain);
                }
                Reply::Is(answer)
            }],
            ..CASE
        },
        Case {
            name: "statuses of a node that lags behind the one asked before",
            set: LOST,
            lies: &[|chain, method, mut answer| {
                if method == "isBlockhashValid" {
                    chain.processed += 400;
                }
                if method == "getSignatureStatuses" {
                    answer["context"]["slot"] = json!(1000);
                }
                Reply::Is(answer)
            }],
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "no word about blockhashes",
            set: LOST,
            lies: &[|chain, method, answer| match method {
                "isBlockhashValid" => Reply::Error(-32601),
                _ => DIES(chain, method, answer),
            }],
            wanted: Pending,
            ..CASE
        },
        // Another process asks.
        Case { name: "after a restart", restart: true, ..CASE },
        Case {
            name: "after a restart, failed",
            set: |chain| (chain.err, chain.step) = (json!("x"), 20),
            restart: true,
            wanted: FAILED,
            ..CASE
        },
        Case {
            name: "after a restart, lost",
            set: LOST,
            lies: &[DIES],
            restart: true,
            wanted: FAILED,
            ..CASE
        },
        Case {
            name: "after a restart, lost and long dead",
            set: |chain| {
                LOST(chain);
                (chain.alive, chain.step) = (900_000..900_150, 100);
            },
            restart: true,
            wanted: FAILED,
            ..CASE
        },
        Case {
            name: "after a restart, lost and dead or too new: nobody knows yet",
            set: |chain| {
                LOST(chain);
                (chain.alive, chain.step) = (900_000..900_150, 3);
            },
            restart: true,
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "after a restart, at a node with a short memory",
            set: |chain| {
                LOST(chain);
                chain.first = 900_000;
            },
            lies: &[DIES],
            restart: true,
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "after a restart, at a node with a long memory",
            set: |chain| {
                LOST(chain);
                chain.first = 100_000;
            },
            lies: &[DIES],
            restart: true,
            wanted: FAILED,
            ..CASE
        },
        Case {
            name: "after a restart, at a node that does not tell how long its memory is",
            set: LOST,
            lies: &[|chain, method, answer| match method {
                "getFirstAvailableBlock" => Reply::Error(-32601),
                _ => DIES(chain, method, answer),
            }],
            restart: true,
            wanted: Pending,
            ..CASE
        },
        // Several nodes.
        Case { name: "one is silent", lies: &[SILENT, honest], ..CASE },
        Case {
            name: "one of two witnesses is silent",
            lies: &[SILENT, honest],
            settings: TWO,
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "one of three is silent",
            lies: &[honest, SILENT, honest],
            settings: TWO,
            ..CASE
        },
        Case {
            name: "one of two lies that it failed",
            lies: &[SAYS_FAILED, honest],
            settings: TWO,
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "one of two lies that it settled",
            set: LOST,
            lies: &[honest, SAYS_SETTLED],
            settings: TWO,
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "one of two lies that it is gone",
            lies: &[SAYS_GONE, honest],
            settings: TWO,
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "one of two lies that it is nowhere, and its blockhash is dead",
            lies: &[
                |chain, method, mut answer| {
                    if method == "getSignatureStatuses" {
                        answer["value"] = json!([null]);
                    }
                    DIES(chain, method, answer)
                },
                honest,
            ],
            settings: TWO,
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "one of two lies that the blockhash is dead",
            set: |chain| {
                LOST(chain);
                (chain.alive, chain.step) = (999_900..2_000_000, 10);
            },
            lies: &[
                on!("isBlockhashValid", |_c, answer| {
                    let mut answer = answer;
                    answer["value"] = json!(false);
                    Reply::Is(answer)
                }),
                honest,
            ],
            settings: TWO,
            wanted: Pending,
            ..CASE
        },
        Case {
            name: "one of two lies about an amount",
            lies: &[
                honest,
                record!(answer =>
                answer["meta"]["postTokenBalances"][1]["uiTokenAmount"]["amount"] = json!("6")),
            ],
            settings: TWO,
            wanted: Pending,
            ..CASE
        },
        Case { name: "lies of another chain", lies: &[LIAR_OF_ANOTHER_CHAIN, honest], ..CASE },
        Case {
            name: "only another chain",
            lies: &[LIAR_OF_ANOTHER_CHAIN],
            wanted: Pending,
            ..CASE
        },
    ];
    cases.into_iter().collect()
}

async fn play(case: Case) -> Result<(), String> {
    let chain = Shared::default();
    (case.set)(&mut chain.lock().unwrap());
    let mut settings = settings();
    (case.settings)(&mut settings);
    let mut urls = Vec::new();
    for lie in case.lies {
        urls.push(node(&chain, *lie).await);
    }
    let mut ledger = ledger_of(&urls, settings);
    let payment = payment().await;
    let (id, unsent) = ledger.prepare(payment.as_ref()).await.unwrap();
    ledger.send(unsent).await;
    if case.restart {
        ledger = ledger_of(&urls, settings);
    }
    let outcome = match ledger.confirm(payment.as_ref(), &id).await {
        Outcome::Settled(moved) if moved == id => Settled,
        Outcome::Settled(_) => return Err(format!("{}: another transaction", case.name)),
        Outcome::Failed(reason) => Failed(reason),
        Outcome::Pending => Pending,
    };
    let chain = chain.lock().unwrap();
    if chain.sent.iter().any(|wire| *wire != chain.sent[0]) {
        return Err(format!("{}: something else was sent again", case.name));
    }
    if case.restart && chain.sent.len() != case.lies.len() {
        return Err(format!("{}: sent after a restart", case.name));
    }
    if outcome == case.wanted {
        Ok(())
    } else {
        Err(format!("{}: {outcome:?}, not {:?}: {:?}", case.name, case.wanted, chain.calls))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_certain_or_pending() {
    let plays: Vec<_> = cases().into_iter().map(|case| tokio::spawn(play(case))).collect();
    let mut wrong = Vec::new();
    for play in plays {
        wrong.extend(play.await.unwrap().err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_late_verdict_is_found_by_asking_again() {
    let chain = Shared::default();
    chain.lock().unwrap().loses = 3;
    let short = SvmSettings { confirm_within: Duration::from_millis(300), ..settings() };
    let ledger = ledger(&chain, &[honest], short).await;
    let payment = payment().await;
    let (id, unsent) = ledger.prepare(payment.as_ref()).await.unwrap();
    ledger.send(unsent).await;
    assert_eq!(ledger.confirm(payment.as_ref(), &id).await, Outcome::Pending);
    let ledger = ledger.with_settings(settings());
    assert_eq!(ledger.confirm(payment.as_ref(), &id).await, Outcome::Settled(id));
}

#[tokio::test]
async fn who_waits_does_not_hammer() {
    let chain = Shared::default();
    LOST(&mut chain.lock().unwrap());
    let settings = SvmSettings { confirm_within: Duration::from_secs(3), ..SvmSettings::default() };
    let ledger = ledger(&chain, &[honest], settings).await;
    let payment = payment().await;
    let (id, unsent) = ledger.prepare(payment.as_ref()).await.unwrap();
    ledger.send(unsent).await;
    let begun = Instant::now();
    assert_eq!(ledger.confirm(payment.as_ref(), &id).await, Outcome::Pending);
    assert!((3..5).contains(&begun.elapsed().as_secs()));
    let chain = chain.lock().unwrap();
    let count = |method| chain.calls.iter().filter(|call| *call == method).count();
    assert!((3..=6).contains(&count("getSignatureStatuses")), "{:?}", chain.calls);
    assert_eq!(count("sendTransaction"), 2, "once, and once more after two seconds");
}

#[tokio::test]
async fn checks_before_anything_is_signed() {
    use Reason::{Busy, UnexpectedVerifyError};
    const FAILS: Reason = Reason::InvalidExactSvmTransactionSimulationFailed;
    /// What the simulation shows of an account: source, destination, fee payer.
    macro_rules! shows {
        ($place:literal, $account:expr) => {
            on!("simulateTransaction", |_c, answer| {
                let mut answer = answer;
                answer["value"]["accounts"][$place] = $account;
                Reply::Is(answer)
            })
        };
    }
    /// An account with one byte of its data changed.
    fn with_byte(amount: u64, at: usize, byte: u8) -> Value {
        let mut account = account(amount);
        let mut data = bytes_of(account["data"][0].as_str().unwrap());
        data[at] = byte;
        account["data"][0] = json!(encoded(&data));
        account
    }
    let cases: &[(&str, Lie, Result<(), Reason>)] = &[
        ("right", honest, Ok(())),
        (
            "fails",
            on!("simulateTransaction", |_c, _a| Reply::Is(json!({
                "context": { "slot": 1 },
                "value": { "err": { "InstructionError": [2, { "Custom": 1 }] }, "accounts": null },
            }))),
            Err(FAILS),
        ),
        (
            "a blockhash nobody knows",
            on!("simulateTransaction", |_c, _a| Reply::Is(json!({
            "context": { "slot": 1 }, "value": { "err": "BlockhashNotFound" } }))),
            Err(FAILS),
        ),
        (
            "is on the chain",
            on!("simulateTransaction", |_c, _a| Reply::Is(json!({
            "context": { "slot": 1 }, "value": { "err": "AlreadyProcessed" } }))),
            Err(Reason::DuplicateSettlement),
        ),
        ("cannot be read", on!("simulateTransaction", |_c, _a| Reply::Error(-32602)), Err(FAILS)),
        (
            "no error and no word",
            on!("simulateTransaction", |_c, _a| Reply::Is(json!({
            "context": { "slot": 1 }, "value": {} }))),
            Err(UnexpectedVerifyError),
        ),
        (
            "no accounts",
            on!("simulateTransaction", |_c, answer| {
                let mut answer = answer;
                answer["value"]["accounts"] = Value::Null;
                Reply::Is(answer)
            }),
            Err(UnexpectedVerifyError),
        ),
        (
            "node fails",
            on!("simulateTransaction", |_c, _a| Reply::Error(-32603)),
            Err(UnexpectedVerifyError),
        ),
        (
            "node lags",
            on!("simulateTransaction", |_c, _a| Reply::Error(-32016)),
            Err(UnexpectedVerifyError),
        ),
        (
            "node is silent",
            on!("simulateTransaction", |_c, _a| Reply::Silence),
            Err(UnexpectedVerifyError),
        ),
        (
            "no accounts before",
            on!("getMultipleAccounts", |_c, _a| Reply::Error(-32603)),
            Err(UnexpectedVerifyError),
        ),
        (
            "too few accounts before",
            on!("getMultipleAccounts", |_c, answer| {
                let mut answer = answer;
                answer["value"].as_array_mut().unwrap().pop();
                Reply::Is(answer)
            }),
            Err(UnexpectedVerifyError),
        ),
        ("gets less", shows!(1, account(5 + AMOUNT - 1)), Err(FAILS)),
        ("gets more", shows!(1, account(5 + AMOUNT + 1)), Err(FAILS)),
        ("gets nothing", shows!(1, account(5)), Err(FAILS)),
        ("has less than before", shows!(1, account(0)), Err(FAILS)),
        ("is not there", shows!(1, Value::Null), Err(FAILS)),
        ("is frozen", shows!(1, with_byte(5 + AMOUNT, 108, 2)), Err(FAILS)),
        ("is of another mint", shows!(1, with_byte(5 + AMOUNT, 3, 99)), Err(FAILS)),
        (
            "is of another program",
            shows!(1, {
                let mut account = account(5 + AMOUNT);
                account["owner"] = json!(SVM_SELLER);
                account
            }),
            Err(FAILS),
        ),
        (
            "is short",
            shows!(1, {
                let mut account = account(5 + AMOUNT);
                let data = bytes_of(account["data"][0].as_str().unwrap());
                account["data"][0] = json!(encoded(&data[..164]));
                account
            }),
            Err(FAILS),
        ),
        ("gives nothing", shows!(0, account(1_000_000)), Err(FAILS)),
        ("gives more", shows!(0, account(1_000_000 - AMOUNT - 1)), Err(FAILS)),
        ("fee as high as may be", shows!(2, wallet_account(20_000_000 - 110_000)), Ok(())),
        ("fee too high", shows!(2, wallet_account(20_000_000 - 110_001)), Err(FAILS)),
        ("fee payer is gone", shows!(2, Value::Null), Err(FAILS)),
        ("fee payer was paid", shows!(2, wallet_account(30_000_000)), Ok(())),
        (
            "another payment came in between, once",
            |chain, method, mut answer| {
                if method == "simulateTransaction" && chain.count == 0 {
                    chain.count += 1;
                    answer["context"]["slot"] = json!(chain.processed + 1);
                    answer["value"]["accounts"][1] = account(5 + 3 * AMOUNT);
                }
                Reply::Is(answer)
            },
            Ok(()),
        ),
        (
            "another payment came in between, always",
            |chain, method, mut answer| {
                if method == "simulateTransaction" {
                    chain.count += 1;
                    assert!(chain.count <= 3);
                    answer["context"]["slot"] = json!(chain.processed + 1);
                    answer["value"]["accounts"][1] = account(5 + 3 * AMOUNT);
                }
                Reply::Is(answer)
            },
            Ok(()),
        ),
        (
            "fee payer has just enough",
            on!("getMultipleAccounts", |_c, answer| {
                let mut answer = answer;
                answer["value"][2] = wallet_account(10_000_000);
                Reply::Is(answer)
            }),
            Ok(()),
        ),
        (
            "fee payer is poor",
            on!("getMultipleAccounts", |_c, answer| {
                let mut answer = answer;
                answer["value"][2] = wallet_account(9_999_999);
                Reply::Is(answer)
            }),
            Err(Busy),
        ),
        (
            "fee payer has no account",
            on!("getMultipleAccounts", |_c, answer| {
                let mut answer = answer;
                answer["value"][2] = Value::Null;
                Reply::Is(answer)
            }),
            Err(Busy),
        ),
        ("another chain", LIAR_OF_ANOTHER_CHAIN, Err(UnexpectedVerifyError)),
        (
            "not a genesis hash",
            on!("getGenesisHash", |_c, _a| Reply::Is(json!("EtWTRABZaYq6iMfeYKouRu166VU2xqa1"))),
            Err(UnexpectedVerifyError),
        ),
    ];
    for (name, lie, wanted) in cases {
        let chain = Shared::default();
        let ledger = ledger(&chain, &[*lie], settings()).await;
        assert_eq!(ledger.check(payment().await.as_ref(), 0).await, *wanted, "{name}");
        assert!(chain.lock().unwrap().sent.is_empty());
    }
}

#[tokio::test]
async fn ready_when_every_node_that_answers_is_of_the_network() {
    let id = || SVM_NETWORK.parse().unwrap();
    // Nodes, of which how many are honest, and how many witnesses it takes.
    let cases: [(&[Lie], usize, usize, _); 6] = [
        (&[honest], 1, 1, Ok(())),
        (&[honest, SILENT], 1, 1, Ok(())),
        (&[honest, SILENT], 1, 2, Err(SvmNotReady::Unreachable(id()))),
        (&[SILENT], 0, 1, Err(SvmNotReady::Unreachable(id()))),
        (&[honest, LIAR_OF_ANOTHER_CHAIN], 1, 1, Err(SvmNotReady::WrongNetwork(id()))),
        (&[LIAR_OF_ANOTHER_CHAIN], 0, 1, Err(SvmNotReady::WrongNetwork(id()))),
    ];
    for (lies, shown, witnesses, wanted) in cases {
        let settings = SvmSettings { witnesses, ..settings() };
        let chain = Shared::default();
        let ledger = ledger(&chain, lies, settings).await;
        assert_eq!(ledger.ready().await, wanted);
        // Those that have shown what they are are not asked again.
        let asked = |chain: &Shared| chain.lock().unwrap().calls.len();
        let before = asked(&chain);
        assert_eq!(ledger.ready().await, wanted);
        assert_eq!(asked(&chain) - before, lies.len() - shown);
    }
    let none = SvmLedger::new(key());
    assert_eq!(none.ready().await, Err(SvmNotReady::NoNetwork));
    for network in ["eip155:1", "base", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa", "cosmos:x"] {
        let nodes = Nodes::new(["http://127.0.0.1:1"]).unwrap();
        assert!(SvmLedger::new(key()).with_network(network.parse().unwrap(), nodes).is_err());
    }
}

#[tokio::test]
async fn signs_in_place_and_nothing_else_changes() {
    for versions in [json!([0]), json!([1])] {
        let ledger = ledger_of(&["http://127.0.0.1:1".into()], settings());
        let offer = offer().with_extra("transactionVersions", versions);
        let payment = payment_for(offer).await;
        // Nobody needs to be asked.
        let (id, unsent) = ledger.prepare(payment.as_ref()).await.unwrap();
        assert_eq!(format!("{unsent:?}"), "SvmUnsent");
        let signature: [u8; 64] = base58::decode(&id).unwrap();
        let before = message::Transaction::parse(transaction(&payment)).unwrap();
        let message = before.message().as_bytes();
        assert!(Dalek.verify(&fee_payer().0, message, &signature));

        let chain = Shared::default();
        let ledger = self::ledger(&chain, &[honest], settings()).await;
        let (again, unsent) = ledger.prepare(payment.as_ref()).await.unwrap();
        assert_eq!(id, again);
        ledger.send(unsent).await;
        let sent = bytes_of(&chain.lock().unwrap().sent[0]);
        let after = message::Transaction::parse(&sent).unwrap();
        assert_eq!(after.message().as_bytes(), message);
        assert_eq!(after.signatures(), &[signature, before.signatures()[1]]);
        assert_eq!(ledger.confirm(payment.as_ref(), &id).await, Outcome::Settled(id));
    }
}

/// A key that does not do what it is asked.
struct Broken(Result<[u8; 64], SignError>);

impl Signer<Ed25519> for Broken {
    fn public_key(&self) -> [u8; 32] {
        fee_payer().0
    }

    fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignError> {
        self.0
    }
}

#[tokio::test]
async fn nothing_is_prepared_with_a_wrong_or_missing_signature() {
    let with = |key| {
        let nodes = Nodes::new(["http://127.0.0.1:1"]).unwrap();
        let ledger = SvmLedger::with_signer(key);
        ledger.with_network(SVM_NETWORK.parse().unwrap(), nodes).unwrap()
    };
    let payment = payment().await;
    let reason = Reason::UnexpectedSettleError;
    for key in [Broken(Err(SignError::Unavailable)), Broken(Ok([7; 64]))] {
        assert_eq!(with(key).prepare(payment.as_ref()).await.map(|_| ()), Err(reason));
    }
    // Somebody else's fee payer, and somebody else's network.
    let nodes = || Nodes::new(["http://127.0.0.1:1"]).unwrap();
    let other = SvmLedger::new(LocalKey::from_seed(&[9; 32]));
    let other = other.with_network(SVM_NETWORK.parse().unwrap(), nodes()).unwrap();
    assert_eq!(other.prepare(payment.as_ref()).await.map(|_| ()), Err(reason));
    let mainnet = SvmLedger::new(key()).with_network("solana".parse().unwrap(), nodes()).unwrap();
    let unknown = Err(Reason::InvalidNetwork);
    assert_eq!(mainnet.prepare(payment.as_ref()).await.map(|_| ()), unknown);
    assert_eq!(mainnet.check(payment.as_ref(), 0).await, unknown);
    assert_eq!(mainnet.confirm(payment.as_ref(), &Transaction::new()).await, Outcome::Pending);
    // A second key is not announced, and still signs.
    let both = other.with_fee_payer(key());
    assert!(both.prepare(payment.as_ref()).await.is_ok());
    assert_eq!(both.scheme().fee_payers.map(|keys| keys.len()), Some(2));
    assert!(!format!("{:?}", both.kinds()).contains(&fee_payer().to_string()));
}

/// One balance behind several payments, of which the chain would fail all but one: each costs the
/// payer of the fees 10 000 lamports.
#[tokio::test]
async fn one_balance_is_sent_once() {
    const OTHERS: [&str; 3] = [
        "4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM",
        "8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR",
        "CktRuQ2mttgRGkXJtyksdKHjUdc2C4TgDzyB98oEzy8",
    ];
    let chain = Shared::default();
    chain.lock().unwrap().balances.0 = 2 * AMOUNT;
    let ledger = ledger(&chain, &[honest], settings()).await;
    let mut payments = vec![payment().await];
    for blockhash in OTHERS {
        payments.push(payment_for(offer().with_extra("recentBlockhash", blockhash)).await);
    }
    let [first, second, third, fourth] = &payments[..] else { panic!() };
    for payment in &payments {
        assert_eq!(ledger.check(payment.as_ref(), 0).await, Ok(()), "nothing is on its way");
    }
    let (id, unsent) = ledger.prepare(first.as_ref()).await.unwrap();
    ledger.prepare(second.as_ref()).await.unwrap();
    // The balance covers two, one of them however often.
    assert_eq!(ledger.prepare(third.as_ref()).await.map(|_| ()), Err(Reason::Busy));
    assert_eq!(ledger.check(third.as_ref(), 0).await, Err(Reason::Busy));
    assert_eq!(ledger.check(second.as_ref(), 0).await, Ok(()));
    assert!(ledger.prepare(second.as_ref()).await.is_ok());
    ledger.send(unsent).await;
    assert_eq!(ledger.confirm(first.as_ref(), &id).await, Outcome::Settled(id));
    // The balance that was read before it landed counts no more.
    chain.lock().unwrap().balances.0 = AMOUNT;
    assert_eq!(ledger.prepare(third.as_ref()).await.map(|_| ()), Err(Reason::Busy));
    chain.lock().unwrap().balances.0 = 3 * AMOUNT;
    assert_eq!(ledger.check(third.as_ref(), 0).await, Ok(()));
    // The payer of a transaction that failed on the chain waits.
    let mut failing =
        Chain { err: json!({ "InstructionError": [2, { "Custom": 1 }] }), ..Chain::default() };
    failing.balances.0 = 10 * AMOUNT;
    failing.step = 20;
    *chain.lock().unwrap() = failing;
    let (id, unsent) = ledger.prepare(third.as_ref()).await.unwrap();
    ledger.send(unsent).await;
    assert_eq!(
        ledger.confirm(third.as_ref(), &id).await,
        Outcome::Failed(Reason::InvalidExactSvmTransactionFailed)
    );
    assert_eq!(ledger.check(fourth.as_ref(), 0).await, Err(Reason::Busy));
}

#[tokio::test]
async fn announces_both_versions_and_no_blockhash() {
    let nodes = || Nodes::new(["http://127.0.0.1:1"]).unwrap();
    let ledger = SvmLedger::new(key())
        .with_network("solana-devnet".parse().unwrap(), nodes())
        .unwrap()
        .with_network("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse().unwrap(), nodes())
        .unwrap()
        .with_network(SVM_NETWORK.parse().unwrap(), nodes())
        .unwrap();
    let kinds = ledger.kinds().into_iter().map(|kind| {
        let extra: Value = serde_json::from_str(kind.extra.unwrap().as_str()).unwrap();
        assert_eq!(extra, json!({ "feePayer": fee_payer().to_string() }));
        (kind.x402_version, kind.scheme, kind.network.to_string())
    });
    let wanted = [
        (2, "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
        (2, SVM_NETWORK),
        (1, "solana"),
        (1, "solana-devnet"),
    ];
    let wanted = wanted.map(|(version, network)| (version, "exact".to_owned(), network.to_owned()));
    assert_eq!(kinds.collect::<Vec<_>>(), wanted);
    let shown = format!("{ledger:?}");
    assert!(shown.contains(SVM_NETWORK) && !shown.contains("127.0.0.1"), "{shown}");
}

#[tokio::test]
async fn a_facilitator_settles_once_across_restarts() {
    let chain = Shared::default();
    chain.lock().unwrap().lands_in = 8;
    let urls = vec![node(&chain, honest).await];
    let short = SvmSettings { confirm_within: Duration::from_millis(200), ..settings() };
    let store = Arc::new(MemoryStore::default());
    let facilitator = |settings| {
        let clock = x402_std::SystemClock;
        LocalFacilitator::with_parts(ledger_of(&urls, settings), Arc::clone(&store), clock)
    };
    let request = request(offer()).await;
    let first = facilitator(short);
    assert!(first.verify(&request).await.unwrap().is_valid);
    let answer = first.settle(&request).await.unwrap();
    assert_eq!(answer.error_reason.as_deref(), Some("settlement_pending"));
    let id = answer.transaction;
    assert!(base58::decode::<64>(&id).is_some());
    let again = facilitator(settings());
    let answers = tokio::join!(again.settle(&request), again.settle(&request));
    let mut answers = [answers.0.unwrap(), answers.1.unwrap()];
    answers.sort_by_key(|answer| !answer.success);
    assert_eq!((answers[0].success, &answers[0].transaction), (true, &id));
    assert_eq!(answers[1].error_reason.as_deref(), Some("duplicate_settlement"));
    let third = facilitator(settings()).settle(&request).await.unwrap();
    assert_eq!(third.error_reason.as_deref(), Some("duplicate_settlement"));
    assert_eq!(chain.lock().unwrap().sent.len(), 1);
}

/// Against the Solana RPC of `tests/interop`, at the URL in `SVM_RPC`: `node chains.mjs up` there.
#[tokio::test]
#[ignore = "needs the chain of tests/interop"]
async fn on_litesvm() {
    let url = std::env::var("SVM_RPC").unwrap();
    let nodes = Nodes::new([&url]).unwrap();
    let ask = async |method: &str, params: Value| -> Value {
        serde_json::from_str(nodes.ask(method, &params).await.unwrap().get()).unwrap()
    };
    let usdc = svm_usdc();
    let balance = async || {
        let owner = svm::Address::parse(SVM_SELLER).unwrap();
        let own =
            svm::associated_token_address(&Dalek, owner, usdc.mint.program, usdc.address).unwrap();
        let answer = ask("getTokenAccountBalance", json!([own.to_string()])).await;
        answer["value"]["amount"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let blockhash = async || {
        let answer = ask("getLatestBlockhash", json!([])).await;
        answer["value"]["blockhash"].as_str().unwrap().to_owned()
    };
    let fresh = async || offer().with_extra("recentBlockhash", blockhash().await);
    let ledger = || ledger_of(std::slice::from_ref(&url), settings());
    ledger().ready().await.unwrap();

    // Paid, once.
    let facilitator = LocalFacilitator::new(ledger());
    let request = request(fresh().await).await;
    let before = balance().await;
    let verified = facilitator.verify(&request).await.unwrap();
    assert!(verified.is_valid, "{verified:?}");
    let settled = facilitator.settle(&request).await.unwrap();
    assert!(settled.success, "{settled:?}");
    let again = facilitator.settle(&request).await.unwrap();
    assert_eq!(again.error_reason.as_deref(), Some("duplicate_settlement"));
    assert_eq!(balance().await, before + AMOUNT);
    let id = Transaction::try_from(&*settled.transaction).unwrap();

    // With no memory of it, what was settled is found, and is not made again.
    let view = request.as_view();
    let verified =
        gate::verify(&ExactOnSvm::default(), &view.payment_payload, &view.payment_requirements, 0)
            .unwrap();
    assert_eq!(ledger().confirm(verified.as_ref(), &id).await, Outcome::Settled(id));
    let fails = Err(Reason::InvalidExactSvmTransactionSimulationFailed);
    assert_eq!(ledger().check(verified.as_ref(), 0).await, fails);

    // Prepared and checked, then its blockhash dies: it is not there, and stays so.
    let payment = payment_for(fresh().await).await;
    let ledger = ledger();
    ledger.check(payment.as_ref(), 0).await.unwrap();
    let (id, unsent) = ledger.prepare(payment.as_ref()).await.unwrap();
    ask("test_expireBlockhash", json!([])).await;
    assert_eq!(ledger.check(payment.as_ref(), 0).await, fails);
    ledger.send(unsent).await;
    assert_eq!(ledger.confirm(payment.as_ref(), &id).await, Outcome::Pending);
    for _ in 0..160 {
        ask("requestAirdrop", json!([SVM_SELLER, 1])).await;
    }
    let failed = Outcome::Failed(Reason::InvalidExactSvmTransactionFailed);
    assert_eq!(ledger.confirm(payment.as_ref(), &id).await, failed);
    assert_eq!(balance().await, before + AMOUNT);

    // Nobody pays from an account that is not there, or more than they have.
    let dear = PaymentRequirements { amount: 999_999_999_999u64.into(), ..fresh().await };
    assert_eq!(ledger.check(payment_for(dear).await.as_ref(), 0).await, fails);
    // A fee payer with too little.
    let least_lamports = u64::MAX;
    let ledger = ledger.with_settings(SvmSettings { least_lamports, ..settings() });
    let payment = payment_for(fresh().await).await;
    assert_eq!(ledger.check(payment.as_ref(), 0).await, Err(Reason::Busy));
}
