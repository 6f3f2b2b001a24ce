//! Points buy things over HTTP and over frames, beside money and alone.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use x402_core::claim::ClaimState;
use x402_core::crypto::{ed25519, secp256k1};
use x402_core::wire::{PaymentPayload, PaymentRequirements};
use x402_core::{Amount, Either, Money, Reason, Scheme, Version};
use x402_outside::carrier::{Frames, serve};
use x402_outside::club::{self, Club};
use x402_outside::ledger::Cards;
use x402_outside::points::{CardWallet, Points, Stamp, offer};
use x402_outside::store::Listed;
use x402_std::SystemClock;
use x402_std::buyer::client::{Client, HttpTransport};
use x402_std::buyer::wallet::EvmWallet;
use x402_std::buyer::{Asset, Buyer, Policy};
use x402_std::evm::assets;
use x402_std::extension::{Before, BoxFuture, PaidRequest, SellerExtension};
use x402_std::facilitator::ledger::{Networks, SimulatedLedger};
use x402_std::facilitator::{Acceptance, Facilitator, LocalFacilitator};
use x402_std::message::{Json, SettleResponse};
use x402_std::seller::server::PaymentLayer;
use x402_std::seller::{AcceptedPayment, Offers, Refusal, Seller, exact};
use x402_std::store::ClaimStore as _;

const NETWORK: &str = "card:corner-cafe";
const SHOP: &str = "the corner café";
const PAYEE: &str = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

fn wallet(seed: u8) -> CardWallet {
    CardWallet::new(ed25519::LocalKey::from_seed(&[seed; 32]))
}

fn policy() -> Policy {
    Policy {
        max: Money::parse("$10").unwrap(),
        assets: vec![Asset {
            network: NETWORK.parse().unwrap(),
            address: "points".into(),
            decimals: 0,
        }],
        ..Policy::default()
    }
}

fn cards() -> Cards {
    let cards = Cards::new(NETWORK);
    cards.give(wallet(1).card(), 7);
    cards
}

/// Counts the checks of a scheme: one is one signature.
struct Counted<S>(S, Arc<AtomicUsize>);

impl<S: Scheme> Scheme for Counted<S> {
    type Payment = S::Payment;

    fn handles(&self, offer: &PaymentRequirements<'_>) -> bool {
        self.0.handles(offer)
    }

    fn check_offer(&self, offer: &PaymentRequirements<'_>) -> Result<(), Reason> {
        self.0.check_offer(offer)
    }

    fn check(
        &self,
        payload: &PaymentPayload<'_>,
        requirements: &PaymentRequirements<'_>,
        now: u64,
    ) -> Result<S::Payment, Reason> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.check(payload, requirements, now)
    }

    fn own_reason(&self, own: u8) -> Option<&'static str> {
        self.0.own_reason(own)
    }
}

#[tokio::test]
async fn points_buy_over_frames_and_one_payment_is_checked_once() {
    let checks = Arc::new(AtomicUsize::new(0));
    let facilitator = LocalFacilitator::new(cards()).with_acceptance(Acceptance::any());
    let facilitator = Arc::new(facilitator.with_scheme(Counted(Points, Arc::clone(&checks))));
    let claims = Arc::new(Listed::default());
    let seller = Seller::with_parts(Arc::clone(&facilitator), Arc::clone(&claims), SystemClock);
    let terms = Offers::new([offer(NETWORK, SHOP, 3)]);
    seller.check(&terms).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let frames = Frames(listener.local_addr().unwrap());
    let serving = tokio::spawn(serve(listener, Arc::new(seller), terms));

    let buyer = Buyer::with_parts(wallet(1), policy(), SystemClock);
    for (bought, left) in [("first", 4), ("second", 1)] {
        let paid = buyer.buy(&frames, &bought.to_owned()).await.unwrap();
        assert_eq!(paid.response, bought.to_uppercase());
        let receipt = paid.proof().unwrap();
        assert_eq!(receipt.payer, Some(wallet(1).card().to_string()));
        assert_eq!(facilitator.ledger().earned(SHOP), 7 - left);
    }
    // One gate for each payment, whoever asks about it.
    assert_eq!(checks.load(Ordering::Relaxed), 2);
    // And one look before each settlement, and one after.
    assert_eq!(facilitator.ledger().looks(), (2, 2));
    // One point is too little, and the scheme's own reason says so.
    let refused = buyer.buy(&frames, &"third".to_owned()).await.unwrap_err();
    assert!(format!("{refused:?}").contains("points_too_few"), "{refused:?}");
    assert_eq!(facilitator.ledger().earned(SHOP), 6);
    serving.abort();
}

fn terms() -> Offers {
    Offers::new([offer(NETWORK, SHOP, 3), exact("base-sepolia", PAYEE, "$0.01").unwrap()])
}

#[tokio::test]
async fn points_and_money_pay_for_one_route() {
    let money = SimulatedLedger::new();
    let usdc = assets::default_of(84_532).unwrap();
    let key = || secp256k1::LocalKey::from_bytes(&[7; 32]).unwrap();
    money
        .fund(84_532, usdc.address, EvmWallet::new(key()).address(), Amount::from(50_000))
        .unwrap();
    let facilitator = LocalFacilitator::new((cards(), money)).with_acceptance(Acceptance::any());
    let facilitator = Arc::new(facilitator);
    let kinds = facilitator.ledger().kinds();
    assert!(kinds.iter().any(|kind| kind.scheme == "points"));
    assert!(facilitator.supported().await.unwrap().kinds.len() == kinds.len());
    let seller =
        Arc::new(Seller::with_parts(Arc::clone(&facilitator), Listed::default(), SystemClock));
    let route = get(|| async { "coffee" }).layer(PaymentLayer::new(Arc::clone(&seller), terms()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/", route)).await.unwrap();
    });
    // By points, by money, and by points first of both.
    let both = || (wallet(1), EvmWallet::new(key()));
    let by_points = Client::with_parts(Buyer::with_parts(wallet(1), policy(), SystemClock), http());
    let by_money = Client::with_parts(Buyer::new(EvmWallet::new(key())), http());
    let by_both = Client::with_parts(Buyer::with_parts(both(), policy(), SystemClock), http());
    assert_eq!(by_points.get(&url).await.unwrap().response.text().await.unwrap(), "coffee");
    assert_eq!(by_money.get(&url).await.unwrap().response.text().await.unwrap(), "coffee");
    assert_eq!(by_both.get(&url).await.unwrap().response.text().await.unwrap(), "coffee");
    assert_eq!(facilitator.ledger().0.earned(SHOP), 6);
    let payee = x402_std::evm::Address::parse(PAYEE).unwrap();
    assert_eq!(facilitator.ledger().1.balance(84_532, usdc.address, payee), Amount::from(10_000));
    serving.abort();
}

fn http() -> HttpTransport {
    HttpTransport::new().unwrap()
}

/// Each way to cheat has a reason, and none moves points.
#[tokio::test]
async fn cheats_are_refused_with_reasons() {
    let facilitator = LocalFacilitator::new(cards()).with_acceptance(Acceptance::any());
    let facilitator = Arc::new(facilitator);
    let seller = Seller::new(Arc::clone(&facilitator));
    let terms = Offers::new([offer(NETWORK, SHOP, 3)]);
    let required = terms.challenge(Version::V2, "").unwrap();
    let required = x402_std::message::PaymentRequired::from_json(required.as_bytes()).unwrap();
    let buyer = Buyer::with_parts(wallet(1), policy(), SystemClock);
    let good: Value = serde_json::from_str(&buyer.sign(&required, 0).await.unwrap().json).unwrap();
    let present = async |payment: &Value| -> Result<SettleResponse, Refusal> {
        let payment = payment.to_string();
        let admission = seller.admit(&terms, Version::V2, payment.as_bytes()).await?;
        assert_eq!(admission.payment().card, wallet(1).card());
        seller.settle(admission).await
    };
    let with = |path: &str, value: Value| {
        let mut payment = good.clone();
        *payment.pointer_mut(path).unwrap() = value;
        payment
    };
    for (payment, expected) in [
        (with("/payload/serial", json!(1)), "points_forged_stamp"),
        (with("/payload/card", json!(wallet(2).card().to_string())), "points_forged_stamp"),
        (with("/payload/signature", json!("00")), "invalid_payload"),
        (with("/payload", json!({})), "invalid_payload"),
        (with("/accepted/amount", json!("2")), "invalid_payment_requirements"),
        (with("/accepted/payTo", json!("me")), "invalid_payment_requirements"),
        (with("/accepted/network", json!("card:other")), "invalid_payment_requirements"),
        (with("/accepted/scheme", json!("exact")), "invalid_payment_requirements"),
    ] {
        let refusal = present(&payment).await.unwrap_err();
        assert_eq!(refusal.to_string(), expected, "{payment}");
    }
    assert_eq!(facilitator.ledger().earned(SHOP), 0);
    assert!(present(&good).await.unwrap().success);
    assert_eq!(present(&good).await.unwrap_err().reason, Reason::DuplicateSettlement);
    assert_eq!(facilitator.ledger().earned(SHOP), 3);
    // A seller of another scheme refuses the offer itself.
    let money = Seller::new(Arc::new(LocalFacilitator::new(SimulatedLedger::new())));
    assert_eq!(money.check(&terms).unwrap_err().reason, Reason::InvalidNetwork);
}

/// A reason of the scheme's own is final at a settlement, too: nothing is charged later.
#[tokio::test]
async fn a_settlement_that_the_ledger_refuses_is_over() {
    let facilitator = LocalFacilitator::new(cards()).with_acceptance(Acceptance::any());
    let facilitator = Arc::new(facilitator);
    let claims = Arc::new(Listed::default());
    let seller = Seller::with_parts(Arc::clone(&facilitator), Arc::clone(&claims), SystemClock);
    let terms = Offers::new([offer(NETWORK, SHOP, 4)]);
    let required = terms.challenge(Version::V2, "").unwrap();
    let required = x402_std::message::PaymentRequired::from_json(required.as_bytes()).unwrap();
    let buyer = Buyer::with_parts(wallet(1), policy(), SystemClock);
    let mut admissions = Vec::new();
    let mut last = String::new();
    for _ in 0..2 {
        last = buyer.sign(&required, 0).await.unwrap().json;
        admissions.push(seller.admit(&terms, Version::V2, last.as_bytes()).await.unwrap());
    }
    let second = admissions.pop().unwrap();
    let key = second.claim_key();
    assert!(seller.settle(admissions.pop().unwrap()).await.unwrap().success);
    let refusal = seller.settle(second).await.unwrap_err();
    assert_eq!(refusal.to_string(), "points_too_few");
    assert_eq!(refusal.receipt.unwrap().error_reason.as_deref(), Some("points_too_few"));
    assert!(matches!(claims.state(key).await, Ok(Some(ClaimState::Failed(Reason::Own(_))))));
    facilitator.ledger().give(wallet(1).card(), 9);
    let again = seller.admit(&terms, Version::V2, last.as_bytes()).await.unwrap_err();
    assert_eq!(again.to_string(), "points_too_few");
    assert_eq!(facilitator.ledger().earned(SHOP), 4);
}

/// An extension from outside grants, refuses, adds to payments and receipts, and is listed.
#[tokio::test]
async fn an_extension_works_at_all_three_roles() {
    let facilitator = LocalFacilitator::new(cards()).with_acceptance(Acceptance::any());
    let facilitator = Arc::new(facilitator.with_extension(Club));
    let listed = facilitator.supported().await.unwrap().extensions.unwrap();
    assert_eq!(listed.as_str(), r#"["club"]"#);
    let seller = Seller::new(Arc::clone(&facilitator)).with_extension(Club);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let frames = Frames(listener.local_addr().unwrap());
    let offers = Offers::new([offer(NETWORK, SHOP, 3)]);
    let serving = tokio::spawn(serve(listener, Arc::new(seller), offers));
    let challenge = frames.raw(&json!({ "ask": "tea" })).await.unwrap();
    assert_eq!(
        challenge["challenge"]["extensions"],
        json!({ "club": { "info": { "counter": 1 } } })
    );
    // A member pays nothing; a forged card is no member's.
    let member = frames.raw(&json!({ "ask": "tea", "club-card": "member-7" })).await.unwrap();
    assert_eq!((&member["content"], &member["for"]), (&json!("TEA"), &Value::Null));
    let forged = frames.raw(&json!({ "ask": "tea", "club-card": "member-8" })).await.unwrap();
    assert_eq!(forged["challenge"]["error"], "invalid_payload: no member has this card");
    assert_eq!(facilitator.ledger().earned(SHOP), 0);
    // A guest says so, and the receipt has what the visit earns.
    let buyer = Buyer::with_parts(wallet(1), policy(), SystemClock).with_extension(Club);
    let paid = buyer.buy(&frames, &"tea".to_owned()).await.unwrap();
    let receipt = paid.proof().unwrap();
    let earned = receipt.extensions.as_ref().unwrap().as_raw().get(club::KEY).unwrap();
    assert_eq!(earned.get("earned").unwrap().as_u64(), Some(1));
    // The same request with the same payment gets the same answer, paid once.
    assert_eq!(facilitator.ledger().earned(SHOP), 3);
    // An echo that leaves out what was announced is refused.
    let required = challenge["challenge"].to_string();
    let required = x402_std::message::PaymentRequired::from_json(required.as_bytes()).unwrap();
    let signed = buyer.sign(&required, 0).await.unwrap().json;
    let mut payment: Value = serde_json::from_str(&signed).unwrap();
    assert_eq!(payment["extensions"]["club"]["info"], json!({ "counter": 1, "guest": true }));
    for (info, error) in [
        (json!({ "guest": true }), "extension_echo_mismatch"),
        (json!({ "counter": 2, "guest": true }), "extension_echo_mismatch"),
        (json!({ "counter": 1, "guest": false }), "invalid_payload: guests only"),
    ] {
        payment["extensions"]["club"]["info"] = info;
        let refused = frames.raw(&json!({ "ask": "tea", "payment": payment })).await.unwrap();
        assert_eq!(refused["challenge"]["error"], error);
    }
    assert_eq!(facilitator.ledger().earned(SHOP), 3);
    // Work that fails or panics costs nothing, and the payment stays good.
    let payment: Value = serde_json::from_str(&signed).unwrap();
    for ask in ["fail", "panic"] {
        let failed = frames.raw(&json!({ "ask": ask, "payment": payment })).await.unwrap();
        assert_eq!(failed["error"], "failed");
    }
    assert_eq!(facilitator.ledger().earned(SHOP), 3);
    let served = frames.raw(&json!({ "ask": "cake", "payment": payment })).await.unwrap();
    assert_eq!((&served["content"], &served["receipt"]["success"]), (&json!("CAKE"), &json!(true)));
    assert_eq!(served["for"], json!(wallet(1).card().to_string()));
    assert_eq!(facilitator.ledger().earned(SHOP), 6);
    let again = frames.raw(&json!({ "ask": "cake", "payment": payment })).await.unwrap();
    assert_eq!(again["challenge"]["error"], "duplicate_settlement");
    serving.abort();
}

/// Breaks when it is asked for a receipt, and would give anybody's answer to anybody.
struct Broken(std::sync::Mutex<Option<x402_core::claim::ClaimKey>>);

impl SellerExtension for Broken {
    fn key(&self) -> &str {
        "broken"
    }

    fn declare(&self, _: &Offers) -> Option<Json> {
        None
    }

    fn before<'a>(
        &'a self,
        _: &'a PaidRequest,
        _: Option<x402_core::json::RawJson<'a>>,
    ) -> BoxFuture<'a, Before> {
        let key = *self.0.lock().unwrap();
        Box::pin(std::future::ready(key.map_or(Before::GoOn, Before::Replay)))
    }

    fn receipt(&self, payment: &AcceptedPayment, _: &SettleResponse) -> Option<Json> {
        *self.0.lock().unwrap() = Some(payment.claim_key);
        panic!("the extension's own bug");
    }
}

/// The buyer has paid: a bug of an extension takes nothing from it, and gives nobody else its answer.
#[tokio::test]
async fn an_extension_that_breaks_costs_nobody_anything() {
    let facilitator = LocalFacilitator::new(cards()).with_acceptance(Acceptance::any());
    let facilitator = Arc::new(facilitator);
    facilitator.ledger().give(wallet(2).card(), 9);
    let broken = Broken(Default::default());
    let seller = Seller::new(Arc::clone(&facilitator)).with_extension(broken);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let frames = Frames(listener.local_addr().unwrap());
    let offers = Offers::new([offer(NETWORK, SHOP, 3)]);
    let serving = tokio::spawn(serve(listener, Arc::new(seller), offers));
    let buyer = Buyer::with_parts(wallet(1), policy(), SystemClock);
    let paid = buyer.buy(&frames, &"tea".to_owned()).await.unwrap();
    assert_eq!((paid.response.as_str(), paid.proof().unwrap().success), ("TEA", true));
    let other = Buyer::with_parts(wallet(2), policy(), SystemClock);
    let refused = other.buy(&frames, &"tea".to_owned()).await.unwrap_err();
    assert!(format!("{refused:?}").contains("duplicate_settlement"), "{refused:?}");
    assert_eq!(facilitator.ledger().earned(SHOP), 3);
    serving.abort();
}

#[tokio::test]
async fn the_store_keeps_the_rules() {
    let store = Arc::new(Listed::default());
    x402_std::store::conformance::claims(async || Arc::clone(&store)).await;
}

/// A pair that is swapped is another type.
#[test]
fn a_pair_of_ledgers_is_for_a_pair_of_payments() {
    fn settles<P: x402_core::Payment, L: x402_std::facilitator::ledger::Ledger<P>>(_: &L) {}
    settles::<Either<Stamp, Stamp>, _>(&(cards(), cards()));
    let mixed = (cards(), SimulatedLedger::new());
    settles::<Either<Stamp, x402_std::scheme::ExactPayment>, _>(&mixed);
}
