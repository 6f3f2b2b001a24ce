use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder};
use url::Url;
use x402_core::{ParseError, limits};

use super::{CallerId, Facilitator, FacilitatorError, IDEMPOTENCY_KEY, Settlement, words};
use crate::buyer::client::{HttpError, is_private, read_body};
use crate::message::{ReadError, SettleResponse, SupportedResponse, VerifyRequest, VerifyResponse};
use crate::scheme::{Exact, ExactOnEvm, ExactOnSvm, SharedScheme};

/// Longest wait for an answer, as in the official SDKs.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A facilitator over HTTP.
///
/// The facilitator is trusted to report whether money moved, so it is reached over TLS or on this machine
/// only. No other server can answer for it: redirects and the environment's proxies are ignored. Answers are
/// bounded in size and time.
#[derive(Clone)]
pub struct RemoteFacilitator<X = Exact> {
    http: reqwest::Client,
    base: Url,
    authorize: Option<Arc<Authorize>>,
    scheme: X,
}

/// A function that makes the `Authorization` of a request.
type Authorize = dyn Fn(&Method, &Url) -> Option<String> + Send + Sync;

/// The reason for which a URL cannot be a facilitator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FacilitatorUrlError {
    /// Not an absolute URL, or one with a query or fragment.
    NotAbsolute,
    /// Neither `https` nor `http` to this machine.
    NotSecure,
    /// The HTTP client could not be set up.
    Client,
}

impl fmt::Display for FacilitatorUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "facilitator URL is not absolute",
            Self::NotSecure => "facilitator URL is neither https nor loopback",
            Self::Client => "HTTP client could not be set up",
        })
    }
}

impl std::error::Error for FacilitatorUrlError {}

impl RemoteFacilitator {
    /// Returns the facilitator at `url`, to which paths such as `/verify` are appended. `https` needs the
    /// feature `tls`: without it, every request ends in [`FacilitatorError::Unreachable`].
    ///
    /// # Errors
    /// [`FacilitatorUrlError`].
    pub fn new(url: &str) -> Result<Self, FacilitatorUrlError> {
        let mut base = Url::parse(url).map_err(|_| FacilitatorUrlError::NotAbsolute)?;
        if base.query().is_some() || base.fragment().is_some() || base.cannot_be_a_base() {
            return Err(FacilitatorUrlError::NotAbsolute);
        }
        if !is_private(&base) {
            return Err(FacilitatorUrlError::NotSecure);
        }
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|_| FacilitatorUrlError::Client)?;
        Ok(Self { http, base, authorize: None, scheme: Exact::default() })
    }

    /// Sets other rules for payments on EVM networks. Payments that only these rules accept are proven by the
    /// facilitator alone, before anything is served.
    pub fn with_evm(mut self, evm: ExactOnEvm) -> Self {
        self.scheme.0 = evm;
        self
    }

    /// Sets other rules for payments on Solana.
    pub fn with_svm(mut self, svm: ExactOnSvm) -> Self {
        self.scheme.1 = svm;
        self
    }
}

impl<X> RemoteFacilitator<X> {
    /// Replaces the scheme, or pair of schemes, by which its sellers check payments.
    pub fn with_scheme<Y>(self, scheme: Y) -> RemoteFacilitator<Y> {
        let Self { http, base, authorize, .. } = self;
        RemoteFacilitator { http, base, authorize, scheme }
    }

    /// Sends `value` as `Authorization` with every request.
    pub fn with_authorization(self, value: impl Into<String>) -> Self {
        let value = value.into();
        self.with_authorizer(move |_, _| Some(value.clone()))
    }

    /// Makes the `Authorization` of each request from its method and URL, for facilitators that want a token
    /// signed for it. `None` sends none.
    ///
    /// ```
    /// # use x402_std::facilitator::RemoteFacilitator;
    /// # fn signed(method: &str, host: &str, path: &str) -> Option<String> { None }
    /// let facilitator = RemoteFacilitator::new("https://facilitator.example.com")?;
    /// let facilitator = facilitator.with_authorizer(|method, url| {
    ///     let token = signed(method.as_str(), url.host_str()?, url.path())?;
    ///     Some(format!("Bearer {token}"))
    /// });
    /// # Ok::<(), x402_std::facilitator::FacilitatorUrlError>(())
    /// ```
    pub fn with_authorizer(
        mut self,
        authorize: impl Fn(&Method, &Url) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.authorize = Some(Arc::new(authorize));
        self
    }

    /// Sends a bearer token with every request (RFC 6750). It is kept out of logs and `Debug`.
    pub fn with_bearer(self, token: impl fmt::Display) -> Self {
        self.with_authorization(format!("Bearer {token}"))
    }

    fn question(&self, method: Method, path: &str, body: Option<String>) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        let authorization = self.authorize.as_ref().and_then(|it| it(&method, &url));
        let mut request = self.http.request(method, url);
        if let Some(authorization) = authorization {
            request = match HeaderValue::try_from(authorization) {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    request.header(AUTHORIZATION, value)
                }
                // This is not a header: the request fails, and the error leaves the value out.
                Err(_) => request.header(AUTHORIZATION, "\n"),
            };
        }
        match body {
            Some(body) => request.header("content-type", "application/json").body(body),
            None => request,
        }
    }

    fn request(request: &VerifyRequest) -> Result<Option<String>, FacilitatorError> {
        // This fails only for a v1 offer on a network without a v1 name.
        let json = request.to_json();
        json.map(Some).map_err(|_| FacilitatorError::BadAnswer(ParseError::InvalidNetwork))
    }
}

impl<X> fmt::Debug for RemoteFacilitator<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteFacilitator")
            .field("host", &self.base.host_str())
            .finish_non_exhaustive()
    }
}

impl<X: SharedScheme> Facilitator for RemoteFacilitator<X> {
    type Scheme = X;

    fn scheme(&self) -> &X {
        &self.scheme
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<VerifyResponse, FacilitatorError> {
        let body = Self::request(request)?;
        let question = self.question(Method::POST, "verify", body);
        answer(question, limits::MESSAGE_BYTES, VerifyResponse::from_json, |it| !it.is_valid).await
    }

    async fn settle(&self, request: &VerifyRequest) -> Result<SettleResponse, FacilitatorError> {
        Ok(self.settle_for(request, CallerId::ANYBODY).await?.answer)
    }

    async fn settle_for(
        &self,
        request: &VerifyRequest,
        caller: CallerId,
    ) -> Result<Settlement, FacilitatorError> {
        let body = Self::request(request)?;
        let mut question = self.question(Method::POST, "settle", body);
        if caller != CallerId::ANYBODY {
            question = question.header(IDEMPOTENCY_KEY, hex::encode(caller.0));
        }
        let read = SettleResponse::from_json;
        let answer = answer(question, limits::MESSAGE_BYTES, read, |it| !it.success).await?;
        Ok(Settlement { id: None, answer })
    }

    async fn supported(&self) -> Result<SupportedResponse, FacilitatorError> {
        let question = self.question(Method::GET, "supported", None);
        answer(question, limits::SUPPORTED_BYTES, SupportedResponse::from_json, |_| false).await
    }
}

async fn answer<T>(
    question: RequestBuilder,
    most: usize,
    read: impl Fn(&[u8]) -> Result<T, ReadError>,
    is_refusal: impl Fn(&T) -> bool,
) -> Result<T, FacilitatorError> {
    let response = question.send().await.map_err(failure)?;
    let status = response.status();
    let body = read_body(response, most).await.map_err(|error| match error {
        HttpError::Io(error) => failure(error),
        _ => FacilitatorError::BadAnswer(ParseError::TooLong),
    })?;
    match read(&body) {
        // Some facilitators refuse with another status and the usual answer; success always has a success
        // status.
        Ok(answer) if status.is_success() || is_refusal(&answer) => Ok(answer),
        Err(error) if status.is_success() => {
            tracing::warn!(%error, "the facilitator's answer cannot be read");
            Err(FacilitatorError::BadAnswer(error.error))
        }
        _ => {
            let hint = match status.as_u16() {
                401 | 403 => "; check the credential for the facilitator",
                404 | 405 => "; check the facilitator's URL",
                429 => "; it is asked too often",
                _ => "",
            };
            let (status, says) = (status.as_u16(), words(&String::from_utf8_lossy(&body)));
            tracing::warn!(status, says, "the facilitator refused to answer{hint}");
            Err(FacilitatorError::Status(status))
        }
    }
}

fn failure(error: reqwest::Error) -> FacilitatorError {
    if error.is_timeout() { FacilitatorError::TimedOut } else { FacilitatorError::Unreachable }
}
