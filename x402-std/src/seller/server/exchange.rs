//! One request: the price, the payment, the work and the answer.

use std::error::Error;
use std::marker::PhantomData;
use std::sync::Arc;

use ::http::header::CONTENT_TYPE;
use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body::Body;
use http_body_util::Either;
use tower::Service;
use x402_core::{Version, http};

use super::headers::{
    empty, give_receipt, grant, is_error, is_preflight, keep_private, payment, without_goods,
};
use super::person::{dress, has_payment, hide, is_person, keep, key_of, presented, token};
use super::{ConnectionEnd, OwnBody, PaidAnswer, PaymentBody, Shared};
use crate::clock::Clock;
use crate::extension::PaidRequest;
use crate::facilitator::Facilitator;
use crate::message::{ReadError, SettleResponse};
use crate::page::{Refused, Visit};
use crate::seller::answers::KEPT;
use crate::seller::driver::{Delivery, Job, Served, Worked};
use crate::seller::{AcceptedPayment, Refusal, RequestDigest};
use crate::store::ClaimStore;

/// One request.
pub(super) struct Exchange<I, F, S, C> {
    pub(super) inner: I,
    pub(super) shared: Arc<Shared<F, S, C>>,
}

impl<I, F, S, C> Exchange<I, F, S, C>
where
    F: Facilitator + 'static,
    S: ClaimStore + 'static,
    C: Clock + 'static,
{
    pub(super) async fn serve<Q, B>(
        self,
        request: Request<Q>,
    ) -> Result<Response<PaymentBody<B>>, I::Error>
    where
        I: Service<Request<Q>, Response = Response<B>> + Send,
        I::Future: Send,
        I::Error: Send,
        Q: Body<Data = Bytes> + From<Bytes> + Send,
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if is_preflight(request.method(), request.headers()) {
            return Ok(empty(StatusCode::NO_CONTENT));
        }
        let (mut parts, body) = request.into_parts();
        let cached = match self.shared.cached(&parts).await {
            Ok(Some(cached)) => cached,
            Ok(None) => {
                if self.shared.page.is_some() {
                    hide(&mut parts.headers);
                }
                let request = Request::from_parts(parts, body);
                return Ok({ self.inner }.call(request).await?.map(Either::Right));
            }
            Err(status) => return Ok(empty(status)),
        };
        // `HEAD` gets the answer of an unpaid `GET`: the challenge.
        if parts.method == Method::HEAD {
            return Ok(self.shared.challenge(&cached));
        }
        let payment = match payment(&parts.headers) {
            Ok(payment) => payment,
            Err(error) => {
                let refusal = ReadError::from(error).into();
                return Ok(self.shared.refuse(&cached.offers, Version::V2, refusal));
            }
        };
        let value = |name: &str| parts.headers.get(name)?.to_str().ok();
        let headers = self.shared.seller.headers();
        let headers = headers.filter_map(|name| Some((name.to_owned(), value(name)?.to_owned())));
        let headers: Vec<_> = headers.collect();
        let page = self.shared.page.as_deref();
        let person = page.filter(|_| is_person(&parts.headers));
        let shown_token = token(&parts.headers);
        let page = page
            .filter(|_| person.is_some() || has_payment(&parts.headers) || shown_token.is_some());
        if payment.is_none() && headers.is_empty() && page.is_none() {
            return Ok(self.shared.challenge(&cached));
        }
        // The whole body comes first: a body that fails to arrive costs the buyer nothing.
        let (body, _room, too_long) = match self.shared.read(body).await {
            Ok((body, room)) => (body, room, false),
            Err(StatusCode::PAYLOAD_TOO_LARGE)
                if payment.is_none() && headers.is_empty() && page.is_some() =>
            {
                (Bytes::new(), None, true)
            }
            Err(status) => return Ok(empty(status)),
        };
        let url = self.shared.url(&parts);
        let digest =
            RequestDigest::from_parts(&[parts.method.as_str().as_bytes(), url.as_bytes(), &body]);
        let key = key_of(&digest);
        let by_page = match page {
            Some(_) if !too_long => presented(&parts.headers, &key),
            _ => Ok(None),
        };
        // By header or by cookie, the answer is for the token's owner.
        let token = match (page, &payment, &by_page) {
            (Some(_), Some(_), _) => shown_token,
            (_, None, Ok(Some((token, _)))) => Some(token.as_str()),
            _ => None,
        };
        let again = token.is_some();
        let digest = match token {
            Some(token) => RequestDigest::from_parts(&[&digest.0, token.as_bytes()]),
            None => digest,
        };
        let (method, now) = (parts.method.clone(), self.shared.seller.clock.now());
        let content_type = parts.headers.get(CONTENT_TYPE).cloned();
        let asked_body = body.clone();
        // A person gets the page in place of JSON.
        let shown = |response, refused: Option<&Refused>| match person {
            Some(page) => {
                let visit = Visit {
                    url: &cached.offers.resource.url,
                    method: method.as_str(),
                    body: &asked_body,
                    too_long,
                    content_type: content_type.as_ref().and_then(|value| value.to_str().ok()),
                    key: &key,
                    now,
                    kept: KEPT.as_secs(),
                };
                dress(page, &cached.offers, &visit, refused, response)
            }
            None => response,
        };
        let payment = match (payment, by_page) {
            (Some(payment), _) => Some(payment),
            (None, Ok(presented)) => presented.map(|(_, payment)| payment),
            (None, Err(error)) => {
                let refusal = Refusal::from(ReadError::from(error));
                let noted = Refused::from(&refusal);
                let refused = self.shared.refuse(&cached.offers, Version::V2, refusal);
                return Ok(shown(refused, Some(&noted)));
            }
        };
        if payment.is_none() && headers.is_empty() {
            return Ok(shown(self.shared.challenge(&cached), None));
        }
        hide(&mut parts.headers);
        let version = payment.as_ref().map_or(Version::V2, |(version, _)| *version);
        let end = parts.extensions.get::<ConnectionEnd>().cloned();
        let offers = Arc::clone(&cached.offers);
        let asked = PaidRequest { offers, payment, digest, again, headers };
        let shared = Arc::clone(&self.shared);
        let request = Request::from_parts(parts, Q::from(body));
        let call = Call { inner: self.inner, request, shared: &shared, url, body: PhantomData };
        Ok(match shared.driver.serve(&shared.seller, asked, call).await {
            Served::Paid(answer, delivery) => {
                let mut response = answer.respond(Some(delivery), end);
                if again {
                    keep(&mut response);
                }
                response
            }
            Served::Granted(answer) => answer.respond(None, None),
            Served::Passed(passed) => return passed,
            Served::Unpaid => shown(shared.challenge(&cached), None),
            Served::Refused(refusal) => {
                let noted = Refused::from(&refusal);
                shown(shared.refuse(&cached.offers, version, refusal), Some(&noted))
            }
            served @ (Served::TimedOut(_) | Served::Panicked(_)) => {
                let (status, receipt) = match served {
                    Served::TimedOut(receipt) => (StatusCode::GATEWAY_TIMEOUT, receipt),
                    Served::Panicked(receipt) => (StatusCode::INTERNAL_SERVER_ERROR, receipt),
                    _ => (StatusCode::INTERNAL_SERVER_ERROR, None),
                };
                let mut response = empty(status);
                if let Some(receipt) = &receipt {
                    give_receipt(response.headers_mut(), version, receipt);
                }
                response
            }
        })
    }
}

/// The inner service's work for one request.
pub(super) struct Call<'s, I, F, S, C, Q, B> {
    pub(super) inner: I,
    pub(super) request: Request<Q>,
    pub(super) shared: &'s Shared<F, S, C>,
    pub(super) url: String,
    pub(super) body: PhantomData<fn() -> B>,
}

impl<I, F, S, C, Q, B> Job for Call<'_, I, F, S, C, Q, B>
where
    I: Service<Request<Q>, Response = Response<B>> + Send,
    I::Future: Send,
    I::Error: Send,
    F: Send + Sync,
    S: Send + Sync,
    C: Send + Sync,
    Q: Send,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Answer = PaidAnswer;
    type Passed = Result<Response<PaymentBody<B>>, I::Error>;

    async fn work(
        mut self,
        payment: Option<AcceptedPayment>,
        paid: bool,
    ) -> Worked<PaidAnswer, Self::Passed> {
        let granted = payment.is_none();
        if let Some(payment) = payment {
            self.request.extensions_mut().insert(payment);
        }
        let response = match self.inner.call(self.request).await {
            Ok(response) => response,
            Err(error) => return Worked::NotCharged(Err(error)),
        };
        if paid {
            let is_good = !is_error(response.status());
            let mut response = response.map(Either::Right);
            // An answer opened for this request must not reach others from a cache.
            if granted {
                grant(response.headers_mut());
            }
            let passed = Ok(response);
            return if is_good { Worked::Streamed(passed) } else { Worked::NotCharged(passed) };
        }
        if !self.shared.is_charged(&response, &self.url) {
            let mut response = match is_error(response.status()) {
                true => response.map(Either::Right),
                false => without_goods(response),
            };
            // The next request may get another answer, or the challenge.
            keep_private(response.headers_mut(), http::CACHE_CHALLENGE);
            return Worked::NotCharged(Ok(response));
        }
        match self.shared.withhold(response).await {
            Ok((parts, body)) => {
                let bytes = body.len();
                Worked::Goods(PaidAnswer { parts, body }, bytes)
            }
            Err(response) => Worked::NotCharged(Ok(response)),
        }
    }

    fn with_receipt(
        mut answer: PaidAnswer,
        version: Version,
        receipt: &SettleResponse,
    ) -> PaidAnswer {
        give_receipt(&mut answer.parts.headers, version, receipt);
        answer
    }

    fn passed_with_receipt(
        mut passed: Self::Passed,
        version: Version,
        receipt: &SettleResponse,
    ) -> Self::Passed {
        if let Ok(response) = &mut passed {
            give_receipt(response.headers_mut(), version, receipt);
        }
        passed
    }
}

impl PaidAnswer {
    pub(super) fn respond<B>(
        self,
        delivery: Option<Delivery<PaidAnswer>>,
        end: Option<ConnectionEnd>,
    ) -> Response<PaymentBody<B>> {
        let Self { parts, body } = self;
        let body = OwnBody { left: body, begun: false, delivery, noting: None, end };
        Response::from_parts(parts, Either::Left(body))
    }
}
