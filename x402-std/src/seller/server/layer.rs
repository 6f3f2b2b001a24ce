//! The layer, and its settings.

use std::fmt;
use std::future::{Future, ready as ready_now};
use std::sync::{Arc, Mutex};

use ::http::StatusCode;
use ::http::request::Parts;
use tokio::sync::Semaphore;
use tower::Layer;

use super::{
    BODY_LIMIT, KIB, PAYMENTS_AT_ONCE, PaymentService, Price, REQUEST_LIMIT, REQUESTS_BYTES, Shared,
};
use crate::clock::SystemClock;
use crate::facilitator::Facilitator;
use crate::page::Page;
use crate::seller::driver::Driver;
use crate::seller::{Offers, OffersError, Seller};
use crate::store::MemoryStore;

/// A layer that charges for every request to the service it wraps.
pub struct PaymentLayer<F, S = MemoryStore, C = SystemClock>(Arc<Shared<F, S, C>>);

impl<F, S, C> Clone for PaymentLayer<F, S, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F, S, C> fmt::Debug for PaymentLayer<F, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PaymentLayer");
        if let Price::Fixed(offers) = &self.0.price {
            shown.field("offers", offers);
        }
        shown.finish_non_exhaustive()
    }
}

impl<F: Facilitator, S, C> PaymentLayer<F, S, C> {
    /// The same offers for every request.
    ///
    /// # Panics
    /// If the offers cannot be paid: see [`try_new`](Self::try_new).
    pub fn new(seller: Arc<Seller<F, S, C>>, offers: impl Into<Offers>) -> Self {
        Self::try_new(seller, offers).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same offers for every request.
    ///
    /// # Errors
    /// [`OffersError`] if the offers cannot be paid: see [`Seller::check`].
    pub fn try_new(
        seller: Arc<Seller<F, S, C>>,
        offers: impl Into<Offers>,
    ) -> Result<Self, OffersError> {
        let offers = offers.into();
        seller.check(&offers)?;
        Ok(Self::priced(seller, Price::Fixed(Arc::new(offers))))
    }

    /// Charges by offers that depend on the request. They must be equal for the request that is answered with
    /// a challenge and for the one that pays. `None` is free; an error status is the answer; offers that
    /// cannot be paid are answered with 500.
    pub fn with_offers_for(
        seller: Arc<Seller<F, S, C>>,
        offers: impl Fn(&Parts) -> Result<Option<Offers>, StatusCode> + Send + Sync + 'static,
    ) -> Self {
        Self::with_offers_for_async(seller, move |parts| ready_now(offers(parts)))
    }

    /// Charges the same offers for every request, completed by the facilitator's `/supported` answer: see
    /// [`Seller::complete`]. The layer asks for that answer again after ten minutes. Offers on Solana need
    /// it, because the facilitator names the fee payer. While they cannot be completed, requests are answered
    /// with 503.
    pub fn from_supported(seller: Arc<Seller<F, S, C>>, offers: impl Into<Offers>) -> Self
    where
        F: 'static,
        S: Send + Sync + 'static,
        C: Send + Sync + 'static,
    {
        let (asked, offers) = (Arc::clone(&seller), offers.into());
        Self::with_offers_for_async(seller, move |_| {
            let (seller, offers) = (Arc::clone(&asked), offers.clone());
            async move {
                let completed = seller.complete(offers).await;
                let completed = completed.inspect_err(|error| {
                    tracing::error!(%error, "offers are not made: the facilitator must complete them");
                });
                completed.map(Some).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
            }
        })
    }

    /// As [`with_offers_for`](Self::with_offers_for), for offers that take time to find, in a database for
    /// example. The future may not borrow the request's parts.
    pub fn with_offers_for_async<T>(
        seller: Arc<Seller<F, S, C>>,
        offers: impl Fn(&Parts) -> T + Send + Sync + 'static,
    ) -> Self
    where
        T: Future<Output = Result<Option<Offers>, StatusCode>> + Send + 'static,
    {
        Self::priced(seller, Price::Computed(Arc::new(move |parts| Box::pin(offers(parts)))))
    }

    fn priced(seller: Arc<Seller<F, S, C>>, price: Price) -> Self {
        Self(Arc::new(Shared {
            seller,
            price,
            driver: Driver::new(PAYMENTS_AT_ONCE),
            room: Arc::new(Semaphore::new(REQUESTS_BYTES / KIB)),
            request_limit: REQUEST_LIMIT,
            body_limit: BODY_LIMIT,
            v1_body: false,
            charge_redirects: false,
            base_url: None,
            secret: None,
            page: None,
            last: Mutex::default(),
        }))
    }

    fn set(mut self, set: impl FnOnce(&mut Shared<F, S, C>)) -> Self {
        set(Arc::make_mut(&mut self.0));
        self
    }

    /// Sets the limit, in bytes, of a paid body that is withheld until settlement; a longer one is neither
    /// sent nor charged for. Offers with the flow `upfront` stream without a limit.
    pub fn with_body_limit(self, bytes: usize) -> Self {
        self.set(|shared| shared.body_limit = bytes)
    }

    /// Sets the limit, in bytes, of a paid request's body: [`REQUEST_LIMIT`] by default. A longer one is
    /// answered with 413. The body is read before any work for the payment, within 30 seconds.
    pub fn with_request_limit(self, bytes: usize) -> Self {
        self.set(|shared| shared.request_limit = bytes)
    }

    /// Waits until all work on payments is finished. Buyers that hang up leave settlements behind: await this
    /// before the process ends.
    pub async fn drain(&self) {
        self.0.driver.drain().await;
    }

    /// Writes the challenge's body in version 1, for buyers that read only that; the header stays
    /// version 2. Without this the body is the header's JSON.
    pub fn with_v1_body(self) -> Self {
        self.set(|shared| shared.v1_body = true)
    }

    /// Ties payments on Solana to method and path of the request: see [`Offers::with_memo`]. All servers of
    /// the route need the same secret.
    pub fn with_memo_secret(self, secret: [u8; 32]) -> Self {
        self.set(|shared| shared.secret = Some(secret))
    }

    /// Charges for redirects to other origins too. It is for goods that are an address, such as a download
    /// behind a signed URL. Without this such redirects are free, and a request with a payment gets the
    /// location.
    pub fn with_charged_redirects(self) -> Self {
        self.set(|shared| shared.charge_redirects = true)
    }

    /// Shows people a page, on which they pay with the wallet of their browser. Without it they see JSON.
    pub fn with_page(self, page: Page) -> Self {
        self.set(|shared| shared.page = Some(Arc::new(page)))
    }

    /// Sets the origin that challenges name before the request's path, such as `https://api.example.com`,
    /// instead of `http://` and the request's `Host`.
    ///
    /// Inside axum's `nest`, this layer sees a path without the nest's prefix, so end the origin with that
    /// prefix: `https://api.example.com/v1`. Without it the challenges name another URL, and payments tied to
    /// a path ([`PaymentLayer::with_memo_secret`]) are valid under every other mount of it.
    pub fn with_base_url(self, origin: impl Into<String>) -> Self {
        self.set(|shared| shared.base_url = Some(origin.into()))
    }
}

impl<I, F, S, C> Layer<I> for PaymentLayer<F, S, C> {
    type Service = PaymentService<I, F, S, C>;

    fn layer(&self, inner: I) -> Self::Service {
        PaymentService { inner, shared: Arc::clone(&self.0) }
    }
}
