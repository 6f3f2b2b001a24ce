//! A facilitator over HTTP: what it takes on, who is told what, and what can be looked up.
#![allow(missing_docs)]

mod common;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use common::{NETWORK, SELLER, ledger, sign};
use http_body::Frame;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use x402_core::claim::{ClaimKey, ClaimState, Resource, Transaction};
use x402_core::gate::Verified;
use x402_core::{Reason, Version};
use x402_std::SystemClock;
use x402_std::facilitator::ledger::Networks;
use x402_std::facilitator::ledger::{Ledger, Outcome, SimulatedLedger};
use x402_std::facilitator::{
    Acceptance, AcceptedAsset, CallerId, Facilitator, FacilitatorError, Least, LocalFacilitator,
    Payee, Service, ServiceLimits, Settlement, settlement_id,
};
use x402_std::message::{
    PaymentPayload, PaymentRequired, SettleResponse, SupportedKind, SupportedResponse,
    VerifyRequest, VerifyResponse,
};
use x402_std::scheme::{Exact, ExactPayment};
use x402_std::seller::{Offers, Seller, exact};
use x402_std::store::{ClaimStore, MemoryStore};

/// A request to settle a cent, as JSON.
async fn request() -> VerifyRequest {
    let offer = exact(NETWORK, SELLER, "$0.01").unwrap();
    let terms = Offers::new([offer.clone()]);
    let challenge = terms.challenge(Version::V2, "").unwrap();
    let challenge = PaymentRequired::from_json(challenge.as_bytes()).unwrap();
    let payment = sign(&challenge).await;
    VerifyRequest {
        payment_payload: PaymentPayload::from_json(payment.json.as_bytes()).unwrap(),
        payment_requirements: offer,
        other: None,
    }
}

struct Answer {
    status: StatusCode,
    location: Option<String>,
    json: Value,
}

impl Answer {
    fn reason(&self) -> Option<&str> {
        self.json.get("errorReason").or(self.json.get("invalidReason"))?.as_str()
    }
}

async fn call<F: Facilitator + 'static>(service: &Service<F>, request: Request<Body>) -> Answer {
    let response = service.router().oneshot(request).await.unwrap();
    let location = response.headers().get("content-location");
    let location = location.map(|location| location.to_str().unwrap().to_owned());
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    Answer { status, location, json: serde_json::from_slice(&body).unwrap_or_default() }
}

fn post(path: &str, request: &VerifyRequest, key: Option<&str>) -> Request<Body> {
    let mut post = Request::post(path).header("content-type", "application/json");
    if let Some(key) = key {
        post = post.header("idempotency-key", key);
    }
    post.body(request.to_json().unwrap().into()).unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn who_lost_an_answer_is_told_again_and_nobody_else() {
    let service = Service::new(LocalFacilitator::new(ledger()));
    let request = request().await;
    // Key, and whether success is told.
    let long = "k".repeat(257);
    let told = [
        (Some("mine"), true),
        (Some("mine"), true),
        (Some("other"), false),
        (None, false),
        (Some(""), false),
        (Some(&*long), false),
        (Some("mine"), true),
    ];
    let mut transaction = String::new();
    for (key, success) in told {
        let answer = call(&service, post("/settle", &request, key)).await;
        assert_eq!(answer.json["success"], success, "{key:?} {}", answer.json);
        assert_eq!(answer.reason(), (!success).then_some("duplicate_settlement"));
        transaction = answer.json["transaction"].as_str().unwrap().into();
        assert!(!transaction.is_empty());
        let location = answer.location.unwrap();
        let found = call(&service, get(&format!("/{location}"))).await;
        assert_eq!(found.status, StatusCode::OK);
        assert_eq!(found.json["state"], "settled");
        assert_eq!(found.json["transaction"], transaction.as_str());
    }
    assert!(!transaction.is_empty());
    // Nobody in particular is told once, whoever was first.
    let anonymous = self::request().await;
    for success in [true, false, false] {
        let answer = call(&service, post("/settle", &anonymous, None)).await;
        assert_eq!(answer.json["success"], success);
    }
}

/// Loses its first answer to a settlement.
struct Forgetful<F>(F, AtomicBool);

impl<F: Facilitator> Facilitator for Forgetful<F> {
    type Scheme = F::Scheme;

    fn scheme(&self) -> &F::Scheme {
        self.0.scheme()
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<VerifyResponse, FacilitatorError> {
        self.0.verify(request).await
    }

    async fn settle(&self, request: &VerifyRequest) -> Result<SettleResponse, FacilitatorError> {
        self.0.settle(request).await
    }

    async fn settle_for(
        &self,
        request: &VerifyRequest,
        caller: CallerId,
    ) -> Result<Settlement, FacilitatorError> {
        let settlement = self.0.settle_for(request, caller).await?;
        if self.1.swap(false, Ordering::Relaxed) {
            return Err(FacilitatorError::TimedOut);
        }
        Ok(settlement)
    }

    async fn supported(&self) -> Result<SupportedResponse, FacilitatorError> {
        self.0.supported().await
    }
}

/// What was paid is served, though the answer was lost; once, and by the seller who asked.
#[tokio::test]
async fn a_seller_finds_out_about_a_lost_answer() {
    let local = Arc::new(LocalFacilitator::new(ledger()));
    let flaky = Arc::new(Forgetful(Arc::clone(&local), AtomicBool::new(true)));
    let seller = Seller::new(Arc::clone(&flaky));
    let other = Seller::new(Arc::clone(&flaky));
    let request = request().await;
    let terms = Offers::new([request.payment_requirements.clone()]);
    let json = request.payment_payload.to_json().unwrap();
    let present = async |seller: &Seller<_>| {
        let admission = seller.admit(&terms, Version::V2, json.as_bytes()).await?;
        seller.settle(admission).await
    };
    let reason = |refused: Result<SettleResponse, x402_std::seller::Refusal>| {
        refused.map(|receipt| receipt.success).map_err(|refusal| refusal.reason)
    };
    // Asked once more, the facilitator tells the one who asked first.
    assert_eq!(reason(present(&seller).await), Ok(true));
    assert_eq!(reason(present(&seller).await), Err(Reason::DuplicateSettlement));
    assert!(matches!(
        reason(present(&other).await),
        Err(Reason::UnknownSettlementError | Reason::InvalidExactEvmNonceAlreadyUsed)
    ));
}

/// A chain behind a door, and how many have come to it.
struct Door(SimulatedLedger, Semaphore, AtomicUsize);

fn door() -> Door {
    Door(ledger(), Semaphore::new(0), AtomicUsize::new(0))
}

impl Networks for Door {
    type Scheme = Exact;
    type Unsent = <SimulatedLedger as Networks>::Unsent;

    fn scheme(&self) -> Exact {
        self.0.scheme()
    }

    fn kinds(&self) -> Vec<SupportedKind> {
        self.0.kinds()
    }

    fn signers(&self) -> BTreeMap<&'static str, Vec<String>> {
        self.0.signers()
    }

    async fn send(&self, unsent: Self::Unsent) {
        self.0.send(unsent).await;
    }
}

impl Ledger<ExactPayment> for Door {
    async fn check(&self, payment: Verified<&ExactPayment>, now: u64) -> Result<(), Reason> {
        self.2.fetch_add(1, Ordering::Relaxed);
        self.1.acquire().await.unwrap().forget();
        self.0.check(payment, now).await
    }

    async fn prepare(
        &self,
        payment: Verified<&ExactPayment>,
    ) -> Result<(Transaction, Self::Unsent), Reason> {
        self.0.prepare(payment).await
    }

    async fn confirm(&self, payment: Verified<&ExactPayment>, id: &Transaction) -> Outcome {
        self.0.confirm(payment, id).await
    }
}

/// Above a limit, whichever it is, requests are told to come again before the chain is asked.
#[tokio::test]
async fn more_than_the_limits_allow_is_busy() {
    let limits = ServiceLimits::default();
    let cases = [
        ("all", ServiceLimits { at_once: 1, ..limits }, 64, false),
        ("address", ServiceLimits { per_address: 1, ..limits }, 64, true),
        ("payer", limits, 1, true),
    ];
    for (name, limits, per_payer, others_enter) in cases {
        let facilitator = LocalFacilitator::new(door());
        let service = Service::with_limits(facilitator.with_payer_limit(per_payer), limits);
        let from = |address: [u8; 4], mut request: Request<Body>| {
            let peer = SocketAddr::new(IpAddr::from(address), 1);
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        };
        let first = request().await;
        let waiting = {
            let (service, body) = (service.clone(), post("/settle", &first, None));
            let body = from([1, 1, 1, 1], body);
            tokio::spawn(async move { call(&service, body).await })
        };
        while service.facilitator().ledger().2.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        for path in ["/verify", "/settle"] {
            let second = request().await;
            let answer = call(&service, from([1, 1, 1, 1], post(path, &second, None))).await;
            assert_eq!(answer.reason(), Some("busy"), "{name} {path} {}", answer.json);
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{name} {path}");
        }
        // Somebody else, who is not to wait for them.
        if others_enter {
            let address = if name == "address" { [2, 2, 2, 2] } else { [1, 1, 1, 1] };
            let answer = call(&service, from(address, get("/supported"))).await;
            assert_eq!(answer.status, StatusCode::OK, "{name}");
        }
        service.facilitator().ledger().1.add_permits(9);
        assert_eq!(waiting.await.unwrap().json["success"], true, "{name}");
    }
}

/// A settlement goes on when whoever asked hangs up, and is waited for at the end.
#[tokio::test]
async fn the_end_waits_for_settlements() {
    let service = Service::new(LocalFacilitator::new(door()));
    let request = request().await;
    let asking = {
        let (service, post) = (service.clone(), post("/settle", &request, None));
        tokio::spawn(async move { call(&service, post).await })
    };
    let ledger = service.facilitator().ledger();
    while ledger.2.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    asking.abort();
    let short = Duration::from_millis(50);
    assert!(tokio::time::timeout(short, service.finish()).await.is_err());
    ledger.1.add_permits(1);
    service.finish().await;
    let seller = x402_evm::Address::parse(SELLER).unwrap();
    let paid = ledger.0.balance(common::CHAIN_ID, common::usdc(), seller);
    assert_eq!(paid.as_u64(), Some(10_000));
    // And nothing is begun any more.
    assert_eq!(call(&service, get("/supported")).await.status, StatusCode::OK);
    let late = self::request().await;
    assert_eq!(call(&service, post("/settle", &late, None)).await.reason(), Some("busy"));
}

#[tokio::test]
async fn what_does_not_arrive_is_not_waited_for() {
    let limits = ServiceLimits { arrival: Duration::from_millis(30), ..ServiceLimits::default() };
    let service = Service::with_limits(LocalFacilitator::new(ledger()), limits);
    let never = || Body::new(Never);
    let long = || Body::from(vec![b' '; x402_core::limits::MESSAGE_BYTES + 1]);
    for path in ["/verify", "/settle"] {
        for body in [never(), long(), Body::empty(), Body::from("{}")] {
            let post = Request::post(path).header("content-type", "application/json");
            let answer = call(&service, post.body(body).unwrap()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
            assert!(answer.reason().is_some(), "{path} {}", answer.json);
        }
    }
}

/// A body that never comes.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

/// Every state of a settlement, and what is none.
#[tokio::test]
async fn settlements_can_be_looked_up() {
    let store = Arc::new(MemoryStore::default());
    let facilitator = LocalFacilitator::with_parts(ledger(), Arc::clone(&store), SystemClock);
    let service = Service::new(facilitator);
    let id: Transaction = "0x1".try_into().unwrap();
    let steps = [
        (None, r#"{"state":"claimed","transaction":null,"errorReason":null}"#),
        (
            Some(ClaimState::Broadcast(id.clone())),
            r#"{"state":"broadcast","transaction":"0x1","errorReason":null}"#,
        ),
        (
            Some(ClaimState::Settled(id.clone())),
            r#"{"state":"settled","transaction":"0x1","errorReason":null}"#,
        ),
    ];
    let key = ClaimKey::new([0xab; 32]);
    let path = format!("/settlements/{key:?}");
    for unknown in [&*path, "/settlements/ab", "/settlements/", "/settlements/zz"] {
        assert_eq!(call(&service, get(unknown)).await.status, StatusCode::NOT_FOUND, "{unknown}");
    }
    store.present(key, Resource::ANY, u64::MAX, 0).await.unwrap();
    let mut state = ClaimState::Claimed;
    for (next, expected) in steps {
        if let Some(next) = next {
            store.advance(key, &state, next.clone()).await.unwrap();
            state = next;
        }
        let mut expected: Value = serde_json::from_str(expected).unwrap();
        expected["id"] = format!("{key:?}").into();
        assert_eq!(call(&service, get(&path)).await.json, expected);
    }
    // By what the payment itself says, for who has no `Content-Location`.
    let request = request().await;
    let schemes = x402_std::scheme::Exact::default();
    let view = request.as_view();
    let now = x402_std::Clock::now(&SystemClock);
    let (payload, offer) = (&view.payment_payload, &view.payment_requirements);
    let verified = x402_core::gate::verify(&schemes, payload, offer, now).unwrap();
    let answer = call(&service, post("/settle", &request, None)).await;
    let id = settlement_id(verified.payment());
    assert_eq!(answer.location, Some(format!("settlements/{id:?}")));
    // It is found wherever the service is mounted.
    let nested = Router::new().nest("/x402", service.router());
    let settle = post("/x402/settle", &request, None);
    let response = nested.clone().oneshot(settle).await.unwrap();
    let location = response.headers()["content-location"].to_str().unwrap();
    let asked = url::Url::parse("http://pay.test/x402/settle").unwrap().join(location).unwrap();
    let found = nested.oneshot(get(asked.path())).await.unwrap();
    assert_eq!(
        (asked.path().starts_with("/x402/settlements/"), found.status()),
        (true, StatusCode::OK)
    );
    // Nothing is claimed for a payment that no gate let through.
    let mut other = request.clone();
    other.payment_requirements.amount = x402_core::Amount::from(1);
    let answer = call(&service, post("/settle", &other, None)).await;
    assert_eq!((answer.location, &answer.json["success"]), (None, &Value::Bool(false)));
}

/// What is not taken on costs no question to the chain, and the answer says why.
#[tokio::test]
async fn payments_that_are_not_taken_on() {
    let payee = |text: &str| Payee::parse(text).unwrap();
    let somebody = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
    let other = AcceptedAsset::parse(&format!("{NETWORK}/{somebody}:6")).unwrap();
    let money = |text: &str| Least::Money(x402_core::Money::parse(text).unwrap());
    let units = |units: u64| Least::Units(x402_core::Amount::from(units));
    let known = Acceptance::known;
    let cases = [
        (known(), None),
        (known().with_payees([payee(SELLER)]).with_least(money("$0.01")), None),
        (known().with_least(units(10_000)), None),
        (known().with_payees([payee(somebody)]), Some("payTo")),
        (known().with_assets(false, [other]), Some("asset")),
        (known().with_least(money("$0.010001")), Some("amount")),
        (known().with_least(units(10_001)), Some("amount")),
    ];
    for (acceptance, refused) in cases {
        let door = door();
        door.1.add_permits(9);
        let facilitator = LocalFacilitator::new(door).with_acceptance(acceptance.clone());
        let service = Service::new(facilitator);
        let request = request().await;
        for path in ["/verify", "/settle"] {
            let answer = call(&service, post(path, &request, None)).await;
            let reason = refused.map(|_| "invalid_payment_requirements");
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.reason(), reason, "{acceptance:?} {path} {}", answer.json);
            let said = answer.json.get("errorMessage").or(answer.json.get("invalidMessage"));
            let said = said.and_then(Value::as_str).map(|said| said.split(':').next().unwrap());
            assert_eq!(said, refused, "{acceptance:?} {path} {}", answer.json);
        }
        let asked = service.facilitator().ledger().2.load(Ordering::Relaxed);
        assert_eq!(asked == 0, refused.is_some(), "{acceptance:?}");
    }
}

/// A page in a browser can send these without asking first.
#[tokio::test]
async fn requests_of_pages_are_refused() {
    let service = Service::new(LocalFacilitator::new(ledger()));
    let request = request().await;
    let json = request.to_json().unwrap();
    let plain = "text/plain;charset=UTF-8";
    for (headers, expected) in [
        (&[][..], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[("content-type", plain)], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (
            &[
                ("content-type", "application/json"),
                ("origin", "http://evil.example"),
                ("host", "a"),
            ],
            StatusCode::FORBIDDEN,
        ),
        (
            &[("content-type", "application/json"), ("origin", "http://a"), ("host", "a")],
            StatusCode::OK,
        ),
    ] {
        for path in ["/verify", "/settle"] {
            let mut post = Request::post(path);
            for (name, value) in headers {
                post = post.header(*name, *value);
            }
            let answer = call(&service, post.body(json.clone().into()).unwrap()).await;
            assert_eq!(answer.status, expected, "{path} {headers:?}");
        }
    }
}
