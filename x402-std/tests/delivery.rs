//! What becomes of work that was paid for when buyers hang up, processes die and facilitators err.
#![allow(missing_docs)]
#![cfg(feature = "sqlite")]

mod common;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::routing::any;
use common::{Act, NETWORK, SELLER, Scripted, header, sign};
use http_body::Frame;
use http_body_util::BodyExt;
use tower::ServiceExt;
use x402_core::claim::ClaimState;
use x402_core::{Payment as _, Reason, Version};
use x402_std::facilitator::{Facilitator, LocalFacilitator, settlement_id};
use x402_std::message::{
    PaymentPayload, PaymentRequired, PaymentRequirements, SettleResponse, VerifyRequest,
};
use x402_std::scheme::Exact;
use x402_std::seller::server::{ConnectionEnd, PaymentLayer};
use x402_std::seller::{DELIVERY_SECONDS, Offers, RequestDigest, Seller, exact};
use x402_std::store::{ClaimStore, MemoryStore, PENDING_AFTER, SqliteStore};
use x402_std::transport::PaymentText;
use x402_std::{Clock, SystemClock};

/// Longer than what is written at a time.
const LONG: usize = 300_000;

fn offer() -> PaymentRequirements {
    exact(NETWORK, SELLER, "$0.01").unwrap()
}

/// A shop whose handler counts its calls, and says in its answer how many there were.
struct Shop<S, C = SystemClock> {
    app: Router,
    facilitator: Scripted,
    handled: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
    seller: Arc<Seller<Scripted, S, C>>,
}

fn shop<S: ClaimStore + 'static>(facilitator: Scripted, store: S) -> Shop<S> {
    shop_of(Seller::with_parts(facilitator.clone(), store, SystemClock), facilitator, offer())
}

fn shop_of<S: ClaimStore + 'static, C: Clock + 'static>(
    seller: Seller<Scripted, S, C>,
    facilitator: Scripted,
    offer: PaymentRequirements,
) -> Shop<S, C> {
    let seller = Arc::new(seller);
    let handled = Arc::new(AtomicUsize::new(0));
    let fails = Arc::new(AtomicBool::new(false));
    let (count, failing) = (Arc::clone(&handled), Arc::clone(&fails));
    let handler = move |request: Request<Body>| {
        let (count, failing) = (Arc::clone(&count), Arc::clone(&failing));
        async move {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            match request.uri().path() {
                "/never" => std::future::pending().await,
                "/stream" => (StatusCode::OK, Body::new(Endless)),
                "/long" => (StatusCode::OK, format!("{number}").repeat(LONG).into()),
                _ if failing.load(Ordering::SeqCst) => (StatusCode::BAD_GATEWAY, Body::empty()),
                _ => (StatusCode::OK, format!("answer {number}").into()),
            }
        }
    };
    let charge = PaymentLayer::new(Arc::clone(&seller), offer).with_request_limit(1000);
    let app = Router::new().route("/{*path}", any(handler).layer(charge));
    Shop { app, facilitator, handled, fails, seller }
}

/// A body that never ends, and never says anything.
struct Endless;

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Pending
    }
}

fn request(method: Method, path: &str, payment: Option<&PaymentText>, body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "shop.test");
    if let Some((name, value)) = payment.map(header) {
        request = request.header(name, value);
    }
    request.body(body.to_owned().into()).unwrap()
}

impl<S, C> Shop<S, C> {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.app.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str, payment: &PaymentText) -> Response<Body> {
        self.send(request(Method::GET, path, Some(payment), "")).await
    }

    /// A payment for a path.
    async fn paid(&self, path: &str) -> PaymentText {
        let response = self.send(request(Method::GET, path, None, "")).await;
        let header = &response.headers()["payment-required"];
        sign(&PaymentRequired::from_header(header.as_bytes()).unwrap()).await
    }

    fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }
}

fn refused(headers: &HeaderMap) -> Option<String> {
    let receipt = SettleResponse::from_header(headers.get("payment-response")?.as_bytes()).ok()?;
    receipt.error_reason
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 22).await.unwrap().to_vec()).unwrap()
}

/// A file of one test's own.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("x402-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.0.join("claims.db")).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// How a buyer misses an answer.
#[derive(Clone, Copy, Debug)]
enum Misses {
    /// Hangs up while the payment is settled.
    Settling,
    /// Hangs up before any of the body is read.
    Unread,
    /// Reads a part of the body, and hangs up.
    Half,
    /// The connection breaks after all was written.
    AfterAll,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_settlement_is_given_again_to_the_same_request() {
    for misses in [Misses::Settling, Misses::Unread, Misses::Half, Misses::AfterAll] {
        let shop = Arc::new(shop(Scripted::new(), MemoryStore::default()));
        let payment = shop.paid("/long").await;
        let end = ConnectionEnd::default();
        let mut first = request(Method::GET, "/long", Some(&payment), "");
        first.extensions_mut().insert(end.clone());
        match misses {
            Misses::Settling => {
                let slowly = || std::thread::sleep(Duration::from_millis(300));
                shop.facilitator.next_settle(Act::After(Arc::new(slowly)));
                let asked = Arc::clone(&shop);
                let asking = tokio::spawn(async move { asked.send(first).await });
                while !shop.facilitator.calls.lock().unwrap().contains(&"settle") {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                asking.abort();
                let early = shop.get("/long", &payment).await;
                let reason = refused(early.headers());
                assert_eq!(reason.as_deref(), Some("busy"));
                while shop.facilitator.paid() == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Misses::Unread => drop(shop.send(first).await),
            Misses::Half => {
                let mut body = shop.send(first).await.into_body();
                assert!(body.frame().await.unwrap().unwrap().into_data().unwrap().len() < LONG);
            }
            Misses::AfterAll => {
                assert_eq!(text(shop.send(first).await).await.len(), LONG);
                let again = shop.get("/long", &payment).await;
                let reason = refused(again.headers());
                assert_eq!(reason.as_deref(), Some("duplicate_settlement"), "it may be read yet");
                end.broke();
            }
        }
        // Nobody gets anything else for it.
        for other in [
            request(Method::GET, "/long?other", Some(&payment), ""),
            request(Method::GET, "/other", Some(&payment), ""),
            request(Method::POST, "/long", Some(&payment), ""),
            request(Method::GET, "/long", Some(&payment), "other"),
        ] {
            let response = shop.send(other).await;
            assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
            let reason = refused(response.headers());
            assert_eq!(reason.as_deref(), Some("duplicate_settlement"), "{misses:?}");
        }
        let again = shop.get("/long", &payment).await;
        assert_eq!(again.status(), StatusCode::OK, "{misses:?}");
        let header = again.headers()["payment-response"].as_bytes();
        assert!(SettleResponse::from_header(header).unwrap().success);
        assert_eq!(text(again).await, "1".repeat(LONG), "{misses:?}");
        // Then it is delivered.
        let again = shop.get("/long", &payment).await;
        assert_eq!(refused(again.headers()).as_deref(), Some("duplicate_settlement"));
        assert_eq!((shop.handled(), shop.facilitator.paid()), (1, 10_000), "{misses:?}");
    }
}

/// Of many who ask for a lost answer at once, one gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_given_to_one_at_a_time() {
    let shop = Arc::new(shop(Scripted::new(), MemoryStore::default()));
    let payment = shop.paid("/long").await;
    let mut body = shop.get("/long", &payment).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (shop, payment) = (Arc::clone(&shop), payment.clone());
        asking.spawn(async move {
            let response = shop.get("/long", &payment).await;
            let status = response.status();
            text(response).await;
            status
        });
    }
    let given = asking.join_all().await.into_iter().filter(|it| *it == StatusCode::OK).count();
    assert_eq!((given, shop.handled()), (1, 1));
}

/// Settles a payment as a process does that dies before it has written anything out.
async fn settled_and_killed(facilitator: &Scripted, file: &File, path: &str) -> PaymentText {
    let shop = shop(facilitator.clone(), file.open());
    let payment = shop.paid(path).await;
    let url = format!("http://shop.test{path}");
    let mut terms = Offers::from(offer());
    terms.resource.url.clone_from(&url);
    let digest = RequestDigest::from_parts(&[b"GET", url.as_bytes(), b""]);
    let admitted =
        shop.seller.admit_for(&terms, Version::V2, payment.json.as_bytes(), Some(digest));
    assert!(shop.seller.settle(admitted.await.unwrap()).await.unwrap().success);
    // Its life ends in another second than that in which the next one begins.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    payment
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_over_a_restart_is_made_once_more() {
    let (facilitator, file) = (Scripted::new(), File::new("restart"));
    let payment = settled_and_killed(&facilitator, &file, "/weather").await;
    let shop = Arc::new(shop(facilitator.clone(), file.open()));
    let other = shop.get("/other", &payment).await;
    assert_eq!(refused(other.headers()).as_deref(), Some("duplicate_settlement"));
    // Work that fails is not the delivery.
    shop.fails.store(true, Ordering::SeqCst);
    let failed = shop.get("/weather", &payment).await;
    assert_eq!(failed.status(), StatusCode::BAD_GATEWAY);
    tokio::time::sleep(Duration::from_millis(100)).await;
    shop.fails.store(false, Ordering::SeqCst);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (shop, payment) = (Arc::clone(&shop), payment.clone());
        asking.spawn(async move { text(shop.get("/weather", &payment).await).await });
    }
    let answers = asking.join_all().await;
    assert_eq!(answers.iter().filter(|text| *text == "answer 2").count(), 1, "{answers:?}");
    assert_eq!((shop.handled(), facilitator.paid()), (2, 10_000));
    let again = shop.get("/weather", &payment).await;
    assert_eq!(refused(again.headers()).as_deref(), Some("duplicate_settlement"));
}

/// While another process uses the claims, it may be writing the answer out: it has its time for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_another_process_may_be_writing_is_not_made() {
    let (facilitator, file) = (Scripted::new(), File::new("another"));
    let _other = file.open();
    let payment = settled_and_killed(&facilitator, &file, "/weather").await;
    let shop = shop(facilitator.clone(), file.open());
    let early = shop.get("/weather", &payment).await;
    assert_eq!(refused(early.headers()).as_deref(), Some("settlement_pending"));
    assert_eq!(shop.handled(), 0);
}

/// A clock of somebody who comes when the time to write an answer out is over.
struct Later;

impl Clock for Later {
    fn now(&self) -> u64 {
        SystemClock.now() + DELIVERY_SECONDS + 1
    }
}

/// The system's clock, and some seconds more.
struct Shifted(Arc<AtomicU64>);

impl Clock for Shifted {
    fn now(&self) -> u64 {
        SystemClock.now() + self.0.load(Ordering::SeqCst)
    }
}

/// Work that was paid upfront and failed is done once more as it was offered: streamed, without an end to wait for.
#[tokio::test]
async fn upfront_work_that_failed_is_streamed_once_more() {
    let shift = Arc::new(AtomicU64::new(0));
    let facilitator = Scripted::new();
    let clock = Shifted(Arc::clone(&shift));
    let seller = Seller::with_parts(facilitator.clone(), MemoryStore::default(), clock);
    let (handled, seller) = (Arc::new(AtomicUsize::new(0)), Arc::new(seller));
    let count = Arc::clone(&handled);
    let handler = move || {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            match first {
                true => (StatusCode::BAD_GATEWAY, Body::empty()),
                false => (StatusCode::OK, Body::new(Endless)),
            }
        }
    };
    let layer = PaymentLayer::new(Arc::clone(&seller), offer().upfront());
    let app = Router::new().route("/{*path}", any(handler).layer(layer));
    let shop = Shop { app, facilitator, handled, fails: Arc::default(), seller };
    let payment = shop.paid("/stream").await;
    let failed = shop.get("/stream", &payment).await;
    assert_eq!((failed.status(), refused(failed.headers())), (StatusCode::BAD_GATEWAY, None));
    shift.store(DELIVERY_SECONDS + 1, Ordering::SeqCst);
    let again = tokio::time::timeout(Duration::from_secs(10), shop.get("/stream", &payment)).await;
    let again = again.expect("streamed, not withheld");
    assert_eq!((again.status(), refused(again.headers())), (StatusCode::OK, None));
    assert!(again.headers().contains_key("payment-response"));
    let third = shop.get("/stream", &payment).await;
    assert_eq!(refused(third.headers()).as_deref(), Some("duplicate_settlement"));
    assert_eq!((shop.handled(), shop.facilitator.paid()), (2, 10_000));
}

/// Two processes share their claims. What one has made once more, the other does not give: not what
/// it kept when its buyer hung up, and not the rest of what its buyer was too slow to read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_buys_one_whole_answer_from_two_processes() {
    for hangs_up in [true, false] {
        let (facilitator, file) = (Scripted::new(), File::new(&format!("two-{hangs_up}")));
        let one = shop(facilitator.clone(), file.open());
        let later = Seller::with_parts(facilitator.clone(), file.open(), Later);
        let other = shop_of(later, facilitator.clone(), offer());
        let payment = one.paid("/long").await;
        let mut body = Some(one.get("/long", &payment).await.into_body());
        body.as_mut().unwrap().frame().await.unwrap().unwrap();
        if hangs_up {
            body = None;
        }
        let again = other.get("/long", &payment).await;
        assert_eq!(text(again).await.len(), LONG, "{hangs_up}");
        match body {
            None => {
                let again = one.get("/long", &payment).await;
                assert_eq!(refused(again.headers()).as_deref(), Some("duplicate_settlement"));
            }
            Some(body) => assert!(body.collect().await.is_err(), "the rest was given, too"),
        }
        assert_eq!(facilitator.paid(), 10_000);
    }
}

/// A delivered answer is delivered, over a restart too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivered_answer_is_not_made_again_after_a_restart() {
    let (facilitator, file) = (Scripted::new(), File::new("delivered"));
    let before = shop(facilitator.clone(), file.open());
    let payment = before.paid("/weather").await;
    assert_eq!(text(before.get("/weather", &payment).await).await, "answer 1");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    drop(before);
    let shop = shop(facilitator.clone(), file.open());
    let again = shop.get("/weather", &payment).await;
    assert_eq!(refused(again.headers()).as_deref(), Some("duplicate_settlement"));
    assert_eq!(shop.handled(), 0);
}

/// Work that takes longer than its payment is good for ends, and leaves no place taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_ends_when_its_payment_does() {
    for path in ["/never", "/stream"] {
        let facilitator = Scripted::new();
        let seller = Seller::with_parts(facilitator.clone(), MemoryStore::default(), SystemClock);
        let short = PaymentRequirements { max_timeout_seconds: 8, ..offer() };
        let shop = shop_of(seller.with_payer_limit(1), facilitator, short);
        let payment = shop.paid(path).await;
        let response = shop.get(path, &payment).await;
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT, "{path}");
        assert_eq!(shop.facilitator.paid(), 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let payment = shop.paid("/weather").await;
        assert_eq!(shop.get("/weather", &payment).await.status(), StatusCode::OK);
    }
}

/// Whoever hangs up takes no place, whatever the work would have taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_ends_with_its_connection() {
    let facilitator = Scripted::new();
    let seller = Seller::with_parts(facilitator.clone(), MemoryStore::default(), SystemClock);
    let shop = Arc::new(shop_of(seller.with_payer_limit(2), facilitator, offer()));
    for path in ["/never", "/stream"] {
        let (mut holding, held) = (Vec::new(), shop.handled() + 2);
        for _ in 0..2 {
            let (shop, payment) = (Arc::clone(&shop), shop.paid(path).await);
            holding.push(tokio::spawn(async move { shop.get(path, &payment).await }));
        }
        while shop.handled() < held {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // One payer has so many places and no more.
        let payment = shop.paid("/weather").await;
        let busy = shop.get("/weather", &payment).await;
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        holding.iter().for_each(|one| one.abort());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(shop.get("/weather", &payment).await.status(), StatusCode::OK, "{path}");
    }
}

/// A request is read within its bounds before anything is done for its payment.
#[tokio::test]
async fn bodies_of_paid_requests_are_bounded() {
    let shop = shop(Scripted::new(), MemoryStore::default());
    let payment = shop.paid("/weather").await;
    let long = "x".repeat(1001);
    let stream = Body::new(Chunks(3));
    let mut endless = request(Method::POST, "/weather", Some(&payment), "");
    *endless.body_mut() = stream;
    for (request, status) in [
        (request(Method::POST, "/weather", Some(&payment), &long), StatusCode::PAYLOAD_TOO_LARGE),
        (endless, StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let response = shop.send(request).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    assert_eq!((shop.handled(), shop.facilitator.calls().len()), (0, 0));
    let whole = request(Method::POST, "/weather", Some(&payment), &long[..1000]);
    assert_eq!(shop.send(whole).await.status(), StatusCode::OK);
}

/// So many chunks of 500 bytes, of a length that is not said.
struct Chunks(usize);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; 500])))))
    }
}

/// Only a success without contradictions counts, and of one transaction one payment lives.
#[tokio::test]
async fn a_success_that_contradicts_itself_serves_nothing() {
    const TX: &str = "0x00000000000000000000000000000000000000000000000000000000000000aa";
    let shop = shop(Scripted::new(), MemoryStore::default());
    let good = || SettleResponse {
        success: true,
        transaction: TX.into(),
        network: NETWORK.into(),
        payer: Some(common::wallet().address().to_string()),
        ..SettleResponse::default()
    };
    let other = "0x00000000000000000000000000000000000000Bb";
    let odd: Vec<SettleResponse> = vec![
        SettleResponse { payer: Some(other.into()), ..good() },
        SettleResponse { amount: Some(0u64.into()), ..good() },
        SettleResponse { amount: Some(9_999u64.into()), ..good() },
        SettleResponse { transaction: "lol".into(), ..good() },
        SettleResponse { transaction: "0x1\r\nSet-Cookie: a=b".into(), ..good() },
        SettleResponse { transaction: String::new(), ..good() },
        SettleResponse { transaction: "5".repeat(88), ..good() },
        SettleResponse { error_reason: Some("insufficient_funds".into()), ..good() },
        SettleResponse { network: "eip155:8453".into(), ..good() },
    ];
    for answer in odd {
        let payment = shop.paid("/weather").await;
        shop.facilitator.next_settle(Act::Settle(Box::new(answer.clone())));
        let response = shop.get("/weather", &payment).await;
        let reason = refused(response.headers());
        let open = ["unknown_settlement_error", "settlement_pending"];
        assert!(open.contains(&reason.as_deref().unwrap()), "{answer:?}");
        assert!(!text(response).await.contains("answer"));
    }
    let payment = shop.paid("/weather").await;
    shop.facilitator.next_settle(Act::Settle(Box::new(good())));
    assert_eq!(shop.get("/weather", &payment).await.status(), StatusCode::OK);
    for spelled in [TX.to_owned(), TX.to_uppercase().replacen("0X", "0x", 1)] {
        let payment = shop.paid("/weather").await;
        let again = SettleResponse { transaction: spelled, ..good() };
        shop.facilitator.next_settle(Act::Settle(Box::new(again)));
        let response = shop.get("/weather", &payment).await;
        let reason = refused(response.headers());
        assert_eq!(reason.as_deref(), Some("unknown_settlement_error"));
    }
}

/// A facilitator that is busy has sent nothing: the payment is as new, and no store is filled.
#[tokio::test]
async fn busy_gives_the_claim_back() {
    let shop = shop(Scripted::new(), MemoryStore::new(2));
    let payment = shop.paid("/weather").await;
    for _ in 0..5 {
        let busy = SettleResponse {
            error_reason: Some("busy".into()),
            network: NETWORK.into(),
            ..SettleResponse::default()
        };
        shop.facilitator.next_settle(Act::Settle(Box::new(busy)));
        let other = shop.paid("/weather").await;
        let response = shop.get("/weather", &other).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(shop.seller.store().usage().await.unwrap().unwrap().used, 0);
    }
    assert_eq!(shop.get("/weather", &payment).await.status(), StatusCode::OK);
}

/// A payment of which nothing was sent, and which is too late, is refused for being late.
#[tokio::test]
async fn a_late_claim_says_why_it_is_late() {
    let clock = Arc::new(AtomicU64::new(1_800_000_000));
    let facilitator = Scripted::new();
    let seller =
        Seller::with_parts(facilitator.clone(), MemoryStore::default(), Arc::clone(&clock));
    let terms = Offers::from(offer());
    let required = terms.challenge(Version::V2, "").unwrap();
    let required = PaymentRequired::from_json(required.as_bytes()).unwrap();
    let policy = x402_std::buyer::Policy::default();
    let buyer = x402_std::buyer::Buyer::with_parts(common::wallet(), policy, Arc::clone(&clock));
    let payment = buyer.sign(&required, 0).await.unwrap();
    facilitator.next_verify(Act::Verify(true));
    let admit = async || seller.admit(&terms, Version::V2, payment.json.as_bytes()).await;
    let forgotten = admit().await.unwrap();
    assert_eq!(admit().await.unwrap_err().reason, Reason::Busy);
    clock.fetch_add(1_000, Ordering::SeqCst);
    let late = Reason::InvalidExactEvmPayloadAuthorizationValidBefore;
    assert_eq!(admit().await.unwrap_err().reason, late);
    drop(forgotten);
}

/// Seller and facilitator finish what is pending although nobody asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_payments_are_finished_without_being_asked_about() {
    // A seller whose facilitator's answers were lost.
    let shop = shop(Scripted::new(), MemoryStore::default());
    let payment = shop.paid("/weather").await;
    shop.facilitator.next_settle(Act::LoseAnswer);
    let lost = shop.get("/weather", &payment).await;
    assert_eq!(refused(lost.headers()).as_deref(), Some("settlement_pending"));
    let found = SettleResponse {
        success: true,
        transaction: format!("0x{}", "ab".repeat(32)),
        network: NETWORK.into(),
        ..SettleResponse::default()
    };
    shop.facilitator.next_settle(Act::Settle(Box::new(found)));
    let view = PaymentPayload::from_json(payment.json.as_bytes()).unwrap();
    let request =
        VerifyRequest { payment_payload: view, payment_requirements: offer(), other: None };
    let parts = request.as_view();
    let (payload, wanted) = (&parts.payment_payload, &parts.payment_requirements);
    let now = x402_std::Clock::now(&SystemClock);
    let verified = x402_core::gate::verify(&Exact::default(), payload, wanted, now).unwrap();
    let key = verified.payment().claim_key();
    let keeping = tokio::spawn(Arc::clone(&shop.seller).keep());
    // A facilitator that did not see what became of a payment.
    let local = Arc::new(LocalFacilitator::new(common::ledger()));
    local.ledger().set_pending(true);
    let answer = local.settle(&request).await.unwrap();
    assert_eq!(answer.error_reason.as_deref(), Some("settlement_pending"));
    local.ledger().set_pending(false);
    let id = settlement_id(verified.payment());
    let finishing = tokio::spawn(Arc::clone(&local).keep());
    tokio::time::sleep(PENDING_AFTER + Duration::from_secs(4)).await;
    let state = shop.seller.store().state(key).await.unwrap();
    assert!(matches!(state, Some(ClaimState::Settled(_))), "{state:?}");
    let state = local.settlement(id).await.unwrap();
    assert!(matches!(state, Some(ClaimState::Settled(_))), "{state:?}");
    keeping.abort();
    finishing.abort();
    // Nobody was told of it: the first who asks is, and nobody after that.
    let reason = async || local.settle(&request).await.unwrap().error_reason;
    assert_eq!(reason().await, None);
    assert_eq!(reason().await.as_deref(), Some("duplicate_settlement"));
}
