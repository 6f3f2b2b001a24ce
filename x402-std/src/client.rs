//! An HTTP client that pays.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use x402_std::buyer::Buyer;
//! use x402_std::client::Client;
//! use x402_std::core::crypto::secp256k1::LocalKey;
//! use x402_std::wallet::EvmWallet;
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
use url::Host;
use x402_core::crypto::keccak256;
use x402_core::{ParseError, Version, http, limits};

use crate::budget::{Budget, HostError, MemoryBudget, host};
use crate::buyer::{Bought, BuyError, Buyer, Order};
use crate::clock::{Clock, SystemClock};
use crate::message::{PaymentRequired, ReadError, SettleResponse, encode_header};
use crate::transport::{Answer, ChallengeError, PaymentText, Subject, Transport};
use crate::wallet::Signs;

/// HTTP through reqwest.
///
/// Redirects are answers, not directions, before a payment and after: a payment goes to the URL
/// that was asked and to no other.
///
/// Over plain http, whoever is on the way can read a payment, take it, or change who is paid: none is sent
/// there but to this machine, unless [told](Self::with_plain_http_hosts). This machine is asked without a
/// proxy.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    http: reqwest::Client,
    /// For this machine: without a proxy.
    direct: reqwest::Client,
    /// Hosts that may be paid over plain http.
    plain: Arc<[String]>,
}

/// Why there is no answer over HTTP.
#[derive(Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// The URL does not parse, or reqwest could not be set up.
    Setup,
    /// The request's body is a stream, which cannot be sent a second time with the payment.
    NotRepeatable,
    /// The request carries a payment header of its own.
    AlreadyPaid,
    /// The URL is neither https nor this machine's: no payment is sent there.
    PlainHttp,
    /// The challenge is longer than [`limits::MESSAGE_BYTES`].
    TooLong,
    /// Connecting, sending or receiving failed. The URL is left out of the message.
    Io(reqwest::Error),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup => f.write_str("not a valid HTTP request"),
            Self::NotRepeatable => f.write_str("request body cannot be sent twice"),
            Self::AlreadyPaid => f.write_str("request carries a payment already"),
            Self::PlainHttp => f.write_str(
                "no payment goes over plain http, where others can take it: use https, or allow plain \
                 http for this host",
            ),
            Self::TooLong => f.write_str("402 answer too long"),
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
    /// How long an answer may take unless configured otherwise, which leaves room for a settlement.
    pub const TIMEOUT: Duration = Duration::from_secs(100);

    /// With reqwest's defaults, those of the environment's proxies too, and a time limit of [`Self::TIMEOUT`] an
    /// answer.
    ///
    /// # Errors
    /// [`HttpError::Setup`].
    pub fn new() -> Result<Self, HttpError> {
        Self::configured(|builder| builder.timeout(Self::TIMEOUT))
    }

    /// With reqwest configured by the caller; its redirect policy is set here, and it has no proxy for
    /// this machine. `configure` is called twice.
    ///
    /// # Errors
    /// [`HttpError::Setup`].
    pub fn configured(
        configure: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, HttpError> {
        let builder = || configure(reqwest::Client::builder()).redirect(Redirects::none());
        let built = |builder: reqwest::ClientBuilder| builder.build().map_err(|_| HttpError::Setup);
        let (http, direct) = (built(builder())?, built(builder().no_proxy())?);
        Ok(Self { http, direct, plain: Arc::default() })
    }

    /// Pays these hosts over plain http too, each with its port unless that is 80: for a network whose
    /// every member is trusted.
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
        let Some(payment) = payment else {
            return answer(self.client(request.url()).execute(request).await?, false).await;
        };
        self.may_pay(&request)?;
        let header = encode_header(payment.json.as_bytes());
        let mut header = HeaderValue::from_str(&header).map_err(|_| HttpError::Setup)?;
        header.set_sensitive(true);
        request.headers_mut().insert(payment.version.payment_header(), header);
        answer(self.client(request.url()).execute(request).await?, true).await
    }
}

/// Reads challenge and receipt out of a response, which is whole again afterwards, unless the body is longer
/// than a challenge may be.
///
/// A payment can be refused with another status than 402; the challenge then comes in the header.
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
    // With a header, nothing depends on the body, whose end may never come.
    let mut all = headers.get_all(http::PAYMENT_REQUIRED).iter();
    let header = all.next();
    let (body, is_whole) = read_some(response, limits::CHALLENGE_BYTES, header.is_some()).await?;
    let challenge = match (header, all.next()) {
        // Of two headers each could be read by somebody else.
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

/// The challenge in a header, which counts whatever the body says.
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

/// The whole body: [`HttpError::TooLong`] above so many bytes.
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

/// A body, as far as `most` bytes go, and whether that is all of it. Of a body that nothing depends on, as
/// much as comes.
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

/// So long the rest of a body is waited for on which nothing depends.
const BESIDE_TIME: Duration = Duration::from_secs(5);

/// Whether what is sent to a URL stays between here and there: TLS, or this machine.
pub fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && is_loopback(url)
}

/// Whether a URL is of this machine by its address, or named `localhost`.
pub fn is_here(url: &Url) -> bool {
    is_loopback(url) || url.host() == Some(Host::Domain("localhost."))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// The host as budgets and allow-lists know it; a URL without one has the empty host.
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
            b"x402 request",
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

/// What an HTTP purchase ends in when it fails.
pub type Error = BuyError<Response, HttpError>;

/// An HTTP client that pays for what it asks, within its buyer's policy. For `https` it takes the
/// feature `tls`; over plain `http` it pays this machine, and whom its transport
/// [may](HttpTransport::with_plain_http_hosts).
#[derive(Debug)]
pub struct Client<W, C = SystemClock, B = MemoryBudget> {
    buyer: Buyer<W, C, B>,
    transport: HttpTransport,
}

impl<W: Signs, C: Clock, B: Budget> Client<W, C, B> {
    /// With a buyer.
    ///
    /// # Errors
    /// [`HttpError::Setup`].
    pub fn new(buyer: Buyer<W, C, B>) -> Result<Self, HttpError> {
        Ok(Self::with(buyer, HttpTransport::new()?))
    }

    /// With a buyer and a transport.
    pub const fn with(buyer: Buyer<W, C, B>, transport: HttpTransport) -> Self {
        Self { buyer, transport }
    }

    /// Who pays, and what for.
    pub const fn buyer(&self) -> &Buyer<W, C, B> {
        &self.buyer
    }

    /// How requests are sent.
    pub const fn transport(&self) -> &HttpTransport {
        &self.transport
    }

    /// Gets a URL, and pays if that is what it takes.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn get(&self, url: &str) -> Result<Bought<Response>, Error> {
        let url = Url::parse(url).map_err(|_| BuyError::Transport(HttpError::Setup))?;
        self.execute(&Request::new(Method::GET, url)).await
    }

    /// Sends a request, whose body must not be a stream, and pays if that is what it takes.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn execute(&self, request: &Request) -> Result<Bought<Response>, Error> {
        self.buyer.buy(&self.transport, request).await
    }

    /// As [`Client::execute`], with more to say.
    ///
    /// # Errors
    /// [`BuyError`].
    pub async fn order(
        &self,
        request: &Request,
        order: &Order<'_>,
    ) -> Result<Bought<Response>, Error> {
        self.buyer.order(&self.transport, request, order).await
    }
}
