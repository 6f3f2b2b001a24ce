//! The tower layer: what is charged, what is refused, and what is never served.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode};
use axum::routing::any;
use axum::{Extension, Router};
use common::{Act, NETWORK, SELLER, Scripted, header, sign};
use serde_json::{Value, json};
use tower::ServiceExt;
use x402_core::claim::{ClaimState, Presented, Resource};
use x402_core::{Payment, Reason, Version};
use x402_std::buyer::{Buyer, Policy};
use x402_std::clock::SystemClock;
use x402_std::extension::PaymentIdentifier;
use x402_std::facilitator::{Facilitator, LocalFacilitator};
use x402_std::message::{
    Json, PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse, VerifyRequest,
    decode_header, encode_header,
};
use x402_std::page::Page;
use x402_std::seller::server::PaymentLayer;
use x402_std::seller::{AcceptedPayment, Offers, Seller, exact};
use x402_std::store::{ClaimStore, MemoryStore};
use x402_std::transport::PaymentText;

/// A shop with one handler, which counts how often it is called.
struct Shop {
    app: Router,
    facilitator: Scripted,
    handled: Arc<AtomicUsize>,
}

fn offer() -> PaymentRequirements {
    exact(NETWORK, SELLER, "$0.01").unwrap()
}

fn shop() -> Shop {
    shop_with(offer(), |charge| charge)
}

fn shop_with(
    terms: impl Into<Offers>,
    set: impl Fn(PaymentLayer<Scripted>) -> PaymentLayer<Scripted>,
) -> Shop {
    let facilitator = Scripted::new();
    let seller = Arc::new(Seller::new(facilitator.clone()));
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let handler = move |request: Request<Body>| async move {
        count.fetch_add(1, Ordering::SeqCst);
        match request.uri().path() {
            "/fails" => (StatusCode::IM_A_TEAPOT, "sorry".to_owned()),
            "/long" => (StatusCode::OK, "x".repeat(5000)),
            "/panics" => panic!("the handler's own bug"),
            _ => (StatusCode::OK, "paid content".to_owned()),
        }
    };
    let charge = set(PaymentLayer::new(seller, terms));
    let app = Router::new().route("/{*path}", any(handler).layer(charge));
    Shop { app, facilitator, handled }
}

impl Shop {
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path).header("host", "shop.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str, payment: Option<&PaymentText>) -> Response<Body> {
        let header = payment.map(header);
        let header = header.as_ref().map(|(name, value)| (*name, value.as_str()));
        self.send(Method::GET, path, header.as_slice()).await
    }

    async fn challenge(&self, path: &str) -> PaymentRequired {
        challenge(&self.get(path, None).await)
    }

    fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }
}

fn challenge(response: &Response<Body>) -> PaymentRequired {
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    PaymentRequired::from_header(response.headers()["payment-required"].as_bytes()).unwrap()
}

fn receipt(response: &Response<Body>) -> SettleResponse {
    SettleResponse::from_header(response.headers()["payment-response"].as_bytes()).unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

/// The seller asks its facilitator who pays the fee on Solana, keeps the answer, and offers nothing without it.
#[tokio::test]
async fn offers_are_completed_by_the_facilitator() {
    let facilitator = Scripted::new();
    facilitator.supported.lock().unwrap().1 = false;
    let seller = Arc::new(Seller::new(facilitator.clone()));
    let offer = exact(common::SVM_NETWORK, common::SVM_SELLER, "$0.01").unwrap();
    // As it is nobody can pay it.
    assert!(PaymentLayer::try_new(Arc::clone(&seller), offer.clone()).is_err());
    let shop = |seller| {
        let layer = PaymentLayer::from_supported(seller, offer.clone());
        let app = Router::new().fallback(any(|| async { "paid" }).layer(layer));
        Shop { app, facilitator: facilitator.clone(), handled: Arc::default() }
    };
    let asked = || facilitator.supported.lock().unwrap().0;
    // A facilitator that does not answer is not asked by every request.
    let closed = shop(seller);
    for _ in 0..3 {
        let status = closed.get("/a", None).await.status();
        assert_eq!((status, asked()), (StatusCode::SERVICE_UNAVAILABLE, 1));
    }
    let open = shop(Arc::new(Seller::new(facilitator.clone())));
    for answers in [true, true, false] {
        facilitator.supported.lock().unwrap().1 = answers;
        let required = open.challenge("/a").await;
        let offer = &required.accepts[0];
        assert!(offer.extra.as_ref().unwrap().as_raw().get("feePayer").is_some());
    }
    assert_eq!(asked(), 2);
}

/// `payment-identifier` over HTTP: announced, added by the buyer, checked before the payment is looked at.
#[tokio::test]
async fn a_required_identifier_is_announced_and_checked() {
    let identifier = PaymentIdentifier { required: true };
    let facilitator = Scripted::new();
    let seller = Seller::new(facilitator.clone()).with_extension(identifier);
    let layer = PaymentLayer::new(Arc::new(seller), offer());
    let app = Router::new().fallback(any(|| async { "paid" }).layer(layer));
    let shop = Shop { app, facilitator, handled: Arc::default() };
    let required = shop.challenge("/a").await;
    let announced = required.extensions.as_ref().unwrap().as_raw();
    assert_eq!(
        announced.get("payment-identifier").unwrap().get("info").unwrap().as_str(),
        r#"{"required":true}"#
    );
    let without = sign(&required).await;
    let refused = shop.get("/a", Some(&without)).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let body: Value = serde_json::from_str(&text(refused).await).unwrap();
    let error = "invalid_payload: extensions.payment-identifier.info.id is required";
    assert_eq!(body["error"], error);
    assert!(shop.facilitator.calls().is_empty());
    let buyer = common::buyer().with_extension(identifier);
    let payment = buyer.sign(&required, 0).await.unwrap();
    let bad = PaymentText { json: payment.json.replace("pay_", "pay/"), ..payment.clone() };
    assert_eq!(shop.get("/a", Some(&bad)).await.status(), StatusCode::BAD_REQUEST);
    let paid = shop.get("/a", Some(&payment)).await;
    assert_eq!((paid.status(), receipt(&paid).success), (StatusCode::OK, true));
    assert_eq!(shop.facilitator.paid(), 10_000);
}

const BROWSER: [(&str, &str); 2] =
    [("accept", "text/html,*/*;q=0.8"), ("user-agent", "Mozilla/5.0 Chrome/156.0")];

/// The data that the page's script reads.
fn data(html: &str) -> Value {
    let start = html.find("id=\"x402-data\">").unwrap() + "id=\"x402-data\">".len();
    let end = start + html[start..].find("</script>").unwrap();
    serde_json::from_str(&html[start..end]).unwrap()
}

/// The payment in the cookies of the page, in two parts.
fn cookie(key: &str, payment: &PaymentText) -> String {
    cookie_of(key, payment, "0123456789abcdef0123456789abcdef")
}

fn cookie_of(key: &str, payment: &PaymentText, token: &str) -> String {
    let value = format!("{token}.{}", encode_header(payment.json.as_bytes()));
    let (one, two) = value.split_at(value.len() / 2);
    format!("theme=dark; x402-{key}-0={one}; x402-{key}-1={two}")
}

/// A page differs from the challenge in body, content type and policy alone, and only people get it.
#[tokio::test]
async fn people_get_a_page_and_programs_get_json() {
    let shop = shop_with(offer(), |layer| layer.with_page(Page::new()));
    let plain = shop.get("/a", None).await;
    assert_eq!(plain.headers()["content-type"], "application/json");
    for method in [Method::GET, Method::POST, Method::PUT] {
        let page = shop.send(method.clone(), "/a", &BROWSER).await;
        assert_eq!(page.status(), StatusCode::PAYMENT_REQUIRED);
        for (name, value) in plain.headers() {
            let same = page.headers().get(name) == Some(value);
            let is_body = name == "content-type" || name == "content-length";
            assert!(same || is_body, "{name}");
        }
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
        let html = text(page).await;
        assert_eq!(data(&html)["method"], method.as_str());
        assert_eq!(data(&html)["offers"][0]["price"], "0.01 USDC");
    }
    // HEAD and a preflight are no visits, and without a page nothing changes.
    let head = shop.send(Method::HEAD, "/a", &BROWSER).await;
    assert_eq!(head.headers()["content-type"], "application/json");
    let without = shop_with(offer(), |layer| layer);
    let plain = without.send(Method::GET, "/a", &BROWSER).await;
    assert_eq!(plain.headers()["content-type"], "application/json");
    assert_eq!(shop.handled(), 0);
}

/// A browser presents a payment in its cookies, and gets one answer as often as it asks. Nobody else does.
#[tokio::test]
async fn a_payment_in_cookies_is_good_for_one_answer_again() {
    let shop = shop_with(offer(), |layer| layer.with_page(Page::new()));
    let page = text(shop.send(Method::GET, "/a", &BROWSER).await).await;
    let key = data(&page)["key"].as_str().unwrap().to_owned();
    let payment = sign(&shop.challenge("/a").await).await;
    let cookies = cookie(&key, &payment);
    let with = [BROWSER[0], BROWSER[1], ("cookie", cookies.as_str())];
    for _ in 0..3 {
        let paid = shop.send(Method::GET, "/a", &with).await;
        assert_eq!((paid.status(), receipt(&paid).success), (StatusCode::OK, true));
        assert_eq!(paid.headers()["x402-kept"], "600");
        assert_eq!(text(paid).await, "paid content");
    }
    assert_eq!((shop.handled(), shop.facilitator.paid()), (1, 10_000));
    // By header, without the page, it is a payment that was used.
    let used = shop.get("/a", Some(&payment)).await;
    assert_eq!(used.status(), StatusCode::PAYMENT_REQUIRED);
    // Somebody who has read the payment on its chain has no token, or another one.
    let (name, value) = header(&payment);
    for token in ["", "1", "fedcba9876543210fedcba9876543210"] {
        let by_header = [(name, value.as_str()), ("x402-page", token)];
        let seen = shop.send(Method::GET, "/a", &by_header).await;
        assert_eq!(seen.status(), StatusCode::PAYMENT_REQUIRED, "{token}");
    }
    let other = cookie_of(&key, &payment, "fedcba9876543210fedcba9876543210");
    let seen = shop.send(Method::GET, "/a", &[("cookie", &other)]).await;
    assert_eq!(seen.status(), StatusCode::PAYMENT_REQUIRED);
    // Another method or resource has another key, and the cookies are not its.
    for (method, path) in [(Method::POST, "/a"), (Method::GET, "/b"), (Method::GET, "/a?x=1")] {
        let other = shop.send(method, path, &with).await;
        assert_eq!(other.status(), StatusCode::PAYMENT_REQUIRED);
        assert!(data(&text(other).await)["refusal"].is_null());
    }
    // With its key, it is refused, and the page says why.
    let page = text(shop.send(Method::GET, "/b", &BROWSER).await).await;
    let moved = cookie(data(&page)["key"].as_str().unwrap(), &payment);
    let refused = shop.send(Method::GET, "/b", &[BROWSER[0], BROWSER[1], ("cookie", &moved)]).await;
    assert_eq!(refused.status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!(data(&text(refused).await)["refusal"]["error"], "duplicate_settlement");
    assert_eq!((shop.handled(), shop.facilitator.paid()), (1, 10_000));
    // Rubbish in a cookie is a malformed payment.
    let rubbish = format!("x402-{key}-0=0123456789abcdef0123456789abcdef.bm8=");
    let refused =
        shop.send(Method::GET, "/a", &[BROWSER[0], BROWSER[1], ("cookie", &rubbish)]).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    // Without a page nobody reads cookies.
    let without = shop_with(offer(), |layer| layer);
    let unpaid = without.send(Method::GET, "/a", &with).await;
    assert_eq!((unpaid.status(), without.handled()), (StatusCode::PAYMENT_REQUIRED, 0));
}

/// The handler and what is behind it see the visitor's cookies, and no payment.
#[tokio::test]
async fn payments_in_cookies_are_hidden_from_handlers() {
    let seller = Arc::new(Seller::new(Scripted::new()));
    let layer = PaymentLayer::new(seller, offer()).with_page(Page::new());
    let handler = |request: Request<Body>| async move {
        request
            .headers()
            .get("cookie")
            .map(|cookie| cookie.to_str().unwrap().to_owned())
            .unwrap_or_default()
    };
    let app = Router::new().fallback(any(handler).layer(layer));
    let shop = Shop { app, facilitator: Scripted::new(), handled: Arc::default() };
    let page = text(shop.send(Method::GET, "/a", &BROWSER).await).await;
    let payment = sign(&shop.challenge("/a").await).await;
    let cookies = cookie(data(&page)["key"].as_str().unwrap(), &payment);
    let paid = shop.send(Method::GET, "/a", &[("cookie", &cookies)]).await;
    assert_eq!((paid.status(), text(paid).await.as_str()), (StatusCode::OK, "theme=dark"));
}

#[tokio::test]
async fn unpaid_gets_the_challenge_in_header_and_body() {
    let shop = shop();
    for method in [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS, Method::DELETE] {
        let head = method == Method::HEAD;
        let response = shop.send(method, "/weather?city=Lisbon", &[]).await;
        assert_eq!(response.headers()["cache-control"], "no-store");
        let expose = response.headers()["access-control-expose-headers"].to_str().unwrap();
        assert!(expose.contains("PAYMENT-REQUIRED") && expose.contains("PAYMENT-RESPONSE"));
        let in_header = challenge(&response);
        assert_eq!(
            in_header.resource.as_ref().unwrap().url,
            "http://shop.test/weather?city=Lisbon"
        );
        assert_eq!(in_header.accepts, vec![offer()].into());
        let body = text(response).await;
        if !head {
            assert_eq!(PaymentRequired::from_json(body.as_bytes()), Ok(in_header));
        }
    }
    assert_eq!(shop.handled(), 0);
}

#[tokio::test]
async fn preflight_is_answered_and_reaches_nothing() {
    let shop = shop();
    let headers = [("origin", "https://a.test"), ("access-control-request-method", "GET")];
    let response = shop.send(Method::OPTIONS, "/weather", &headers).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(text(response).await, "");
    let response = shop.send(Method::GET, "/weather", &headers).await;
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!(shop.handled(), 0);
}

#[tokio::test]
async fn one_payment_is_served_once() {
    let shop = shop();
    let payment = sign(&shop.challenge("/weather").await).await;
    let response = shop.get("/weather", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "private");
    let receipt = receipt(&response);
    assert!(receipt.success && receipt.network == NETWORK);
    assert_eq!(text(response).await, "paid content");
    assert_eq!(shop.facilitator.calls(), ["verify", "settle"]);
    // Again, at the same place and at another, and with another spelling of the address.
    let address = common::wallet().address().to_string();
    let respelt = payment.json.replace(&address, &address.to_lowercase());
    assert_ne!(respelt, payment.json);
    let respelt = PaymentText { json: respelt, ..payment.clone() };
    for (path, payment) in [("/weather", &payment), ("/else", &payment), ("/weather", &respelt)] {
        let again = shop.get(path, Some(payment)).await;
        assert_eq!(challenge(&again).error.as_deref(), Some("duplicate_settlement"));
        // The receipt says what became of it.
        assert_eq!(self::receipt(&again).transaction, receipt.transaction);
    }
    assert_eq!((shop.handled(), shop.facilitator.paid()), (1, 10_000));
    assert!(shop.facilitator.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_are_served_once() {
    let shop = Arc::new(shop());
    let payment = sign(&shop.challenge("/weather").await).await;
    let mut tries = Vec::new();
    for _ in 0..50 {
        let (shop, payment) = (Arc::clone(&shop), payment.clone());
        tries
            .push(tokio::spawn(async move { shop.get("/weather", Some(&payment)).await.status() }));
    }
    let mut served = 0;
    for status in tries {
        served += usize::from(status.await.unwrap() == StatusCode::OK);
    }
    assert_eq!((served, shop.handled(), shop.facilitator.paid()), (1, 1, 10_000));
}

#[tokio::test]
async fn version_1_buyers_are_served_too() {
    let shop = shop_with(
        Offers::from(offer()).with_description("weather", "text/plain"),
        PaymentLayer::with_v1_body,
    );
    let response = shop.get("/weather", None).await;
    // The header stays version 2: both kinds of buyer find what they read.
    assert_eq!(challenge(&response).x402_version, Version::V2);
    let body = text(response).await;
    let v1: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(v1["x402Version"], 1);
    let accepts = json!({
        "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "10000",
        "resource": "http://shop.test/weather", "description": "weather", "mimeType": "text/plain",
        "payTo": SELLER, "maxTimeoutSeconds": 300,
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "extra": { "name": "USDC", "version": "2" },
    });
    assert_eq!(v1["accepts"], json!([accepts]));
    let required = PaymentRequired::from_json(body.as_bytes()).unwrap();
    let payment = sign(&required).await;
    assert_eq!(payment.version, Version::V1);
    let response = shop.get("/weather", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let receipt = response.headers()["x-payment-response"].as_bytes();
    let receipt = SettleResponse::from_header(receipt).unwrap();
    assert!(receipt.success && receipt.network == "base-sepolia");
    // The same payment in the other version's header is not another payment.
    let (_, value) = header(&payment);
    let crossed = shop.send(Method::GET, "/weather", &[("payment-signature", &value)]).await;
    assert_eq!(crossed.status(), StatusCode::BAD_REQUEST);
    assert_eq!(shop.facilitator.paid(), 10_000);
}

#[tokio::test]
async fn what_cannot_be_read_is_400_with_a_code() {
    let shop = shop();
    let good = sign(&shop.challenge("/weather").await).await.json;
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        encode_header(good.replacen(from, to, 1).as_bytes())
    };
    let cases = [
        ("not base64!!".into(), "invalid_payload"),
        ("".into(), "invalid_payload"),
        (encode_header(b"\xff\xfe"), "invalid_payload"),
        (encode_header(b"hello"), "invalid_payload"),
        (encode_header(b"{}"), "invalid_payload"),
        (encode_header(b"[]"), "invalid_payload"),
        (encode_header(&[b'['; 3000]), "invalid_payload"),
        (encode_header(&[b' '; 50_000]), "invalid_payload"),
        (with("\"x402Version\":2", "\"x402Version\":3"), "invalid_x402_version"),
        (with("\"x402Version\":2", "\"x402Version\":\"2\""), "invalid_payload"),
        (with("\"x402Version\":2", "\"x402Version\":2,\"x402Version\":2"), "invalid_payload"),
        (with("\"network\":\"eip155:84532\"", "\"network\":\"nowhere\""), "invalid_network"),
        (with("\"amount\":\"10000\"", "\"amount\":\"010000\""), "invalid_payload"),
        (with("\"amount\":\"10000\"", "\"amount\":10000"), "invalid_payload"),
        (with("\"value\":\"10000\"", "\"value\":\"1e4\""), "invalid_payload"),
        (with("\"nonce\":\"0x", "\"nonce\":\"0x00"), "invalid_payload"),
    ];
    for (value, code) in cases {
        let response = shop.send(Method::GET, "/weather", &[("payment-signature", &value)]).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{code}");
        let header = response.headers()["payment-required"].as_bytes();
        let error = PaymentRequired::from_header(header).unwrap().error.unwrap();
        assert!(error.starts_with(code), "{error} {code}");
        let body: Value = serde_json::from_str(&text(response).await).unwrap();
        assert!(body["error"].as_str().unwrap().starts_with(code), "{body} {code}");
    }
    let value = encode_header(good.as_bytes());
    for second in ["payment-signature", "x-payment"] {
        let two = [("PAYMENT-SIGNATURE", value.as_str()), (second, &value[..value.len() - 4])];
        let response = shop.send(Method::GET, "/weather", &two).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
    assert_eq!((shop.handled(), shop.facilitator.calls().len()), (0, 0));
}

/// Some clients send one payment in both headers.
#[tokio::test]
async fn the_same_payment_in_both_headers_is_one() {
    let shop = shop();
    let payment = sign(&shop.challenge("/weather").await).await;
    let value = encode_header(payment.json.as_bytes());
    let both = [("X-PAYMENT", value.as_str()), ("PAYMENT-SIGNATURE", &value)];
    let response = shop.send(Method::GET, "/weather", &both).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("payment-response"));
    assert_eq!((shop.handled(), shop.facilitator.paid()), (1, 10_000));
}

/// A HEAD, 304 and redirects to elsewhere cost nothing, and the payment stays good.
#[tokio::test]
async fn what_is_worth_nothing_is_not_charged() {
    for (status, location, paid) in [
        (304, None, false),
        (301, Some("https://elsewhere.test/x"), false),
        (302, Some("//elsewhere.test/x"), false),
        (302, Some(r"\\elsewhere.test/x"), false),
        (303, Some("http:elsewhere"), false),
        (307, Some("https://shop.test.evil.test/"), false),
        (308, Some("http://shop.test:81/x"), false),
        (303, Some("/orders/1"), true),
        (303, Some("orders/1?to=http://elsewhere.test"), true),
        (303, Some("?page=2"), true),
        (303, Some("http://shop.test/orders/1"), true),
        (303, Some("http://SHOP.test"), true),
        (300, None, true),
        (204, None, true),
    ] {
        let facilitator = Scripted::new();
        let seller = Arc::new(Seller::new(facilitator.clone()));
        let handler = any(move || async move {
            let mut response = Response::builder().status(status);
            if let Some(location) = location {
                response = response.header("location", location);
            }
            response.body(Body::empty()).unwrap()
        });
        let app = Router::new().route("/x", handler.layer(PaymentLayer::new(seller, offer())));
        let shop = Arc::new(Shop { app, facilitator, handled: Arc::default() });
        let payment = sign(&shop.challenge("/x").await).await;
        let value = encode_header(payment.json.as_bytes());
        let headers = [("payment-signature", value.as_str()), ("host", "shop.test")];
        let head = shop.send(Method::HEAD, "/x", &headers).await;
        assert_eq!(head.status(), StatusCode::PAYMENT_REQUIRED);
        assert!(head.headers().contains_key("payment-required"));
        assert!(shop.facilitator.calls().is_empty());
        let response = shop.send(Method::GET, "/x", &headers).await;
        assert_eq!(response.status().as_u16(), status, "{location:?}");
        let receipt = response.headers().contains_key("payment-response");
        assert_eq!((receipt, shop.facilitator.paid() > 0), (paid, paid), "{status} {location:?}");
        if !paid {
            // As good as new.
            let response = shop.send(Method::GET, "/x", &headers).await;
            assert_eq!(response.status().as_u16(), status);
        }
    }
}

/// A reason of the facilitator's own reaches the buyer, without what is not theirs to know.
#[tokio::test]
async fn a_facilitators_own_words_are_passed_on() {
    let shop = shop();
    let payment = sign(&shop.challenge("/weather").await).await;
    shop.facilitator.next_settle(Act::Settle(Box::new(SettleResponse {
        error_reason: Some("compliance_hold".into()),
        error_message: Some("payer is under review, see https://node.test/secret\u{7}".into()),
        network: NETWORK.into(),
        ..SettleResponse::default()
    })));
    let response = shop.get("/weather", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    let said = "compliance_hold: payer is under review, see (a URL)";
    assert_eq!(challenge(&response).error.as_deref(), Some(said));
    let receipt = receipt(&response);
    assert_eq!(receipt.error_reason.as_deref(), Some("compliance_hold"));
    assert_eq!(receipt.error_message.as_deref(), Some("payer is under review, see (a URL)"));
    assert!(!text(response).await.contains("paid content"));
    // Nothing was sent, and the payment is refused for good.
    let response = shop.get("/weather", Some(&payment)).await;
    assert_eq!(challenge(&response).error.as_deref(), Some("settlement_refused"));
    assert_eq!(shop.facilitator.paid(), 0);
}

#[tokio::test]
async fn only_this_sellers_offers_are_paid() {
    let shop = shop();
    let challenge_text = shop.challenge("/weather").await.to_json().unwrap();
    // Offers of the buyer's own making: each is signed for real, none was made.
    for (from, to) in [
        ("\"amount\":\"10000\"", "\"amount\":\"1\""),
        (SELLER, "0x00000000000000000000000000000000000000aA"),
        ("eip155:84532", "eip155:8453"),
        ("\"maxTimeoutSeconds\":300", "\"maxTimeoutSeconds\":301"),
        (
            "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
            "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
        ),
        ("\"scheme\":\"exact\"", "\"scheme\":\"exact\",\"note\":1"),
    ] {
        assert!(challenge_text.contains(from), "{from}");
        let own = challenge_text.replace(from, to);
        let payment = sign(&PaymentRequired::from_json(own.as_bytes()).unwrap()).await;
        let response = shop.get("/weather", Some(&payment)).await;
        assert_eq!(challenge(&response).error.as_deref(), Some("invalid_payment_requirements"));
    }
    assert_eq!((shop.handled(), shop.facilitator.calls().len()), (0, 0));
}

#[tokio::test]
async fn echo_of_extensions_may_add_but_not_change() {
    let mut terms = Offers::from(offer());
    let announced = r#"{"order":{"info":{"id":7},"schema":{}}}"#;
    terms.extensions = Json::parse(announced).ok();
    let shop = shop_with(terms, |charge| charge);
    let required = shop.challenge("/weather").await;
    assert_eq!(required.extensions.as_ref().map(Json::as_str), Some(announced));
    let payment = sign(&required).await;
    let changed =
        |to: &str| PaymentText { json: payment.json.replace("{\"id\":7}", to), ..payment.clone() };
    for wrong in ["{\"id\":8}", "{}", "7"] {
        let response = shop.get("/weather", Some(&changed(wrong))).await;
        assert_eq!(challenge(&response).error.as_deref(), Some("extension_echo_mismatch"));
    }
    let response = shop.get("/weather", Some(&changed("{\"note\":\"mine\",\"id\":7.0}"))).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn nothing_is_charged_for_a_failed_handler() {
    let shop = shop_with(offer(), |charge| charge.with_body_limit(1000));
    let payment = sign(&shop.challenge("/fails").await).await;
    let response = shop.get("/fails", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(text(response).await, "sorry");
    // Too long to be withheld: neither sent nor charged for.
    let response = shop.get("/long", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(text(response).await.contains("longer than the 1000 bytes"));
    assert_eq!((shop.facilitator.paid(), shop.facilitator.calls()), (0, vec!["verify", "verify"]));
    // The payment is whole and buys something that works.
    let response = shop.get("/weather", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::OK);
    // A handler that panics is a failed handler.
    let payment = sign(&shop.challenge("/panics").await).await;
    let response = shop.get("/panics", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(shop.facilitator.paid(), 10_000);
    assert_eq!(shop.get("/weather", Some(&payment)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn upfront_settles_before_the_handler() {
    let shop = shop_with(offer().upfront(), |charge| charge.with_body_limit(10));
    let payment = sign(&shop.challenge("/long").await).await;
    let response = shop.get("/long", Some(&payment)).await;
    assert!(receipt(&response).success);
    assert_eq!(text(response).await.len(), 5000);
    assert_eq!(shop.facilitator.calls(), ["verify", "settle"]);
    let payment = sign(&shop.challenge("/fails").await).await;
    let response = shop.get("/fails", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert!(receipt(&response).success);
    assert_eq!(shop.facilitator.paid(), 20_000);
}

#[tokio::test]
async fn a_facilitator_that_fails_to_verify_never_makes_it_free() {
    let shop = shop();
    let payment = sign(&shop.challenge("/weather").await).await;
    shop.facilitator.next_verify(Act::Lose);
    let response = shop.get("/weather", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(shop.handled(), 0);
    let response = shop.get("/weather", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::OK);
}

const TRANSACTION: &str = "0xabcdef0000000000000000000000000000000000000000000000000000000001";

fn answer(success: bool, reason: Option<Reason>, transaction: &str) -> Act {
    Act::Settle(Box::new(SettleResponse {
        success,
        error_reason: reason.map(|reason| reason.to_string()),
        transaction: transaction.into(),
        network: NETWORK.into(),
        ..SettleResponse::default()
    }))
}

#[tokio::test]
async fn a_refused_settlement_is_final_and_withholds_the_body() {
    let shop = shop();
    let payment = sign(&shop.challenge("/weather").await).await;
    let reason = Reason::InvalidExactEvmInsufficientBalance;
    shop.facilitator.next_settle(answer(false, Some(reason), ""));
    for _ in 0..2 {
        let response = shop.get("/weather", Some(&payment)).await;
        assert_eq!(challenge(&response).error.as_deref(), Some(reason.as_str()));
        assert!(!text(response).await.contains("paid content"));
    }
    assert_eq!(shop.facilitator.calls(), ["verify", "settle"]);
    assert_eq!(shop.facilitator.paid(), 0);
}

/// Unclear is not failed: the claim stays, and the same payment finds out what became of it.
#[tokio::test]
async fn an_unclear_settlement_is_resumed_by_the_same_payment() {
    // Each script leaves the first try unclear; the second finds the ledger working.
    let lost = vec![Act::Lose; 2];
    let pending = vec![answer(false, Some(Reason::SettlementPending), "0xabc"); 2];
    let fault = vec![answer(false, Some(Reason::UnexpectedSettleError), "")];
    let says_nothing = vec![answer(false, None, "")];
    let lies = vec![answer(true, None, "")];
    for script in [lost, pending, fault, says_nothing, lies] {
        let shop = shop();
        let payment = sign(&shop.challenge("/weather").await).await;
        script.iter().for_each(|act| shop.facilitator.next_settle(act.clone()));
        let response = shop.get("/weather", Some(&payment)).await;
        assert!(!response.status().is_success(), "{script:?}");
        let unclear = receipt(&response);
        // Pending is what has a transaction.
        let reason = match unclear.transaction.is_empty() {
            true => "unknown_settlement_error",
            false => "settlement_pending",
        };
        assert_eq!(unclear.error_reason.as_deref(), Some(reason), "{script:?}");
        assert!(!text(response).await.contains("paid content"));
        let response = shop.get("/weather", Some(&payment)).await;
        assert_eq!(response.status(), StatusCode::OK, "{script:?}");
        assert_eq!(shop.facilitator.paid(), 10_000);
        let response = shop.get("/weather", Some(&payment)).await;
        assert_eq!(challenge(&response).error.as_deref(), Some("duplicate_settlement"));
    }
}

/// The money moved and nobody said so: not served on a guess, not forgotten, not paid again.
#[tokio::test]
async fn a_lost_answer_stays_pending() {
    let shop = shop();
    let payment = sign(&shop.challenge("/weather").await).await;
    shop.facilitator.next_settle(Act::LoseAnswer);
    for _ in 0..3 {
        let response = shop.get("/weather", Some(&payment)).await;
        assert!(!response.status().is_success());
        let unclear = receipt(&response);
        assert!(Reason::parse(&unclear.error_reason.unwrap()).unwrap().is_open());
    }
    assert_eq!(shop.facilitator.paid(), 10_000);
}

#[tokio::test]
async fn pending_is_asked_about_once_more_at_once() {
    let shop = shop();
    let payment = sign(&shop.challenge("/weather").await).await;
    shop.facilitator.next_settle(answer(false, Some(Reason::SettlementPending), "0xabc"));
    let response = shop.get("/weather", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(shop.facilitator.calls(), ["verify", "settle", "settle"]);
}

/// What this seller itself may have sent earlier is not a reason to call the payment failed.
#[tokio::test]
async fn an_echo_of_ones_own_broadcast_is_not_a_failure() {
    let shop = shop();
    let payment = sign(&shop.challenge("/weather").await).await;
    shop.facilitator.next_settle(answer(false, Some(Reason::SettlementPending), "0xabc"));
    shop.facilitator.next_settle(answer(false, Some(Reason::InvalidExactEvmNonceAlreadyUsed), ""));
    let response = shop.get("/weather", Some(&payment)).await;
    let unclear = receipt(&response);
    assert_eq!(unclear.error_reason.as_deref(), Some("settlement_pending"));
    assert_eq!(unclear.transaction, "0xabc");
    assert_eq!(shop.get("/weather", Some(&payment)).await.status(), StatusCode::OK);
}

/// While a payment is being worked on, presenting it again changes nothing and costs nothing.
#[tokio::test]
async fn a_second_presentation_waits_for_the_first() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let (opened, facilitator) = (Arc::clone(&gate), Scripted::new());
    let seller = Arc::new(Seller::new(facilitator.clone()));
    let handler = any(move || async move {
        opened.notified().await;
        "slow"
    });
    let app = Router::new().route("/slow", handler.layer(PaymentLayer::new(seller, offer())));
    let shop = Arc::new(Shop { app, facilitator, handled: Arc::default() });
    let payment = sign(&shop.challenge("/slow").await).await;
    let first = tokio::spawn({
        let (shop, payment) = (Arc::clone(&shop), payment.clone());
        async move { shop.get("/slow", Some(&payment)).await }
    });
    while shop.facilitator.calls.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = shop.get("/slow", Some(&payment)).await;
    assert_eq!(receipt(&second).error_reason.as_deref(), Some("busy"));
    assert_eq!(shop.facilitator.calls(), ["verify"]);
    // The buyer hangs up: the work ends with the connection, and the payment is whole.
    first.abort();
    gate.notify_one();
    let again = loop {
        let again = shop.get("/slow", Some(&payment)).await;
        if again.status() == StatusCode::OK {
            break again;
        }
        assert_eq!(receipt(&again).error_reason.as_deref(), Some("busy"));
        tokio::task::yield_now().await;
    };
    assert_eq!(text(again).await, "slow");
    assert_eq!(shop.facilitator.calls(), ["verify", "settle"]);
    let again = shop.get("/slow", Some(&payment)).await;
    assert_eq!(receipt(&again).error_reason.as_deref(), Some("duplicate_settlement"));
}

/// A pending payment that expires in the meantime is still found out about.
#[tokio::test]
async fn a_pending_payment_outlives_its_validity() {
    let clock = Arc::new(AtomicU64::new(1_800_000_000));
    let facilitator = Scripted::new();
    let seller =
        Seller::with_parts(facilitator.clone(), MemoryStore::default(), Arc::clone(&clock));
    let terms = Offers::from(offer());
    let buyer = Buyer::with_parts(common::wallet(), Policy::default(), Arc::clone(&clock));
    let challenge = terms.challenge(Version::V2, "").unwrap();
    let required = PaymentRequired::from_json(challenge.as_bytes()).unwrap();
    let payment = buyer.sign(&required, 0).await.unwrap();
    let unsent = buyer.sign(&required, 0).await.unwrap();
    let admit = async |payment: &PaymentText| {
        seller.admit(&terms, Version::V2, payment.json.as_bytes()).await
    };
    facilitator.next_verify(Act::Verify(true));
    facilitator.next_settle(answer(false, Some(Reason::SettlementPending), "0xabc"));
    facilitator.next_settle(answer(false, Some(Reason::SettlementPending), "0xabc"));
    let refusal = seller.settle(admit(&payment).await.unwrap()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SettlementPending);
    clock.fetch_add(1_000, Ordering::SeqCst);
    let expired = Reason::InvalidExactEvmPayloadAuthorizationValidBefore;
    assert_eq!(admit(&unsent).await.unwrap_err().reason, expired);
    facilitator.next_settle(answer(true, None, TRANSACTION));
    let receipt = seller.settle(admit(&payment).await.unwrap()).await.unwrap();
    assert_eq!(receipt.transaction, TRANSACTION);
    // One that was never sent stays refused, however often it comes.
    assert_eq!(admit(&unsent).await.unwrap_err().reason, expired);
}

/// The local facilitator too: what was sent is asked about, also after it expired.
#[tokio::test]
async fn the_facilitator_finds_out_about_expired_payments() {
    let clock = Arc::new(AtomicU64::new(1_800_000_000));
    let facilitator =
        LocalFacilitator::with_parts(common::ledger(), MemoryStore::default(), Arc::clone(&clock));
    let buyer = Buyer::with_parts(common::wallet(), Policy::default(), Arc::clone(&clock));
    let challenge = Offers::from(offer()).challenge(Version::V2, "").unwrap();
    let required = PaymentRequired::from_json(challenge.as_bytes()).unwrap();
    let payment = buyer.sign(&required, 0).await.unwrap();
    let request = VerifyRequest {
        payment_payload: PaymentPayload::from_json(payment.json.as_bytes()).unwrap(),
        payment_requirements: offer(),
        other: None,
    };
    let reason = async || facilitator.settle(&request).await.unwrap().error_reason;
    facilitator.ledger().set_pending(true);
    assert_eq!(reason().await.as_deref(), Some("settlement_pending"));
    clock.fetch_add(1_000, Ordering::SeqCst);
    assert_eq!(reason().await.as_deref(), Some("settlement_pending"));
    facilitator.ledger().set_pending(false);
    assert_eq!(reason().await, None);
    assert_eq!(reason().await.as_deref(), Some("duplicate_settlement"));
    let verify = facilitator.verify(&request).await.unwrap();
    assert_eq!(
        verify.invalid_reason.as_deref(),
        Some("invalid_exact_evm_payload_authorization_valid_before")
    );
}

/// Another process that shares the store notes the transaction while this one waits for the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_noted_by_another_process_is_settled_all_the_same() {
    let store = Arc::new(MemoryStore::default());
    let facilitator = Scripted::new();
    let seller = Seller::with_parts(facilitator.clone(), Arc::clone(&store), SystemClock);
    let terms = Offers::from(offer());
    let challenge = terms.challenge(Version::V2, "").unwrap();
    let payment = sign(&PaymentRequired::from_json(challenge.as_bytes()).unwrap()).await;
    let admission = seller.admit(&terms, Version::V2, payment.json.as_bytes()).await.unwrap();
    let key = admission.payment().claim_key();
    let sent = |id: &str| ClaimState::Broadcast(id.try_into().unwrap());
    let other = {
        let store = Arc::clone(&store);
        let (from, to) = (sent(""), sent("0xabc"));
        Arc::new(move || {
            tokio::task::block_in_place(|| {
                let step = store.advance(key, &from, to.clone());
                tokio::runtime::Handle::current().block_on(step).unwrap();
            });
        })
    };
    facilitator.next_settle(Act::After(other));
    assert!(seller.settle(admission).await.unwrap().success);
    let known = store.present(key, Resource::ANY, 0, 0).await.unwrap();
    assert!(matches!(known, Presented::Known(ClaimState::Settled(_))), "{known:?}");
}

#[tokio::test]
async fn receipts_hold_what_is_the_buyers_to_know() {
    let shop = shop();
    let payment = sign(&shop.challenge("/weather").await).await;
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(60_000));
    let told = SettleResponse {
        success: true,
        transaction: TRANSACTION.into(),
        network: "base-sepolia".into(),
        payer: Some(common::wallet().address().to_string().to_lowercase()),
        error_message: Some("https://rpc.example/secret".into()),
        extra: Json::parse(long.as_str()).ok(),
        extensions: Json::parse(long).ok(),
        ..SettleResponse::default()
    };
    shop.facilitator.next_settle(Act::Settle(Box::new(told)));
    let response = shop.get("/weather", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let wanted = SettleResponse {
        success: true,
        transaction: TRANSACTION.into(),
        network: NETWORK.into(),
        payer: Some(common::wallet().address().to_string()),
        ..SettleResponse::default()
    };
    assert_eq!(receipt(&response), wanted);
    // Success on another network is not this payment's.
    let payment = sign(&shop.challenge("/weather").await).await;
    let elsewhere = SettleResponse { network: "eip155:1".into(), ..wanted };
    shop.facilitator.next_settle(Act::Settle(Box::new(elsewhere)));
    let response = shop.get("/weather", Some(&payment)).await;
    assert_eq!(receipt(&response).error_reason.as_deref(), Some("settlement_pending"));
}

#[tokio::test]
async fn a_price_can_be_computed_from_the_request() {
    let facilitator = Scripted::new();
    let seller = Arc::new(Seller::new(facilitator.clone()));
    let charge = PaymentLayer::with_offers_for(seller, |request| {
        let price = match request.uri.query() {
            None => "$0.01",
            Some("long") => "$0.02",
            Some("free") => return Ok(None),
            Some("nothing") => return Ok(Some(Offers::new([]))),
            Some(_) => return Err(StatusCode::NOT_FOUND),
        };
        Ok(Some(exact(NETWORK, SELLER, price).unwrap().into()))
    });
    let app = Router::new()
        .route("/text", any(|| async { "text" }).layer(charge.with_base_url("https://a.test/")));
    let shop = Shop { app, facilitator, handled: Arc::default() };
    let cheap = shop.challenge("/text").await;
    assert_eq!(cheap.resource.as_ref().unwrap().url, "https://a.test/text");
    assert_eq!(shop.challenge("/text?long").await.accepts[0].amount.to_string(), "20000");
    for (path, status) in [("/text?free", 200), ("/text?odd", 404), ("/text?nothing", 500)] {
        assert_eq!(shop.get(path, None).await.status(), status, "{path}");
    }
    let payment = sign(&cheap).await;
    let response = shop.get("/text?long", Some(&payment)).await;
    assert_eq!(challenge(&response).error.as_deref(), Some("invalid_payment_requirements"));
    let response = shop.get("/text", Some(&payment)).await;
    assert_eq!(response.status(), StatusCode::OK);
}

/// The handler learns who pays, how much and by which offer; the price may take time to find out.
#[tokio::test]
async fn a_handler_knows_who_paid() {
    for upfront in [false, true] {
        let facilitator = Scripted::new();
        let seller = Arc::new(Seller::new(facilitator.clone()));
        let charge = PaymentLayer::with_offers_for_async(seller, move |parts| {
            let free = parts.uri.path() == "/free";
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let offer = if upfront { offer().upfront() } else { offer() };
                Ok((!free).then(|| Offers::new([offer])))
            }
        });
        let handler = |payment: Option<Extension<AcceptedPayment>>| async move {
            match payment {
                Some(Extension(payment)) => format!(
                    "{} of {} by {}",
                    payment.requirements.amount, payment.requirements.network, payment.payer
                ),
                None => "nobody".to_owned(),
            }
        };
        let app = Router::new().route("/{*path}", any(handler).layer(charge));
        let shop = Shop { app, facilitator, handled: Arc::default() };
        assert_eq!(text(shop.get("/free", None).await).await, "nobody");
        let payment = sign(&shop.challenge("/paid").await).await;
        let response = shop.get("/paid", Some(&payment)).await;
        let payer = receipt(&response).payer.unwrap();
        assert_eq!(text(response).await, format!("10000 of {NETWORK} by {payer}"));
    }
    // Terms nobody can pay are an error, or a panic for those who prefer one.
    let seller = Arc::new(Seller::new(Scripted::new()));
    let free = PaymentRequirements { amount: 0.into(), ..offer() };
    let error = PaymentLayer::try_new(Arc::clone(&seller), free).unwrap_err();
    assert_eq!(error.reason, Reason::InvalidPaymentRequirements);
    assert!(PaymentLayer::try_new(seller, offer()).is_ok());
}

/// A handler takes the payment as an argument, and never runs without one.
#[tokio::test]
async fn the_payment_is_an_argument_of_handlers() {
    let handler = || any(|payment: AcceptedPayment| async move { payment.payer });
    let facilitator = Scripted::new();
    let seller = Arc::new(Seller::new(facilitator.clone()));
    let paid = handler().layer(PaymentLayer::new(seller, offer()));
    let optional = |payment: Option<AcceptedPayment>| async move { payment.is_some().to_string() };
    let app = Router::new().route("/paid", paid).route("/free", handler());
    let app = app.route("/either", any(optional));
    let shop = Shop { app, facilitator, handled: Arc::default() };
    assert_eq!(shop.get("/free", None).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(text(shop.get("/either", None).await).await, "false");
    let payment = sign(&shop.challenge("/paid").await).await;
    let response = shop.get("/paid", Some(&payment)).await;
    let payer = receipt(&response).payer.unwrap();
    assert_eq!(text(response).await, payer);
}

#[tokio::test]
async fn poor_buyers_are_told_before_anything_is_done() {
    let shop = shop_with(exact(NETWORK, SELLER, "$1.01").unwrap(), |charge| charge);
    let payment = sign(&shop.challenge("/weather").await).await;
    let response = shop.get("/weather", Some(&payment)).await;
    let reason = Reason::InvalidExactEvmInsufficientBalance.as_str();
    assert_eq!(challenge(&response).error.as_deref(), Some(reason));
    assert_eq!((shop.handled(), shop.facilitator.calls()), (0, vec!["verify"]));
}

#[test]
fn headers_decode_to_what_was_encoded() {
    for len in 0..50 {
        let bytes = vec![b'x'; len];
        if len > 0 {
            assert_eq!(decode_header(encode_header(&bytes).as_bytes()), Ok(bytes));
        }
    }
}

/// What is quoted again is what would be quoted anew: for each URL, and for each setting.
#[tokio::test]
async fn a_quote_is_kept_for_its_own_url_and_settings() {
    let url = |challenge: &PaymentRequired| challenge.resource.as_ref().unwrap().url.clone();
    let shop = shop();
    for path in ["/a", "/a", "/b?c", "/b", "/b", "/a"] {
        assert_eq!(url(&shop.challenge(path).await), format!("http://shop.test{path}"));
    }
    // A refusal says why, and the next challenge does not.
    let fine = shop.get("/a", None).await;
    let header = encode_header(b"{}");
    let refused = shop.send(Method::GET, "/a", &[("payment-signature", &header)]).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let again = shop.get("/a", None).await;
    assert_eq!(again.headers(), fine.headers());
    assert_ne!(refused.headers()["payment-required"], fine.headers()["payment-required"]);
    assert_eq!(text(again).await, text(fine).await);

    let terms = Offers::new([offer()]);
    let seller = Arc::new(Seller::new(Scripted::new()));
    let charge = PaymentLayer::new(seller, terms);
    let ask = async |charge: &PaymentLayer<Scripted>| {
        let app = Router::new().route("/a", any(|| async { "a" }).layer(charge.clone()));
        let request = Request::get("/a").header("host", "shop.test").body(Body::empty()).unwrap();
        text(app.oneshot(request).await.unwrap()).await
    };
    let plain = ask(&charge).await;
    assert!(plain.contains("\"x402Version\":2"), "{plain}");
    assert!(ask(&charge.clone().with_v1_body()).await.contains("\"x402Version\":1"));
    assert!(
        ask(&charge.clone().with_base_url("https://b.test")).await.contains("https://b.test/a")
    );
    assert_eq!(ask(&charge).await, plain);
}
