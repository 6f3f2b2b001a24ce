use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use x402_core::claim::{ClaimKey, ClaimState};
use x402_core::crypto::keccak256;
use x402_core::domain;
use x402_core::{EncodeError, Reason, limits};

use super::callers::Callers;
use super::in_flight::{InFlight, One};
use super::{CallerId, Facilitator, FacilitatorError, IDEMPOTENCY_KEY};
use crate::message::{ReadError, SettleResponse, VerifyRequest, VerifyResponse};

/// Longest accepted idempotency key, in bytes.
const KEY_BYTES: usize = 256;

/// Returns the routes of a facilitator: `POST /verify`, `POST /settle`, `GET /supported` and
/// `GET /settlements/{id}`, within the default [`ServiceLimits`].
pub fn router<F: Facilitator + 'static>(facilitator: F) -> Router {
    Service::new(facilitator).router()
}

/// A facilitator over HTTP.
///
/// A refusal is answered with 200 and the reason in the answer, as the official SDKs expect. An unreadable
/// request is answered with 400 and the same shape. `busy` (above the limits, or above the capacity of an
/// account or a store) is answered with 503. A fault, of a node for example, is answered with 502.
///
/// Before it is read, a request is answered 415 if its body is not `application/json`, and 403 if a page of
/// another origin sent it. [`with_callers`](Self::with_callers) sets who may ask.
///
/// An answer to `/settle` has a `Content-Location`, `settlements/{id}` beside its own path, under which the
/// settlement can be looked up later: `{"id","state","transaction","errorReason"}`, where `state` is
/// `claimed`, `broadcast`, `settled` or `failed`. A caller may send an `Idempotency-Key`, a secret of its
/// own, with `/settle`. If it asks again with the same key, it gets the success again; see
/// [`Facilitator::settle_for`].
#[derive(Debug)]
pub struct Service<F> {
    facilitator: Arc<F>,
    limits: ServiceLimits,
    at_once: Arc<Semaphore>,
    addresses: InFlight<IpAddr>,
    callers: Arc<Callers>,
}

/// Limits of a service. Requests above them are refused as `busy`, before any work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Requests at once.
    pub at_once: u32,
    /// Requests at once from one address. Addresses are known only with axum's
    /// `into_make_service_with_connect_info`. Behind a proxy, all are the proxy's.
    pub per_address: usize,
    /// Time in which a request must arrive.
    pub arrival: Duration,
}

impl Default for ServiceLimits {
    /// Returns the default limits: 1024 at once, 256 from one address, ten seconds.
    fn default() -> Self {
        Self { at_once: 1024, per_address: 256, arrival: Duration::from_secs(10) }
    }
}

impl<F> Clone for Service<F> {
    fn clone(&self) -> Self {
        let (facilitator, at_once) = (Arc::clone(&self.facilitator), Arc::clone(&self.at_once));
        let (addresses, callers) = (self.addresses.clone(), Arc::clone(&self.callers));
        Self { facilitator, limits: self.limits, at_once, addresses, callers }
    }
}

/// A request within the limits, until it is done.
struct Admitted {
    body: Bytes,
    _place: (OwnedSemaphorePermit, Option<One<IpAddr>>),
}

impl<F: Facilitator + 'static> Service<F> {
    /// Returns a service within the default limits.
    pub fn new(facilitator: F) -> Self {
        Self::with_limits(facilitator, ServiceLimits::default())
    }

    /// Returns a service within the given limits.
    pub fn with_limits(facilitator: F, limits: ServiceLimits) -> Self {
        let at_once = Arc::new(Semaphore::new(limits.at_once as usize));
        let addresses = InFlight::new(limits.per_address);
        let (facilitator, callers) = (Arc::new(facilitator), Arc::default());
        Self { facilitator, limits, at_once, addresses, callers }
    }

    /// Sets the admitted callers: by default everybody, under any name.
    pub fn with_callers(self, callers: Callers) -> Self {
        Self { callers: Arc::new(callers), ..self }
    }

    /// Returns the facilitator.
    pub fn facilitator(&self) -> &F {
        &self.facilitator
    }

    /// Returns the service's routes.
    pub fn router(&self) -> Router {
        let callers = Arc::clone(&self.callers);
        let known = from_fn(move |request: Request, next: Next| {
            let refused = callers.check_caller(&request);
            answer_or(refused, request, next)
        });
        let router = Router::new()
            .route("/verify", post(verify::<F>))
            .route("/settle", post(settle::<F>))
            .route("/settlements/{id}", get(settlement::<F>))
            .route_layer(known)
            .route("/supported", get(supported::<F>))
            .with_state(self.clone());
        self.guarded(router)
    }

    /// Guards routes beside the service's own, such as those of probes. They need the same names and refuse
    /// pages of other origins, but need no token.
    pub fn guarded(&self, router: Router) -> Router {
        let callers = Arc::clone(&self.callers);
        router.layer(from_fn(move |request: Request, next: Next| {
            let refused = callers.check_way(&request);
            answer_or(refused, request, next)
        }))
    }

    /// Waits until all work that was begun is done, also for callers that hung up. From then on no new work
    /// is begun.
    pub async fn finish(&self) {
        // The semaphore is still open here.
        self.at_once.acquire_many(self.limits.at_once).await.map(|all| all.forget()).ok();
    }

    /// Admits a request, and reads it.
    async fn admit(&self, request: Request) -> Result<Admitted, Refused> {
        let place = Arc::clone(&self.at_once).try_acquire_owned();
        let place = place.map_err(|_| busy("the facilitator has too many requests in work"))?;
        let address = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let one = match address {
            Some(address) => {
                let one = self.addresses.enter(address.ip());
                Some(one.ok_or_else(|| busy("too many requests of this address are in work"))?)
            }
            None => None,
        };
        let body = to_bytes(request.into_body(), limits::MESSAGE_BYTES);
        let body = timeout(self.limits.arrival, body).await;
        let body = body.map_err(|_| unarrived("the request took too long to arrive"))?;
        let body = body.map_err(|_| unarrived("the request is too long, or broke off"))?;
        Ok(Admitted { body, _place: (place, one) })
    }
}

async fn answer_or(refused: Option<Response>, request: Request, next: Next) -> Response {
    match refused {
        Some(response) => response,
        None => next.run(request).await,
    }
}

/// The reason for which a request does not reach the facilitator, with an explanation.
type Refused = (StatusCode, Reason, Option<String>);

fn busy(cause: &str) -> Refused {
    tracing::warn!("busy: {cause}");
    (status(Reason::Busy), Reason::Busy, Some(cause.into()))
}

fn unarrived(cause: &str) -> Refused {
    (status(Reason::InvalidPayload), Reason::InvalidPayload, Some(cause.into()))
}

fn unread(error: ReadError) -> Refused {
    (StatusCode::BAD_REQUEST, error.error.reason(), Some(error.to_string()))
}

/// Returns the status of an answer: 200 for a refusal, unless the payment is not at fault.
fn answer_status(reason: Option<&str>) -> StatusCode {
    match reason.and_then(Reason::parse) {
        Some(reason) if reason.status() >= 500 => status(reason),
        _ => StatusCode::OK,
    }
}

fn status(reason: Reason) -> StatusCode {
    StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::BAD_GATEWAY)
}

async fn verify<F: Facilitator + 'static>(
    State(service): State<Service<F>>,
    request: Request,
) -> Response {
    let refusal = match service.admit(request).await {
        Err(refused) => refused,
        Ok(admitted) => match VerifyRequest::from_json(&admitted.body) {
            Err(error) => unread(error),
            Ok(request) => match service.facilitator.verify(&request).await {
                Ok(answer) => {
                    let status = answer_status(answer.invalid_reason.as_deref());
                    return json_text(status, answer.to_json());
                }
                Err(error) => (StatusCode::BAD_GATEWAY, error.reason(), None),
            },
        },
    };
    let (status, reason, invalid_message) = refusal;
    let invalid_reason = Some(reason.to_string());
    let answer = VerifyResponse { invalid_reason, invalid_message, ..VerifyResponse::default() };
    json_text(status, answer.to_json())
}

async fn settle<F: Facilitator + 'static>(
    State(service): State<Service<F>>,
    request: Request,
) -> Response {
    let caller = caller(request.headers());
    let refusal = match service.admit(request).await {
        Err(refused) => refused,
        Ok(admitted) => match VerifyRequest::from_json(&admitted.body) {
            Err(error) => unread(error),
            Ok(request) => match settle_to_the_end(service, request, caller, admitted).await {
                Ok(response) => return response,
                Err(error) => (StatusCode::BAD_GATEWAY, error.reason(), Some(error.to_string())),
            },
        },
    };
    let (status, reason, error_message) = refusal;
    let error_reason = Some(reason.to_string());
    let answer = SettleResponse { error_reason, error_message, ..SettleResponse::default() };
    json_text(status, answer.to_json())
}

/// Settles to the end: a caller that hangs up must not leave a settlement half recorded.
async fn settle_to_the_end<F: Facilitator + 'static>(
    service: Service<F>,
    request: VerifyRequest,
    caller: CallerId,
    admitted: Admitted,
) -> Result<Response, FacilitatorError> {
    let settling = tokio::spawn(async move {
        let settlement = service.facilitator.settle_for(&request, caller).await;
        drop(admitted);
        settlement
    });
    let settlement = settling.await.unwrap_or(Err(FacilitatorError::Unreachable))?;
    let answer = settlement.answer;
    let status = answer_status(answer.error_reason.as_deref());
    let mut response = json_text(status, answer.to_json());
    let location = settlement.id.map(|id| format!("settlements/{id:?}"));
    if let Some(location) = location.and_then(|location| location.parse().ok()) {
        response.headers_mut().insert(header::CONTENT_LOCATION, location);
    }
    Ok(response)
}

/// Returns the caller that asks for a settlement.
fn caller(headers: &HeaderMap) -> CallerId {
    let key = headers.get(IDEMPOTENCY_KEY).map(|key| key.as_bytes());
    let key = key.filter(|key| !key.is_empty() && key.len() <= KEY_BYTES);
    key.map_or(CallerId::ANYBODY, |key| CallerId(keccak256(&[domain::IDEMPOTENCY_KEY, key])))
}

async fn supported<F: Facilitator + 'static>(State(service): State<Service<F>>) -> Response {
    match service.facilitator.supported().await {
        Ok(answer) => json_text(StatusCode::OK, answer.to_json()),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn settlement<F: Facilitator + 'static>(
    State(service): State<Service<F>>,
    Path(id): Path<String>,
) -> Response {
    let mut key = [0; 32];
    if hex::decode_to_slice(&id, &mut key).is_err() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let key = ClaimKey::new(key);
    let (state, transaction, reason) = match service.facilitator.settlement(key).await {
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Ok(Some(ClaimState::Claimed)) => ("claimed", None, None),
        Ok(Some(ClaimState::Broadcast(transaction))) => ("broadcast", Some(transaction), None),
        Ok(Some(ClaimState::Settled(transaction) | ClaimState::Delivered(transaction))) => {
            ("settled", Some(transaction), None)
        }
        Ok(Some(ClaimState::Failed(reason))) => ("failed", None, Some(reason.as_str())),
        Err(error) => return (status(error.reason()), error.to_string()).into_response(),
    };
    let transaction = transaction.as_ref().map(|transaction| transaction.as_str());
    let id = format!("{key:?}");
    let body =
        json!({ "id": id, "state": state, "transaction": transaction, "errorReason": reason });
    json_text(StatusCode::OK, Ok(body.to_string()))
}

fn json_text(status: StatusCode, body: Result<String, EncodeError>) -> Response {
    let Ok(body) = body else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    (status, [(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response()
}
