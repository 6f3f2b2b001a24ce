//! An HTTP client that pays.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use x402_std::buyer::Buyer;
//! use x402_std::buyer::client::Client;
//! use x402_std::core::crypto::secp256k1::LocalKey;
//! use x402_std::buyer::wallet::EvmWallet;
//!
//! let key = LocalKey::from_bytes(&[7; 32]).ok_or("not a key")?;
//! let client = Client::new(Buyer::new(EvmWallet::new(key)))?;
//! let bought = client.get("https://api.example.com/weather").await?;
//! println!("{}", bought.response.text().await?);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy as Redirects;
use reqwest::{Method, Request, Response, ResponseBuilderExt, StatusCode, Url};
use x402_core::crypto::keccak256;
use x402_core::domain;
use x402_core::{ParseError, Version, http, limits};

use crate::buyer::budget::{Budget, HostError, MemoryBudget, host};
use crate::buyer::wallet::PaymentSigner;
use crate::buyer::{BuyError, Buyer, Paid, PurchaseOptions};
use crate::clock::{Clock, SystemClock};
use crate::message::{PaymentRequired, ReadError, SettleResponse, encode_header};
use crate::transport::{Answer, ChallengeError, PaymentText, Subject, Transport};
pub use crate::transport::{is_here, is_private};

/// HTTP through reqwest.
///
/// A payment goes only to the requested URL: redirects are never followed, before a payment and after. A
/// client of the caller's ([`from_client`](Self::from_client)) may follow them.
///
/// Over plain http, anybody on the way can read a payment, take it, or change the payee. So plain http is
/// only for this machine and for [allowed hosts](Self::with_plain_http_hosts). Requests to this machine use
/// no proxy.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    http: reqwest::Client,
    /// For this machine, without a proxy.
    direct: reqwest::Client,
    /// Hosts that may be paid over plain http.
    plain: Arc<[String]>,
    /// Whether the clients are the caller's, and may follow redirects.
    given: bool,
}

/// The reason why there is no answer over HTTP.
#[derive(Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// The URL does not parse, or reqwest could not be set up.
    Setup,
    /// The request's body is a stream, which cannot be sent a second time with the payment.
    NotRepeatable,
    /// The request carries a payment header of its own.
    AlreadyPaid,
    /// The request uses plain http to a host that is not allowed. The payment was not sent.
    PlainHttp,
    /// The body is longer than its reader allows.
    TooLong,
    /// The caller's own client followed a redirect. Payments go only to the requested URL: make the client
    /// with `redirect::Policy::none()`.
    Redirected,
    /// Connecting, sending or receiving failed. The URL is left out of the message.
    Io(reqwest::Error),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup => f.write_str("the HTTP request cannot be made: check the URL"),
            Self::NotRepeatable => f.write_str("the request body cannot be sent twice: use no stream"),
            Self::AlreadyPaid => f.write_str("the request has a payment header: remove it"),
            Self::PlainHttp => f.write_str(
                "payments do not go over plain http, where others can take them: use https, or allow \
                 plain http for this host",
            ),
            Self::TooLong => f.write_str("the answer is too long to read"),
            Self::Redirected => f.write_str(
                "the HTTP client followed a redirect: make it with redirect::Policy::none() to pay",
            ),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        Self::Io(error.without_url())
    }
}

impl HttpTransport {
    /// Default of the longest wait for an answer. It leaves time for a settlement.
    pub const TIMEOUT: Duration = Duration::from_secs(100);

    /// Makes a transport with reqwest's defaults, proxies of the environment included, and a time limit of
    /// [`Self::TIMEOUT`] for an answer.
    ///
    /// # Errors
    /// [`HttpError::Setup`].
    pub fn new() -> Result<Self, HttpError> {
        Self::configured(|builder| builder.timeout(Self::TIMEOUT))
    }

    /// Makes a transport with reqwest as the caller configures it. The redirect policy is set here, and
    /// requests to this machine use no proxy. `configure` is called twice.
    ///
    /// # Errors
    /// [`HttpError::Setup`].
    pub fn configured(
        configure: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, HttpError> {
        let builder = || configure(reqwest::Client::builder()).redirect(Redirects::none());
        let built = |builder: reqwest::ClientBuilder| builder.build().map_err(|_| HttpError::Setup);
        let (http, direct) = (built(builder())?, built(builder().no_proxy())?);
        Ok(Self { http, direct, plain: Arc::default(), given: false })
    }

    /// Makes a transport with an existing client, with its proxies, time limits and headers. If the client
    /// follows a redirect to a price, nothing is paid. If it follows a redirect with a payment, the payment
    /// is [unclear](BuyError::Unclear), and the other server has seen it. A redirect back to the requested
    /// URL stays unnoticed. So make the client with `redirect::Policy::none()`. It is used for this machine
    /// too: unless it has `no_proxy`, its proxy sees payments to `http://localhost`.
    pub fn from_client(client: reqwest::Client) -> Self {
        Self { http: client.clone(), direct: client, plain: Arc::default(), given: true }
    }

    /// Allows payments to these hosts over plain http, for networks of trusted members only. Each host has
    /// its port unless that is 80.
    ///
    /// # Errors
    /// [`HostError`].
    pub fn with_plain_http_hosts<'h>(
        self,
        hosts: impl IntoIterator<Item = &'h str>,
    ) -> Result<Self, HostError> {
        let plain = hosts.into_iter().map(host).collect::<Result<_, _>>()?;
        Ok(Self { plain, ..self })
    }

    fn client(&self, url: &Url) -> &reqwest::Client {
        if is_here(url) { &self.direct } else { &self.http }
    }

    async fn send(
        &self,
        request: &Request,
        payment: Option<&PaymentText>,
    ) -> Result<Answer<Response>, HttpError> {
        if [Version::V1, Version::V2]
            .iter()
            .any(|v| request.headers().contains_key(v.payment_header()))
        {
            return Err(HttpError::AlreadyPaid);
        }
        let mut request = request.try_clone().ok_or(HttpError::NotRepeatable)?;
        let asked = request.url().clone();
        let here = |response: &Response| !self.given || is_same_url(response.url(), &asked);
        let Some(payment) = payment else {
            let response = self.client(&asked).execute(request).await?;
            if response.status() == StatusCode::PAYMENT_REQUIRED && !here(&response) {
                return Err(HttpError::Redirected);
            }
            return answer(response, false).await;
        };
        self.may_pay(&request)?;
        let header = encode_header(payment.json.as_bytes());
        let mut header = HeaderValue::from_str(&header).map_err(|_| HttpError::Setup)?;
        header.set_sensitive(true);
        request.headers_mut().insert(payment.version.payment_header(), header);
        let response = self.client(&asked).execute(request).await?;
        if here(&response) { answer(response, true).await } else { Err(HttpError::Redirected) }
    }
}

/// Returns whether two URLs are the same, fragments aside, which servers do not see.
fn is_same_url(one: &Url, other: &Url) -> bool {
    let whole = |url: &Url| {
        let mut url = url.clone();
        url.set_fragment(None);
        url
    };
    whole(one) == whole(other)
}

/// Makes a client pay.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use x402_std::buyer::Buyer;
/// use x402_std::buyer::client::WithPayments as _;
/// use x402_std::buyer::wallet::EvmWallet;
///
/// # let key = x402_std::core::crypto::secp256k1::LocalKey::from_bytes(&[7; 32]).ok_or("not a key")?;
/// let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// let client = http.with_payments(Buyer::new(EvmWallet::new(key)));
/// let paid = client.get("https://api.example.com/weather").await?;
/// # Ok(())
/// # }
/// ```
pub trait WithPayments {
    /// Returns a [`Client`] that sends through this one and pays for its requests: see
    /// [`HttpTransport::from_client`]. For hosts over plain http, make it by [`Client::with_parts`].
    fn with_payments<W: PaymentSigner, C: Clock, B: Budget>(
        self,
        buyer: Buyer<W, C, B>,
    ) -> Client<W, C, B>;
}

impl WithPayments for reqwest::Client {
    fn with_payments<W: PaymentSigner, C: Clock, B: Budget>(
        self,
        buyer: Buyer<W, C, B>,
    ) -> Client<W, C, B> {
        Client::with_parts(buyer, HttpTransport::from_client(self))
    }
}

/// Reads challenge and receipt of a response. It returns the whole response, unless the body is longer than a
/// challenge may be.
///
/// A payment can be refused with another status than 402. The challenge is then in the header.
async fn answer(response: Response, paid: bool) -> Result<Answer<Response>, HttpError> {
    let receipt = receipt(response.headers());
    let status = response.status();
    let refused = paid && (status.is_client_error() || status.is_server_error());
    if status != StatusCode::PAYMENT_REQUIRED {
        let header = response.headers().get(http::PAYMENT_REQUIRED).filter(|_| refused);
        let challenge = header.map(|header| of_header(header, None));
        return Ok(Answer { response, challenge, receipt });
    }
    let (headers, url) = (response.headers().clone(), response.url().clone());
    // With a header, nothing depends on the body, which may never end.
    let mut all = headers.get_all(http::PAYMENT_REQUIRED).iter();
    let header = all.next();
    let (body, is_whole) = read_some(response, limits::CHALLENGE_BYTES, header.is_some()).await?;
    let challenge = match (header, all.next()) {
        // Other readers may choose the other one of two headers.
        (Some(_), Some(_)) => {
            Err(challenge_error(http::PAYMENT_REQUIRED, ParseError::DuplicateKey))
        }
        (Some(header), None) => of_header(header, Some(&body)),
        (None, _) if is_whole => {
            let challenge = PaymentRequired::from_json(&body);
            challenge.map_err(|error| challenge_error("body", error))
        }
        (None, _) => Err(challenge_error("body", ParseError::TooLong)),
    };
    let whole = ::http::Response::builder().status(status).url(url).body(body);
    let mut whole = whole.map_err(|_| HttpError::Setup)?;
    *whole.headers_mut() = headers;
    Ok(Answer { response: whole.into(), challenge: Some(challenge), receipt })
}

/// Reads the challenge in a header, which has precedence over the body.
fn of_header(header: &HeaderValue, body: Option<&[u8]>) -> Result<PaymentRequired, ChallengeError> {
    PaymentRequired::from_header(header.as_bytes()).map_err(|error| ChallengeError {
        body_is_good: body.is_some_and(|body| PaymentRequired::from_json(body).is_ok()),
        ..challenge_error(http::PAYMENT_REQUIRED, error)
    })
}

fn challenge_error(part: &'static str, error: impl Into<ReadError>) -> ChallengeError {
    ChallengeError { part, error: error.into(), body_is_good: false }
}

fn receipt(headers: &HeaderMap) -> Option<SettleResponse> {
    let header = [Version::V2, Version::V1].iter().find_map(|v| headers.get(v.receipt_header()))?;
    SettleResponse::from_header(header.as_bytes()).ok()
}

/// Reads the whole body.
///
/// # Errors
/// [`HttpError::TooLong`] above `most` bytes, or [`HttpError::Io`].
pub(crate) async fn read_body(mut response: Response, most: usize) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(HttpError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads up to `most` bytes of a body, and returns whether that is all of it. With `is_beside`, a part of the
/// body is enough, because nothing depends on it.
async fn read_some(
    mut response: Response,
    most: usize,
    is_beside: bool,
) -> Result<(Vec<u8>, bool), HttpError> {
    let mut body = Vec::new();
    loop {
        let next = response.chunk();
        let chunk = match tokio::time::timeout(BESIDE_TIME, next).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => return Ok((body, true)),
            Ok(Err(_)) | Err(_) if is_beside => return Ok((body, false)),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => continue,
        };
        if body.len() + chunk.len() > most {
            body.extend_from_slice(&chunk[..most - body.len()]);
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
}

/// Longest wait for the next part of a body on which nothing depends.
const BESIDE_TIME: Duration = Duration::from_secs(5);

/// Returns the host in the form of budgets and allow-lists. It is empty for a URL without a host.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    match url.port() {
        None | Some(80 | 443) => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    }
}

fn subject(request: &Request) -> Subject {
    let url = request.url();
    let host = host_of(url);
    let method = request.method().as_str();
    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
    let hash = |part: &[u8]| keccak256(&[part]);
    Subject {
        what: format!("{method} {}://{host}{}", url.scheme(), url.path()),
        host,
        digest: keccak256(&[
            domain::REQUEST,
            &hash(method.as_bytes()),
            &hash(url.as_str().as_bytes()),
            &hash(body),
        ]),
    }
}

impl Transport for HttpTransport {
    type Request = Request;
    type Response = Response;
    type Error = HttpError;

    fn subject(&self, request: &Request) -> Subject {
        subject(request)
    }

    async fn exchange(
        &self,
        request: &Request,
        payment: Option<&PaymentText>,
    ) -> Result<Answer<Response>, HttpError> {
        self.send(request, payment).await
    }

    fn may_pay(&self, request: &Request) -> Result<(), HttpError> {
        let url = request.url();
        let is_allowed = || url.scheme() == "http" && self.plain.contains(&host_of(url));
        if is_private(url) || is_allowed() { Ok(()) } else { Err(HttpError::PlainHttp) }
    }

    fn is_delivery(&self, response: &Response) -> bool {
        response.status().is_success()
    }

    async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The error of an HTTP purchase.
pub type Error = BuyError<Response, HttpError>;

/// An HTTP client that pays for its requests, within its buyer's policy. `https` needs the feature `tls`.
/// Over plain `http` it pays this machine, and hosts that its transport
/// [allows](HttpTransport::with_plain_http_hosts).
#[derive(Debug)]
pub struct Client<W, C = SystemClock, B = MemoryBudget> {
    buyer: Buyer<W, C, B>,
    transport: HttpTransport,
}

impl<W: PaymentSigner, C: Clock, B: Budget> Client<W, C, B> {
    /// Makes a client for a buyer, with a transport of its own.
    ///
    /// # Errors
    /// [`HttpError::Setup`].
    pub fn new(buyer: Buyer<W, C, B>) -> Result<Self, HttpError> {
        Ok(Self::with_parts(buyer, HttpTransport::new()?))
    }

    /// Makes a client from a buyer and a transport.
    pub const fn with_parts(buyer: Buyer<W, C, B>, transport: HttpTransport) -> Self {
        Self { buyer, transport }
    }

    /// The buyer.
    pub const fn buyer(&self) -> &Buyer<W, C, B> {
        &self.buyer
    }

    /// The transport.
    pub const fn transport(&self) -> &HttpTransport {
        &self.transport
    }

    /// Gets a URL, and pays if the seller asks for it.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn get(&self, url: &str) -> Result<Paid<Response>, Error> {
        let url = Url::parse(url).map_err(|_| BuyError::Transport(HttpError::Setup))?;
        self.execute(&Request::new(Method::GET, url)).await
    }

    /// Sends a request, whose body must not be a stream, and pays if the seller asks for it.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn execute(&self, request: &Request) -> Result<Paid<Response>, Error> {
        self.buyer.buy(&self.transport, request).await
    }

    /// As [`Client::execute`], with options.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn buy_with(
        &self,
        request: &Request,
        options: &PurchaseOptions<'_>,
    ) -> Result<Paid<Response>, Error> {
        self.buyer.buy_with(&self.transport, request, options).await
    }
}
