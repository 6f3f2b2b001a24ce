use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use x402_core::{EncodeError, ParseError, limits};

use super::{Facilitator, FacilitatorError};
use crate::message::{SettleResponse, VerifyRequest, VerifyResponse};

/// Serves a facilitator: `POST /verify`, `POST /settle`, `GET /supported`.
///
/// A refusal is answered with 200 and the reason in the answer, as the official SDKs expect;
/// what cannot be read with 400 and an answer of the same shape; a fault with 502.
pub fn router<F: Facilitator + 'static>(facilitator: F) -> Router {
    Router::new()
        .route("/verify", post(verify::<F>))
        .route("/settle", post(settle::<F>))
        .route("/supported", get(supported::<F>))
        .layer(DefaultBodyLimit::max(limits::MESSAGE_BYTES))
        .with_state(Arc::new(facilitator))
}

async fn verify<F: Facilitator>(State(facilitator): State<Arc<F>>, body: Bytes) -> Response {
    let request = match VerifyRequest::from_json(&body) {
        Ok(request) => request,
        Err(error) => return json(StatusCode::BAD_REQUEST, invalid(error).to_json()),
    };
    match facilitator.verify(&request).await {
        Ok(answer) => json(StatusCode::OK, answer.to_json()),
        Err(error) => {
            let answer = VerifyResponse {
                invalid_reason: Some(error.reason().to_string()),
                ..VerifyResponse::default()
            };
            json(StatusCode::BAD_GATEWAY, answer.to_json())
        }
    }
}

async fn settle<F: Facilitator + 'static>(
    State(facilitator): State<Arc<F>>,
    body: Bytes,
) -> Response {
    let request = match VerifyRequest::from_json(&body) {
        Ok(request) => request,
        Err(error) => {
            let answer = SettleResponse {
                error_reason: Some(error.reason().to_string()),
                error_message: Some(error.to_string()),
                ..SettleResponse::default()
            };
            return json(StatusCode::BAD_REQUEST, answer.to_json());
        }
    };
    // A caller who hangs up must not leave a settlement half recorded: it runs to its end.
    let settling = tokio::spawn(async move { facilitator.settle(&request).await });
    match settling.await.unwrap_or(Err(FacilitatorError::Unreachable)) {
        Ok(answer) => json(StatusCode::OK, answer.to_json()),
        Err(error) => json(StatusCode::BAD_GATEWAY, no_answer(error).to_json()),
    }
}

async fn supported<F: Facilitator>(State(facilitator): State<Arc<F>>) -> Response {
    match facilitator.supported().await {
        Ok(answer) => json(StatusCode::OK, answer.to_json()),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

fn invalid(error: ParseError) -> VerifyResponse {
    VerifyResponse {
        invalid_reason: Some(error.reason().to_string()),
        invalid_message: Some(error.to_string()),
        ..VerifyResponse::default()
    }
}

/// The money may have moved: whoever asked must ask again.
fn no_answer(error: FacilitatorError) -> SettleResponse {
    SettleResponse {
        error_reason: Some(error.reason().to_string()),
        error_message: Some(error.to_string()),
        ..SettleResponse::default()
    }
}

fn json(status: StatusCode, body: Result<String, EncodeError>) -> Response {
    match body {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
