//! A tower layer that puts a price on a route.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use axum::{Router, routing::get};
//! use x402_std::facilitator::RemoteFacilitator;
//! use x402_std::seller::{Seller, exact};
//! use x402_std::seller::server::PaymentLayer;
//!
//! let facilitator = RemoteFacilitator::new("https://facilitator.example.com")?;
//! let seller = Arc::new(Seller::new(facilitator));
//! let offer = exact("eip155:84532", "0x90F79bf6EB2c4f870365E785982E1f101E93b906", "$0.01")?;
//! let app: Router = Router::new()
//!     .route("/weather", get(|| async { "sunny" }).layer(PaymentLayer::new(seller, offer)))
//!     .route("/free", get(|| async { "hello" }));
//! # Ok(())
//! # }
//! ```
//!
//! The price is on the route, so every path to the handler passes it. No request reaches the handler unpaid.
//! `HEAD` gets the challenge, even with a payment, and the layer answers a CORS preflight with an empty body.
//!
//! Answers with these statuses are charged: 1xx and 2xx, and 3xx except 304 and redirects to another origin.
//! All others are free, and the payment stays valid. Those are errors, content that the buyer has already,
//! and directions to a server at which the payment is worthless. Offers that are settled
//! [`upfront`](crate::message::PaymentRequirements::upfront) are paid whatever the answer is. To admit
//! browsers of other origins, put a CORS layer outside this one.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::header::HOST;
use ::http::request::Parts;
use ::http::{HeaderValue, Request, Response, StatusCode, response};
use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, Either};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tower::Service;
use x402_core::Version;

use crate::clock::{Clock, SystemClock};
use crate::extension::BoxFuture;
use crate::facilitator::Facilitator;
use crate::lock;
use crate::page::Page;
pub use crate::seller::ConnectionEnd;
use crate::seller::driver::Driver;
use crate::seller::{Offers, Refusal, RequestDigest, Seller};
use crate::store::{ClaimStore, MemoryStore};

mod body;
mod exchange;
mod headers;
mod layer;
mod person;

pub use body::{OwnBody, TakenOver};
use exchange::Exchange;
use headers::{ask, empty, insert_receipt, is_error, leads_elsewhere, path_of, plain, written};
pub use layer::PaymentLayer;

/// Default limit, in bytes, of a paid body that is withheld until settlement.
pub const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// Default limit, in bytes, of a paid request's body.
pub const REQUEST_LIMIT: usize = 2 * 1024 * 1024;

/// Time in which a paid request's body must arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Limit, in bytes, of all bodies of paid requests that are held at the same time.
const REQUESTS_BYTES: usize = 256 << 20;

/// The unit in which they are counted.
const KIB: usize = 1024;

/// Bytes of a paid answer that are written at a time.
const CHUNK: usize = 64 * KIB;

/// Limit of payments that one layer works on at the same time; more are answered with 503.
pub const PAYMENTS_AT_ONCE: usize = 1024;

struct Shared<F, S, C> {
    seller: Arc<Seller<F, S, C>>,
    price: Price,
    driver: Driver<PaidAnswer>,
    /// Room for the bodies of requests, in KiB.
    room: Arc<Semaphore>,
    request_limit: usize,
    body_limit: usize,
    v1_body: bool,
    charge_redirects: bool,
    base_url: Option<String>,
    secret: Option<[u8; 32]>,
    page: Option<Arc<Page>>,
    /// The last price that was made, which the next request mostly needs.
    last: Mutex<Option<Arc<Cached>>>,
}

/// An answer that was paid for.
#[derive(Clone, Debug)]
struct PaidAnswer {
    parts: response::Parts,
    body: Bytes,
}

/// The price of a request.
struct Cached {
    offers: Arc<Offers>,
    /// The answer to a request without a payment, made once.
    challenge: OnceLock<Option<Challenge>>,
}

/// A challenge as header and body.
#[derive(Clone)]
struct Challenge {
    header: HeaderValue,
    body: Bytes,
}

impl From<Offers> for Cached {
    fn from(offers: Offers) -> Self {
        Self { offers: Arc::new(offers), challenge: OnceLock::new() }
    }
}

impl<F, S, C> Clone for Shared<F, S, C> {
    fn clone(&self) -> Self {
        Self {
            seller: Arc::clone(&self.seller),
            price: self.price.clone(),
            driver: self.driver.clone(),
            room: Arc::clone(&self.room),
            base_url: self.base_url.clone(),
            page: self.page.clone(),
            // The cached price may come from other settings.
            last: Mutex::default(),
            ..*self
        }
    }
}

type Compute =
    dyn Fn(&Parts) -> BoxFuture<'static, Result<Option<Offers>, StatusCode>> + Send + Sync;

#[derive(Clone)]
enum Price {
    Fixed(Arc<Offers>),
    Computed(Arc<Compute>),
}

/// A service with a price.
pub struct PaymentService<I, F, S = MemoryStore, C = SystemClock> {
    inner: I,
    shared: Arc<Shared<F, S, C>>,
}

impl<I: Clone, F, S, C> Clone for PaymentService<I, F, S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<I, F, S, C> fmt::Debug for PaymentService<I, F, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentService")
    }
}

/// The body of an answer: this layer's own, a withheld one, or the handler's.
pub type PaymentBody<B> = Either<OwnBody, B>;

impl<I, F, S, C, Q, B> Service<Request<Q>> for PaymentService<I, F, S, C>
where
    I: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    I::Future: Send,
    I::Error: Send,
    F: Facilitator + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
    Q: Body<Data = Bytes> + From<Bytes> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<PaymentBody<B>>;
    type Error = I::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, I::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        // The clone has not been polled ready, so the original must be called.
        let ready = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, ready);
        let exchange = Exchange { inner, shared: Arc::clone(&self.shared) };
        Box::pin(exchange.serve(request))
    }
}

impl<F, S, C> Shared<F, S, C> {
    /// Returns whether an answer is charged: an error, a 304, or a direction to another server is free.
    fn is_charged<B>(&self, response: &Response<B>, asked: &str) -> bool {
        let status = response.status();
        let leads_elsewhere = || !self.charge_redirects && leads_elsewhere(response, asked);
        !is_error(status)
            && status != StatusCode::NOT_MODIFIED
            && !(status.is_redirection() && leads_elsewhere())
    }

    /// Reads the body of a request, within its limit, its time, and the room for all bodies.
    async fn read<Q: Body<Data = Bytes>>(
        &self,
        body: Q,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), StatusCode> {
        if body.is_end_stream() {
            return Ok((Bytes::new(), None));
        }
        if body.size_hint().lower() > self.request_limit as u64 {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let read = async {
            let mut body = pin!(body);
            let (mut whole, mut room) = (Vec::new(), None::<OwnedSemaphorePermit>);
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
                let Ok(data) = frame.into_data() else { continue };
                if whole.len() + data.len() > self.request_limit {
                    return Err(StatusCode::PAYLOAD_TOO_LARGE);
                }
                whole.extend_from_slice(&data);
                let held = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
                let more = whole.len().div_ceil(KIB).saturating_sub(held);
                let more = u32::try_from(more).map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
                let more = Arc::clone(&self.room).try_acquire_many_owned(more);
                let more = more.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
                match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                }
            }
            Ok((whole.into(), room))
        };
        timeout(ARRIVAL, read).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
    }

    /// Reads the body of an answer, to be withheld until the payment is settled.
    async fn withhold<B>(
        &self,
        response: Response<B>,
    ) -> Result<(response::Parts, Bytes), Response<PaymentBody<B>>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = response.into_parts();
        let (limit, declared) = (self.body_limit, body.size_hint().lower());
        // In one piece: small pieces may each keep a large buffer alive.
        let read = async {
            let mut body = pin!(body);
            let mut whole = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Some(error.into()))?;
                let Ok(data) = frame.into_data() else { continue };
                if whole.len() + data.len() > limit {
                    return Err(None);
                }
                whole.extend_from_slice(&data);
            }
            Ok::<_, Option<Box<dyn Error + Send + Sync>>>(whole)
        };
        let error = match read.await {
            Ok(mut body) => {
                body.shrink_to_fit();
                return Ok((parts, body.into()));
            }
            Err(None) => {
                tracing::error!(
                    limit,
                    declared,
                    "paid answer is too long: see PaymentLayer::with_body_limit"
                );
                let text = format!(
                    "The answer is longer than the {limit} bytes that this server withholds until \
                     it is paid. Nothing more was charged.\n"
                );
                return Err(plain(StatusCode::INTERNAL_SERVER_ERROR, text));
            }
            Err(Some(error)) => error,
        };
        tracing::error!(%error, "paid body not sent and not charged for");
        Err(empty(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

impl<F: Facilitator, S, C> Shared<F, S, C> {
    /// Returns the price of a request; `None` if it is free.
    async fn cached(&self, parts: &Parts) -> Result<Option<Arc<Cached>>, StatusCode> {
        let offers = match &self.price {
            Price::Fixed(offers) if self.secret.is_none() => {
                let own = !offers.resource.url.is_empty();
                let url = if own { offers.resource.url.clone() } else { self.url(parts) };
                return Ok(Some(self.cached_fixed(offers, url)));
            }
            Price::Fixed(offers) => Offers::clone(offers),
            Price::Computed(compute) => {
                let Some(offers) = compute(parts).await? else {
                    return Ok(None);
                };
                if let Err(error) = self.seller.check(&offers) {
                    tracing::error!(%error, "offers for this request cannot be paid");
                    return Err(StatusCode::INTERNAL_SERVER_ERROR);
                }
                offers
            }
        };
        let mut offers = offers;
        if offers.resource.url.is_empty() {
            offers.resource.url = self.url(parts);
        }
        if let Some(secret) = &self.secret {
            let mount = self.base_url.as_deref().map_or("", path_of);
            let path = format!("{mount}{}", parts.uri.path());
            offers = offers.with_memo(secret, parts.method.as_str(), &path);
        }
        Ok(Some(Arc::new(self.seller.announce(offers).into())))
    }

    /// Returns the fixed offers for a URL, the same at every request.
    fn cached_fixed(&self, offers: &Offers, url: String) -> Arc<Cached> {
        let last = || lock(&self.last);
        if let Some(cached) = last().as_ref().filter(|cached| cached.offers.resource.url == url) {
            return Arc::clone(cached);
        }
        let mut offers = offers.clone();
        offers.resource.url = url;
        let cached = Arc::new(Cached::from(self.seller.announce(offers)));
        if !self.seller.announces_anew() {
            *last() = Some(Arc::clone(&cached));
        }
        cached
    }

    fn url(&self, parts: &Parts) -> String {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        match &self.base_url {
            Some(origin) => format!("{}{path}", origin.trim_end_matches('/')),
            None => {
                let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
                let host = host.or(parts.uri.authority().map(|authority| authority.as_str()));
                format!("http://{}{path}", host.unwrap_or("localhost"))
            }
        }
    }

    /// Returns the answer to a request without a payment.
    fn challenge<B>(&self, cached: &Cached) -> Response<PaymentBody<B>> {
        let version = if self.v1_body { Version::V1 } else { Version::V2 };
        let challenge = cached.challenge.get_or_init(|| written(&cached.offers, version, None));
        ask(challenge.clone(), StatusCode::PAYMENT_REQUIRED)
    }

    /// Returns the answer to a refused payment, in the payment's version.
    fn refuse<B>(
        &self,
        offers: &Offers,
        version: Version,
        refusal: Refusal,
    ) -> Response<PaymentBody<B>> {
        tracing::info!(reason = %refusal, "payment refused");
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::PAYMENT_REQUIRED);
        let mut response = ask(written(offers, version, Some(&refusal.to_string())), status);
        if let Some(receipt) = &refusal.receipt {
            insert_receipt(response.headers_mut(), version, receipt);
        }
        response
    }
}
