//! Published attacks, each tried: what `attacks.rs` promises and no other test shows.
#![allow(missing_docs)]

mod common;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use common::{Act, NETWORK, SELLER, SVM_NETWORK, SVM_SELLER, Scripted, header, sign};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Barrier, Semaphore};
use tower::ServiceExt;
use x402_core::buyer::Decline;
use x402_core::claim::{ClaimKey, ClaimState, Presented, Resource};
use x402_core::crypto::{Signer, ed25519, secp256k1};
use x402_core::{Money, ParseError, Reason, Version, base64, gate, limits};
use x402_std::buyer::client::{Client, HttpTransport};
use x402_std::buyer::wallet::EvmWallet;
use x402_std::buyer::{BuyError, Buyer, Policy};
use x402_std::clock::{Clock, SystemClock};
use x402_std::facilitator::ledger::{Ledger, Networks};
use x402_std::facilitator::{Facilitator, FacilitatorError, RemoteFacilitator, router};
use x402_std::message::{
    Json, PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse, VerifyRequest,
    encode_header,
};
use x402_std::scheme::Exact;
use x402_std::seller::server::{PAYMENTS_AT_ONCE, PaymentLayer};
use x402_std::seller::{Offers, Seller, exact};
use x402_std::store::{ClaimStore, MemoryStore, StoreError};
use x402_std::svm::message::{TRANSACTION_BYTES, Transaction};
use x402_std::transport::PaymentText;

fn offer() -> PaymentRequirements {
    priced("$0.01")
}

fn priced(price: &str) -> PaymentRequirements {
    exact(NETWORK, SELLER, price).unwrap()
}

fn required(offers: impl IntoIterator<Item = PaymentRequirements>) -> PaymentRequired {
    let challenge = Offers::new(offers).challenge(Version::V2, "").unwrap();
    PaymentRequired::from_json(challenge.as_bytes()).unwrap()
}

fn request(payment: &PaymentText, offer: &PaymentRequirements) -> VerifyRequest {
    VerifyRequest {
        payment_payload: PaymentPayload::from_json(payment.json.as_bytes()).unwrap(),
        payment_requirements: offer.clone(),
        other: None,
    }
}

/// A seller over HTTP whose handler counts how often it is called.
struct Shop {
    app: Router,
    handled: Arc<AtomicUsize>,
}

/// Two routes, each with a layer of its own.
fn shop(facilitator: &Scripted, store: &Arc<MemoryStore>) -> Shop {
    shop_with(facilitator, store, offer(), async || "paid content")
}

fn shop_with<F, R>(
    facilitator: &Scripted,
    store: &Arc<MemoryStore>,
    terms: impl Into<Offers>,
    work: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> Shop
where
    F: Future<Output = R> + Send,
    R: IntoResponse,
{
    let seller = Seller::with_parts(facilitator.clone(), Arc::clone(store), SystemClock);
    let (seller, terms) = (Arc::new(seller), terms.into());
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let handler = move || {
        count.fetch_add(1, Ordering::SeqCst);
        work()
    };
    let charge = || PaymentLayer::new(Arc::clone(&seller), terms.clone());
    let app = Router::new()
        .route("/weather", any(handler.clone()).layer(charge()))
        .route("/news", any(handler).layer(charge()));
    Shop { app, handled }
}

impl Shop {
    async fn send(&self, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::builder().uri(path).header("host", "shop.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn pay(&self, path: &str, payment: &PaymentText) -> Response<Body> {
        let (name, value) = header(payment);
        self.send(path, &[(name, &value)]).await
    }

    async fn challenge(&self, path: &str) -> PaymentRequired {
        let response = self.send(path, &[]).await;
        PaymentRequired::from_header(response.headers()["payment-required"].as_bytes()).unwrap()
    }

    fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }
}

/// Why a payment was refused.
fn refusal(response: &Response<Body>) -> Option<String> {
    let header = response.headers().get("payment-required")?;
    PaymentRequired::from_header(header.as_bytes()).unwrap().error
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

// ---- replay

#[tokio::test]
async fn a_payment_used_buys_nothing_anywhere() {
    let (facilitator, store) = (Scripted::new(), Arc::default());
    let first = shop(&facilitator, &store);
    let payment = sign(&first.challenge("/weather").await).await;
    assert_eq!(first.pay("/weather", &payment).await.status(), StatusCode::OK);
    // The same signature in the other version's clothes.
    let v2: Value = serde_json::from_str(&payment.json).unwrap();
    let v1 = serde_json::json!({
        "x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": v2["payload"],
    });
    let v1 = PaymentText { version: Version::V1, json: v1.to_string() };
    let sharing = shop(&facilitator, &store);
    let (stranger, forgetful) = (Arc::default(), Arc::new(MemoryStore::new(1)));
    let (duplicate, spent) = ("duplicate_settlement", "invalid_exact_evm_nonce_already_used");
    for (name, shop, path, payment, error) in [
        ("same route", &first, "/weather", &payment, duplicate),
        ("other route", &first, "/news", &payment, duplicate),
        ("other query", &first, "/weather?more=1", &payment, duplicate),
        ("version 1", &first, "/weather", &v1, duplicate),
        ("other seller, same store", &sharing, "/weather", &payment, duplicate),
        (
            "other seller, other store",
            &self::shop(&facilitator, &stranger),
            "/news",
            &payment,
            spent,
        ),
        ("after a restart", &self::shop(&facilitator, &forgetful), "/weather", &v1, spent),
    ] {
        let before = shop.handled();
        let response = shop.pay(path, payment).await;
        assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED, "{name}");
        assert_eq!(refusal(&response).as_deref(), Some(error), "{name}");
        assert!(!text(response).await.contains("paid content"), "{name}");
        assert_eq!(shop.handled(), before, "{name}");
    }
    assert_eq!(facilitator.paid(), 10_000);
}

/// Sellers that know nothing of each other, and both were told that the payment is good.
#[tokio::test]
async fn a_payment_checked_by_two_sellers_is_served_by_one() {
    for (price, same) in [("$0.01", true), ("$0.60", false)] {
        let (facilitator, both) = (Scripted::new(), Arc::new(Barrier::new(2)));
        let open = || {
            let both = Arc::clone(&both);
            let work = move || {
                let both = Arc::clone(&both);
                async move {
                    both.wait().await;
                    "paid content"
                }
            };
            shop_with(&facilitator, &Arc::default(), priced(price), work)
        };
        let (here, there) = (open(), open());
        let payment = sign(&here.challenge("/weather").await).await;
        // One payment, or two that one balance cannot cover.
        let second =
            if same { payment.clone() } else { sign(&there.challenge("/news").await).await };
        let (a, b) = tokio::join!(here.pay("/weather", &payment), there.pay("/news", &second));
        assert_eq!((here.handled(), there.handled()), (1, 1));
        let (served, refused) = if a.status() == StatusCode::OK { (a, b) } else { (b, a) };
        assert_eq!(text(served).await, "paid content");
        let told =
            if same { "settlement_pending" } else { "invalid_exact_evm_insufficient_balance" };
        assert_eq!(refusal(&refused).as_deref(), Some(told));
        assert!(!text(refused).await.contains("paid content"));
        assert_eq!(facilitator.paid(), if same { 10_000 } else { 600_000 });
    }
}

/// A payment for one offer, presented as one for another: what is signed counts.
#[tokio::test]
async fn an_offer_written_over_the_one_paid_is_not_paid() {
    let facilitator = Scripted::new();
    let seller = Seller::new(facilitator.clone());
    let supported = facilitator.supported().await.unwrap();
    let complete =
        |offer| Offers::from(offer).with_supported(&supported).unwrap().accepts.remove(0);
    let evm = |network: &str, pay_to: &str, price| exact(network, pay_to, price).unwrap();
    let svm = |pay_to: &str, price| complete(exact(SVM_NETWORK, pay_to, price).unwrap());
    let else_evm = common::wallet().address().to_string();
    let else_svm = common::svm_wallet().address().to_string();
    let buyer = Buyer::new((common::wallet(), common::svm_wallet()));
    let evm_paid = evm(NETWORK, SELLER, "$0.01");
    let svm_paid = svm(SVM_SELLER, "$0.01");
    for (paid, wanted, reason) in [
        (&evm_paid, evm(NETWORK, &else_evm, "$0.01"), Reason::InvalidExactEvmRecipientMismatch),
        (&evm_paid, evm("base", SELLER, "$0.01"), Reason::InvalidExactEvmSignature),
        (
            &evm_paid,
            evm(NETWORK, SELLER, "$0.02"),
            Reason::InvalidExactEvmPayloadAuthorizationValueMismatch,
        ),
        (
            &evm_paid,
            evm(NETWORK, SELLER, "$0.009999"),
            Reason::InvalidExactEvmPayloadAuthorizationValueMismatch,
        ),
        (&svm_paid, svm(&else_svm, "$0.01"), Reason::InvalidExactSvmPayloadRecipientMismatch),
        (&svm_paid, svm(SVM_SELLER, "$0.02"), Reason::InvalidExactSvmPayloadAmountMismatch),
        (
            &svm_paid,
            svm_paid.clone().with_extra("memo", "order-7"),
            Reason::InvalidExactSvmPayloadMemoMismatch,
        ),
    ] {
        let payment = buyer.sign(&required([paid.clone()]), 0).await.unwrap();
        let mut json: Value = serde_json::from_str(&payment.json).unwrap();
        json["accepted"] = serde_json::from_str(&wanted.to_json().unwrap()).unwrap();
        let terms = Offers::from(wanted);
        for (json, reason) in
            [(payment.json, Reason::InvalidPaymentRequirements), (json.to_string(), reason)]
        {
            let refused = seller.admit(&terms, Version::V2, json.as_bytes()).await;
            assert_eq!(refused.map_err(|refusal| refusal.reason).unwrap_err(), reason, "{terms:?}");
        }
    }
    assert!(facilitator.calls().is_empty());
}

// ---- the web layer

#[tokio::test]
async fn no_spelling_of_a_path_is_free() {
    let shop = shop(&Scripted::new(), &Arc::default());
    for path in [
        "/weather",
        "/weather?",
        "/weather?a=b",
        "/weather/",
        "/weather//",
        "//weather",
        "/./weather",
        "/x/../weather",
        "/news/../weather",
        "/%77eather",
        "/we%61ther",
        "/WEATHER",
        "/weather%2f",
        "/weather%00",
        "/weather%20",
        "/weather;a=b",
        "/weather.json",
        "/%2e/weather",
        "/%2e%2e/weather",
        "/weather%3fa=b",
        "/%252fweather",
        "http://shop.test/weather",
        "http://other.test/weather",
        "http://shop.test//weather",
    ] {
        for method in ["GET", "HEAD", "POST", "OPTIONS", "QUERY"] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let status = shop.app.clone().oneshot(request).await.unwrap().status();
            let asked = matches!(status, StatusCode::PAYMENT_REQUIRED | StatusCode::NOT_FOUND);
            assert!(asked, "{method} {path}: {status}");
        }
    }
    assert_eq!(shop.handled(), 0);
}

/// Around all routes, every spelling costs what the one that is meant costs.
#[tokio::test]
async fn a_price_on_everything_is_on_every_spelling() {
    let seller = Arc::new(Seller::new(Scripted::new()));
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let handler = move || async move { count.fetch_add(1, Ordering::SeqCst).to_string() };
    let app = Router::new()
        .route("/weather", get(handler.clone()))
        .fallback(handler)
        .layer(PaymentLayer::new(seller, offer()));
    for path in ["/weather", "/we%61ther", "//weather", "/x/../weather", "/anything", "/%2e%2e/"] {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let status = app.clone().oneshot(request).await.unwrap().status();
        assert_eq!(status, StatusCode::PAYMENT_REQUIRED, "{path}");
    }
    assert_eq!(handled.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn paid_bodies_are_private_whatever_the_handler_says() {
    for says in [None, Some("public, max-age=3600"), Some("s-maxage=60"), Some("no-store")] {
        for offer in [offer(), offer().upfront()] {
            let work = move || async move {
                let mut response = "paid content".into_response();
                if let Some(says) = says {
                    response.headers_mut().insert("cache-control", says.parse().unwrap());
                    for name in
                        ["cdn-cache-control", "x-cdn-cache-control", "expires", "payment-required"]
                    {
                        response.headers_mut().insert(name, "public".parse().unwrap());
                    }
                }
                response
            };
            let facilitator = Scripted::new();
            let shop = shop_with(&facilitator, &Arc::default(), offer, work);
            let unpaid = shop.send("/weather", &[]).await;
            assert_eq!(unpaid.headers()["cache-control"], "no-store");
            let payment = sign(&shop.challenge("/weather").await).await;
            let response = shop.pay("/weather", &payment).await;
            assert_eq!(response.status(), StatusCode::OK);
            let said = response.headers().get_all("cache-control").iter();
            let said: Vec<_> = said.map(|value| value.to_str().unwrap()).collect();
            let directives: Vec<_> = said.iter().flat_map(|line| line.split(", ")).collect();
            let wanted = if says == Some("no-store") { "no-store" } else { "private" };
            assert_eq!(directives, [wanted], "{says:?}");
            for name in ["cdn-cache-control", "x-cdn-cache-control", "expires", "payment-required"]
            {
                assert!(!response.headers().contains_key(name), "{name}");
            }
            // What is refused is no more for the cache than what was not paid.
            let again = shop.pay("/weather", &payment).await;
            assert_eq!(again.headers()["cache-control"], "no-store");
        }
    }
}

/// What one buyer's request failed with is no answer to the next, who may be asked to pay.
#[tokio::test]
async fn answers_that_cost_nothing_are_not_kept_either() {
    for status in [404, 405, 410, 414, 500, 501] {
        let work = move || async move {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("cdn-cache-control", "max-age=60"), ("cache-control", "public")], "no")
        };
        let shop = shop_with(&Scripted::new(), &Arc::default(), offer(), work);
        let payment = sign(&shop.challenge("/weather").await).await;
        let response = shop.pay("/weather", &payment).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!response.headers().contains_key("cdn-cache-control"));
    }
}

/// One route under two mounts: told apart if each says where it is.
#[tokio::test]
async fn a_mount_is_part_of_the_path_if_it_is_named() {
    for (bases, served) in [(["https://a.test/a", "https://a.test/b/"], false), ([""; 2], true)] {
        let facilitator = Scripted::new();
        let supported = facilitator.supported().await.unwrap();
        let terms = Offers::from(exact(SVM_NETWORK, SVM_SELLER, "$0.01").unwrap());
        let terms = terms.with_supported(&supported).unwrap();
        let seller = Arc::new(Seller::new(facilitator));
        let mount = |base: &str| {
            let charge =
                PaymentLayer::new(Arc::clone(&seller), terms.clone()).with_memo_secret([9; 32]);
            let charge = if base.is_empty() { charge } else { charge.with_base_url(base) };
            Router::new().route("/x", any(|| async { "paid content" }).layer(charge))
        };
        let app = Router::new().nest("/a", mount(bases[0])).nest("/b", mount(bases[1]));
        let shop = Shop { app, handled: Arc::default() };
        let required = shop.challenge("/a/x").await;
        if !served {
            assert_eq!(required.resource.as_ref().unwrap().url, "https://a.test/a/x");
            let there = shop.challenge("/b/x").await.resource.unwrap();
            assert_eq!(there.url, "https://a.test/b/x");
        }
        let payment = Buyer::new(common::svm_wallet()).sign(&required, 0).await.unwrap();
        let elsewhere = shop.pay("/b/x", &payment).await.status();
        assert_eq!(elsewhere == StatusCode::OK, served);
        assert_eq!(shop.pay("/a/x", &payment).await.status() == StatusCode::OK, !served);
    }
}

#[tokio::test]
async fn headers_too_long_cost_a_400_and_nothing_else() {
    let facilitator = Scripted::new();
    let shop = shop(&facilitator, &Arc::default());
    let payment = sign(&shop.challenge("/weather").await).await;
    let padded = |spaces| encode_header((payment.json.clone() + &" ".repeat(spaces)).as_bytes());
    let deep = |bytes: usize| encode_header(&vec![b'['; bytes]);
    let keys = |count| (0..count).map(|n| format!("\"k{n}\":0,")).collect::<String>();
    let with_keys = |keys: &str| {
        let json = payment.json.replacen("\"payload\":{", &format!("\"payload\":{{{keys}"), 1);
        encode_header(json.as_bytes())
    };
    for (name, value) in [
        ("one byte more", "A".repeat(limits::HEADER_BYTES + 1)),
        ("a megabyte", "A".repeat(1 << 20)),
        ("a payment behind a megabyte of spaces", " ".repeat(1 << 20) + &padded(0)),
        ("a long text", padded(limits::MESSAGE_BYTES)),
        ("deep", deep(40_000)),
        ("one key seven thousand times", with_keys(&"\"a\":0,".repeat(7000))),
        ("five thousand keys", with_keys(&keys(5000))),
        ("padding", "=".repeat(60_000)),
    ] {
        let response = shop.send("/weather", &[("payment-signature", &value)]).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{name}");
        assert!(text(response).await.len() < 2000, "{name}: repeated");
    }
    // As many copies as a server takes, in either header.
    let value = padded(0);
    let copies = vec![("x-payment", value.as_str()); 100];
    let twice = [&copies[..], &[("payment-signature", &value)]].concat();
    for headers in [&copies[..], &twice[..]] {
        assert_eq!(shop.send("/weather", headers).await.status(), StatusCode::BAD_REQUEST);
    }
    // One list of two, as a proxy joins them.
    let joined = [("payment-signature", &*format!("{value}, {value}"))];
    assert_eq!(shop.send("/weather", &joined).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!((shop.handled(), facilitator.calls().len()), (0, 0));
    // Long is no fault in itself.
    for value in [padded(40_000), with_keys(&keys(200))] {
        let response = shop.send("/weather", &[("payment-signature", &value)]).await;
        assert_ne!(response.status(), StatusCode::BAD_REQUEST);
    }
}

// ---- between check and settlement

/// The buyer spends the money on something else while the handler works.
#[tokio::test]
async fn money_spent_after_the_check_buys_nothing() {
    for upfront in [false, true] {
        let facilitator = Scripted::new();
        let elsewhere = priced("$0.60");
        let other = sign(&required([elsewhere.clone()])).await;
        let spend = Arc::new(request(&other, &elsewhere));
        let inner = Arc::clone(&facilitator.inner);
        let work = move || {
            let (inner, spend) = (Arc::clone(&inner), Arc::clone(&spend));
            async move {
                assert!(inner.settle(&spend).await.unwrap().success);
                ([("location", "/goods"), ("set-cookie", "goods")], "paid content")
            }
        };
        let offer = if upfront { priced("$0.60").upfront() } else { priced("$0.60") };
        let shop = shop_with(&facilitator, &Arc::default(), offer, work);
        let payment = sign(&shop.challenge("/weather").await).await;
        if upfront {
            // It is settled first: to spend it first means before that, and no work is done.
            let (inner, spend) = (Arc::clone(&facilitator.inner), request(&other, &elsewhere));
            assert!(inner.settle(&spend).await.unwrap().success);
            facilitator.next_verify(Act::Verify(true));
        }
        for _ in 0..2 {
            let response = shop.pay("/weather", &payment).await;
            assert_eq!(
                refusal(&response).as_deref(),
                Some("invalid_exact_evm_insufficient_balance")
            );
            for name in ["location", "set-cookie"] {
                assert!(!response.headers().contains_key(name));
            }
            assert!(!text(response).await.contains("paid content"));
            assert_eq!(shop.handled(), usize::from(!upfront));
        }
        assert_eq!(facilitator.paid(), 600_000);
    }
}

/// Whoever sees an EIP-3009 authorization can send it. The payee has the money then, and nobody
/// tells the buyer to sign another.
#[tokio::test]
async fn a_settlement_sent_by_another_is_not_a_failure() {
    let facilitator = Scripted::new();
    let seen: Arc<Mutex<Option<VerifyRequest>>> = Arc::default();
    let (inner, stolen) = (Arc::clone(&facilitator.inner), Arc::clone(&seen));
    let work = move || {
        let (inner, stolen) = (Arc::clone(&inner), Arc::clone(&stolen));
        async move {
            let request = stolen.lock().unwrap().take().unwrap();
            let (schemes, view) = (Exact::default(), request.as_view());
            let (payload, offer) = (&view.payment_payload, &view.payment_requirements);
            let now = SystemClock.now();
            let verified = gate::verify(&schemes, payload, offer, now).unwrap();
            let (_, unsent) = inner.ledger().prepare(verified.as_ref()).await.unwrap();
            inner.ledger().send(unsent).await;
            "paid content"
        }
    };
    let shop = shop_with(&facilitator, &Arc::default(), offer(), work);
    let payment = sign(&shop.challenge("/weather").await).await;
    *seen.lock().unwrap() = Some(request(&payment, &offer()));
    for _ in 0..3 {
        let response = shop.pay("/weather", &payment).await;
        assert_eq!(refusal(&response).as_deref(), Some("unknown_settlement_error"));
        assert!(!text(response).await.contains("paid content"));
    }
    assert_eq!((shop.handled(), facilitator.paid()), (1, 10_000));
}

/// Claims that nobody gets while the door is shut.
struct Door(MemoryStore, Semaphore);

impl ClaimStore for Door {
    async fn present(
        &self,
        key: ClaimKey,
        resource: Resource,
        expires_at: u64,
        now: u64,
    ) -> Result<Presented, StoreError> {
        let _open = self.1.acquire().await.unwrap();
        self.0.present(key, resource, expires_at, now).await
    }

    async fn advance(
        &self,
        key: ClaimKey,
        from: &ClaimState,
        to: ClaimState,
    ) -> Result<(), StoreError> {
        self.0.advance(key, from, to).await
    }

    async fn release(&self, key: ClaimKey) -> Result<(), StoreError> {
        self.0.release(key).await
    }

    async fn state(&self, key: ClaimKey) -> Result<Option<ClaimState>, StoreError> {
        self.0.state(key).await
    }
}

/// More payments than a layer works on, or than a store has room for, are asked to come again.
#[tokio::test]
async fn who_is_busy_serves_nobody() {
    let facilitator = Scripted::new();
    let full = shop(&facilitator, &Arc::new(MemoryStore::new(0)));
    let payment = sign(&full.challenge("/weather").await).await;
    let response = full.pay("/weather", &payment).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((full.handled(), facilitator.calls().len()), (0, 0));

    let door = Arc::new(Door(MemoryStore::default(), Semaphore::new(0)));
    let seller = Arc::new(Seller::with_parts(facilitator, Arc::clone(&door), SystemClock));
    let app =
        Router::new().route("/", any(|| async { "" }).layer(PaymentLayer::new(seller, offer())));
    let (name, value) = header(&payment);
    let ask = || {
        let request = Request::builder().uri("/").header(name, &value).body(Body::empty());
        app.clone().oneshot(request.unwrap())
    };
    let mut tries: Vec<_> = (0..=PAYMENTS_AT_ONCE).map(|_| tokio::spawn(ask())).collect();
    let since = Instant::now();
    let turned_away = loop {
        if let Some(place) = tries.iter().position(|one| one.is_finished()) {
            break tries.remove(place).await.unwrap().unwrap();
        }
        assert!(since.elapsed().as_secs() < 30, "nobody is turned away");
        tokio::task::yield_now().await;
    };
    assert_eq!(turned_away.status(), StatusCode::SERVICE_UNAVAILABLE);
    door.1.add_permits(1);
    let mut served = 0;
    for one in tries {
        served += usize::from(one.await.unwrap().unwrap().status() == StatusCode::OK);
    }
    assert_eq!(served, 1);
    assert_eq!(ask().await.unwrap().status(), StatusCode::PAYMENT_REQUIRED);
}

// ---- signatures

/// The text of a payment with its scheme's payload changed.
fn with_payload(payment: &PaymentText, key: &str, value: String) -> String {
    let mut json: Value = serde_json::from_str(&payment.json).unwrap();
    json["payload"][key] = value.into();
    json.to_string()
}

/// A facilitator that says yes to everything sells nothing that was not signed for.
#[tokio::test]
async fn forged_signatures_are_refused_whoever_vouches() {
    let facilitator = Scripted::new();
    let seller = Seller::new(facilitator.clone());
    let supported = facilitator.supported().await.unwrap();
    let offers = [exact(SVM_NETWORK, SVM_SELLER, "$0.01").unwrap(), offer()];
    let terms = Offers::new(offers).with_supported(&supported).unwrap();
    let challenge = required(terms.accepts.clone());
    let buyer = Buyer::new((common::wallet(), common::svm_wallet()));
    let mut forged = Vec::new();

    let evm = buyer.sign(&challenge, 1).await.unwrap();
    let json: Value = serde_json::from_str(&evm.json).unwrap();
    let signature = json["payload"]["signature"].as_str().unwrap().trim_start_matches("0x");
    // As a wallet that is not deployed yet wraps it: factory, call, signature, and the magic number.
    let word = |text: &str| format!("{text:0>64}");
    let wrapped = |inner: &str| {
        let inner = format!("{}{inner:0<192}", word("41"));
        let call = word("4") + &format!("{:0<64}", "deadbeef");
        let head = [word(&"fa".repeat(20)), word("60"), word("a0")].concat();
        head + &call + &inner + &"6492".repeat(16)
    };
    let stranger = EvmWallet::new(secp256k1::LocalKey::from_bytes(&[99; 32]).unwrap());
    let theirs = Buyer::new(stranger).sign(&challenge, 1).await.unwrap();
    let theirs: Value = serde_json::from_str(&theirs.json).unwrap();
    let theirs = theirs["payload"]["signature"].as_str().unwrap().trim_start_matches("0x");
    for value in [
        theirs.into(),
        String::new(),
        "00".repeat(65),
        format!("{}{}", "00".repeat(64), "1b"),
        "ff".repeat(65),
        wrapped(signature),
        wrapped(&"00".repeat(65)),
        "6492".repeat(16),
        "ab".repeat(1000),
    ] {
        let json = with_payload(&evm, "signature", format!("0x{value}"));
        forged.push((json, Reason::InvalidExactEvmSignature));
    }

    let svm = buyer.sign(&challenge, 0).await.unwrap();
    let json: Value = serde_json::from_str(&svm.json).unwrap();
    let mut scratch = [0; TRANSACTION_BYTES];
    let text = json["payload"]["transaction"].as_str().unwrap();
    let bytes = base64::decode(text.as_bytes(), &mut scratch).unwrap().to_vec();
    let message = Transaction::parse(&bytes).unwrap().message().as_bytes().to_vec();
    let stranger = ed25519::LocalKey::from_seed(&[99; 32]);
    for signature in [[0; 64], [1; 64], [0xff; 64], Signer::sign(&stranger, &message).unwrap()] {
        let mut bytes = bytes.clone();
        bytes[65..129].copy_from_slice(&signature);
        let mut out = [0; 2 * TRANSACTION_BYTES];
        let text = base64::encode(&bytes, &mut out).unwrap().to_owned();
        let json = with_payload(&svm, "transaction", text);
        forged.push((json, Reason::InvalidExactSvmPayloadSignatureInvalid));
    }

    for (json, reason) in forged {
        facilitator.next_verify(Act::Verify(true));
        let refused = seller.admit(&terms, Version::V2, json.as_bytes()).await.unwrap_err();
        assert_eq!(refused.reason, reason, "{json}");
        // The local facilitator does not vouch either.
        let payload = PaymentPayload::from_json(json.as_bytes()).unwrap();
        let index = usize::from(reason == Reason::InvalidExactEvmSignature);
        let request = VerifyRequest {
            payment_payload: payload,
            payment_requirements: terms.accepts[index].clone(),
            other: None,
        };
        let answer = facilitator.inner.settle(&request).await.unwrap();
        assert_eq!(answer.error_reason.as_deref(), Some(reason.as_str()));
    }
    assert!(facilitator.calls().is_empty());
    assert_eq!((facilitator.paid(), facilitator.paid_svm()), (0, 0));
}

// ---- the facilitator

/// Its word is taken from nobody else, wherever it points.
#[tokio::test]
async fn a_facilitator_cannot_send_a_seller_elsewhere() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let liar = serve(Router::new().fallback(any(move || {
        count.fetch_add(1, Ordering::SeqCst);
        async {
            r#"{"isValid":true,"success":true,"transaction":"0x1","network":"eip155:84532","kinds":[]}"#
        }
    })))
    .await;
    for status in [301, 302, 303, 307, 308, 300, 201] {
        let to = liar.clone();
        let honest = router(Scripted::new());
        let redirect = any(move || async move {
            let response = Response::builder().status(status).header("location", to);
            response.body(Body::empty()).unwrap()
        });
        // One that only settles elsewhere, too.
        for verifies in [false, true] {
            let app = match verifies {
                false => Router::new().fallback(redirect.clone()),
                true => Router::new()
                    .route("/settle", redirect.clone())
                    .fallback_service(honest.clone()),
            };
            let remote = RemoteFacilitator::new(&serve(app).await).unwrap();
            let seller = Seller::new(remote.clone());
            let terms = Offers::from(offer());
            let payment = sign(&required([offer()])).await;
            let admitted = seller.admit(&terms, Version::V2, payment.json.as_bytes()).await;
            let refused = match admitted {
                Ok(admission) => seller.settle(admission).await.unwrap_err(),
                Err(refusal) => refusal,
            };
            let told = match verifies {
                false => Reason::FacilitatorUnavailable,
                true => Reason::UnknownSettlementError,
            };
            assert_eq!((refused.reason, refused.status / 100), (told, 5), "{status}");
            if !verifies && status != 201 {
                let supported = remote.supported().await;
                assert_eq!(supported, Err(FacilitatorError::Status(status)));
            }
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

// ---- the buyer

/// A seller that answers everything with `answer`.
async fn answering(answer: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static) -> String {
    serve(Router::new().fallback(any(move || {
        let answer = answer();
        async move { answer }
    })))
    .await
}

#[tokio::test]
async fn a_budget_holds_for_all_who_spend_at_once() {
    let facilitator = Scripted::new();
    let seller = Arc::new(Seller::new(facilitator.clone()));
    let app =
        Router::new().route("/", any(|| async { "" }).layer(PaymentLayer::new(seller, offer())));
    let url = serve(app).await;
    let policy = Policy { limits: vec!["$0.035".parse().unwrap()], ..Policy::default() };
    let buyer = Buyer::with_parts(common::wallet(), policy, SystemClock);
    let client = Arc::new(Client::with_parts(buyer, HttpTransport::new().unwrap()));
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let (client, url) = (Arc::clone(&client), url.clone());
            tokio::spawn(async move { client.get(&url).await })
        })
        .collect();
    let (mut bought, mut declined) = (0, 0);
    for one in tries {
        match one.await.unwrap() {
            Ok(_) => bought += 1,
            Err(BuyError::OverBudget(_)) => declined += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((bought, declined, facilitator.paid()), (3, 17, 30_000));
}

/// Names, places and letters that look like those a buyer trusts.
#[test]
fn look_alikes_are_declined() {
    let good = offer();
    let svm = exact(SVM_NETWORK, SVM_SELLER, "$0.01").unwrap().with_extra("feePayer", SVM_SELLER);
    let changed = |offer: &PaymentRequirements, from: &str, to: &str| {
        let json = offer.to_json().unwrap();
        assert!(json.contains(from), "{from}");
        PaymentRequirements::from_json(json.replace(from, to).as_bytes())
    };
    let evm = |from: &str, to: &str| changed(&good, from, to);
    let last = good.asset.replacen("CF7e", "CF7f", 1);
    let mainnet = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
    let buyer = Buyer::new((common::wallet(), common::svm_wallet()));
    let chosen = |offer| buyer.choose(&required([offer]), "").map(|_| ());
    assert_eq!((chosen(good.clone()), chosen(svm.clone())), (Ok(()), Ok(())));
    for (name, offer, wanted) in [
        ("one digit of the token", evm(&good.asset, &last), Decline::Asset),
        ("another chain's token", evm("84532", "8453"), Decline::Asset),
        ("a chain nobody knows", evm("84532", "845320"), Decline::Asset),
        ("the token's name", evm("\"USDC\"", "\"USD Coin\""), Decline::Unpayable),
        ("a Cyrillic name", evm("\"USDC\"", "\"USD\u{421}\""), Decline::Unpayable),
        ("the same, escaped", evm("\"USDC\"", "\"USD\\u0421\""), Decline::Unpayable),
        ("a name with nothing", evm("\"USDC\"", "\"USDC\u{200b}\""), Decline::Unpayable),
        ("the token's version", evm("\"2\"", "\"1\""), Decline::Unpayable),
        ("wide digits of an address", evm("0x90F7", "0x\u{ff19}0F7"), Decline::Unpayable),
        ("a space behind it", evm(SELLER, &format!("{SELLER} ")), Decline::Unpayable),
        ("mainnet's mint", changed(&svm, &svm.asset, mainnet), Decline::Unpayable),
        ("a mint in small letters", changed(&svm, "4zMMC9", "4zmmc9"), Decline::Unpayable),
        ("another cluster", changed(&svm, "EtWTRA", "EtWTRB"), Decline::Unpayable),
    ] {
        let reason = chosen(offer.unwrap()).map_err(|declined| declined.reason);
        assert_eq!(reason, Err(wanted), "{name}");
    }
    // What is written in another way is nothing else, and what is not written so is not read.
    for (from, to) in [("84532", "084532"), ("eip155", "EIP155"), ("84532", "\u{ff18}4532")] {
        let offer = evm(from, to).map(chosen);
        assert!(!matches!(offer, Ok(Ok(()))), "{to}");
    }
    for amount in ["010000", "1e4", "+10000", " 10000", "10000 ", "1_0000", "\u{ff11}0000", "0x10"]
    {
        let error = evm("10000", amount).unwrap_err().error;
        assert_eq!(error, ParseError::InvalidAmount, "{amount}");
    }
}

/// The dearer offer in front, the same price in a token of fewer decimals, a flow that pays first:
/// whatever the order, no more than the limit, and not before it must be.
#[test]
fn the_order_of_offers_does_not_lift_the_limit() {
    let max = Money::parse("$0.02").unwrap();
    let buyer =
        Buyer::with_parts(common::wallet(), Policy { max, ..Policy::default() }, SystemClock);
    let (dear, fair) = (priced("$0.021"), priced("$0.02"));
    let upfront = priced("$0.01").upfront();
    for (offers, index) in [
        (vec![dear.clone(), fair.clone()], 1),
        (vec![dear.clone(), upfront.clone(), fair.clone()], 2),
        (vec![upfront.clone(), dear.clone()], 0),
        (vec![fair.clone(), priced("$0.01")], 0), // the seller's favourite, not the cheapest
    ] {
        assert_eq!(buyer.choose(&required(offers), "").unwrap().index, index);
    }
    let declined = buyer.choose(&required([dear]), "").unwrap_err();
    assert_eq!(declined.reason, Decline::OverLimit);
    let words = "every offer is above the limit: offer 0 asks $0.021 on eip155:84532";
    assert_eq!(declined.to_string(), words);
}

#[tokio::test]
async fn answers_too_long_are_not_paid_for() {
    let long = "A".repeat(limits::HEADER_BYTES + 4);
    let good = required([offer()]).to_header().unwrap();
    let client = || Client::new(common::buyer()).unwrap();
    let bomb = long.clone();
    let url = answering(move || {
        let answer = Response::builder().status(402).header("payment-required", bomb.clone());
        answer.body(Body::empty()).unwrap()
    })
    .await;
    let error = client().get(&url).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the challenge cannot be read: PAYMENT-REQUIRED: longer than allowed"
    );
    // Two accounts of one price.
    let (dear, fair) = (required([priced("$0.02")]), required([offer()]));
    let two = [fair.to_header().unwrap(), dear.to_header().unwrap()];
    let url = answering(move || {
        let [fair, dear] = two.clone();
        let answer = Response::builder().status(402).header("payment-required", fair);
        answer.header("payment-required", dear).body(Body::empty()).unwrap()
    })
    .await;
    let error = client().get(&url).await.unwrap_err();
    assert_eq!(error.to_string(), "the challenge cannot be read: PAYMENT-REQUIRED: duplicate key");
    // More offers than anybody makes.
    let offers = required(vec![offer(); limits::OFFERS]).to_json().unwrap();
    let one = offer().to_json().unwrap();
    let more = offers.replacen("\"accepts\":[", &format!("\"accepts\":[{one},"), 1);
    let url =
        answering(move || Response::builder().status(402).body(more.clone().into()).unwrap()).await;
    let bought = client().get(&url).await.unwrap_err();
    // The first ones are considered, and one of them is paid.
    assert!(matches!(bought, BuyError::Refused { .. }), "{bought}");
    // A receipt that cannot be read is none.
    let answers = Arc::new(AtomicUsize::new(0));
    let url = answering(move || {
        let answer = match answers.fetch_add(1, Ordering::SeqCst) {
            0 => Response::builder().status(402).header("payment-required", good.clone()),
            _ => Response::builder().header("payment-response", long.clone()),
        };
        answer.body(Body::empty()).unwrap()
    })
    .await;
    let bought = client().get(&url).await.unwrap();
    assert!(bought.receipt.is_none() && bought.paid.is_some() && bought.payment.is_some());
}

// ---- logs

/// Notes every event with all its fields.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut log = self.0.lock().unwrap();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            writeln!(log, "{field}={value:?}").unwrap();
        });
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn logs_hold_no_payment() {
    let log = Log::default();
    // For all tests of this file: theirs may be looked through as well.
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let facilitator = Scripted::new();
    let shop = shop(&facilitator, &Arc::default());
    let mut secrets = Vec::new();
    let lost = SettleResponse { network: "eip155:1".into(), ..SettleResponse::default() };
    for act in [None, Some(Act::Lose), Some(Act::LoseAnswer), Some(Act::Settle(Box::new(lost)))] {
        let payment = sign(&shop.challenge("/weather").await).await;
        let json: Value = serde_json::from_str(&payment.json).unwrap();
        let payload = &json["payload"];
        for secret in [&payload["signature"], &payload["authorization"]["nonce"]] {
            secrets.push(secret.as_str().unwrap().trim_start_matches("0x").to_owned());
        }
        let (name, value) = header(&payment);
        secrets.push(value[value.len() - 40..].to_owned());
        if let Some(act) = act {
            facilitator.next_settle(act);
        }
        for _ in 0..2 {
            shop.pay("/weather", &payment).await;
        }
        // What cannot be read is not quoted either.
        for broken in [format!("{value}%"), format!("{value}, {value}"), value[4..].to_owned()] {
            assert_eq!(shop.send("/weather", &[(name, &broken)]).await.status(), 400);
        }
    }
    let log = log.0.lock().unwrap().clone();
    assert!(log.contains("settlement unclear") && log.contains("payment refused"), "{log}");
    for secret in secrets {
        assert!(!log.contains(&secret), "{log}");
    }
    // Nor does a message's own `Debug` when somebody else logs it.
    let payment = sign(&required([offer()])).await;
    let shown = format!("{payment:?} {:?}", request(&payment, &offer()));
    let json = Json::parse(payment.json.as_str()).unwrap();
    let signature = json.as_raw().get("payload").unwrap().get_string("signature").unwrap();
    assert!(!shown.contains(&signature.as_str().unwrap()[2..20]), "{shown}");
}

// ---- the manual

/// Every test that the manual names is there.
#[test]
fn the_manual_names_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manual = std::fs::read_to_string(root.join("x402-std/src/attacks.rs")).unwrap();
    let names = manual.split('`').filter_map(|word| word.split_once(".rs::"));
    let mut seen = 0;
    for (file, name) in names {
        let text = std::fs::read_to_string(root.join(format!("{file}.rs"))).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{file}.rs::{name}");
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
}
