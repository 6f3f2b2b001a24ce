//! One request to a node.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{ANSWER_BYTES, RpcError};
use crate::buyer::client::{HttpError, read_body};

#[derive(Serialize)]
pub(super) struct Call<'a> {
    pub(super) jsonrpc: &'a str,
    pub(super) id: u64,
    pub(super) method: &'a str,
    pub(super) params: &'a RawValue,
}

#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) jsonrpc: String,
    pub(super) id: u64,
    // A result may be `null`, which differs from a missing one.
    #[serde(default, deserialize_with = "present")]
    pub(super) result: Option<Box<RawValue>>,
    pub(super) error: Option<Refusal>,
}

#[derive(Deserialize)]
pub(super) struct Refusal {
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
    pub(super) data: Option<Box<RawValue>>,
}

pub(super) fn present<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

pub(super) async fn exchange(
    request: reqwest::RequestBuilder,
    id: u64,
) -> Result<Box<RawValue>, RpcError> {
    let lost = |error: reqwest::Error| {
        if error.is_timeout() { RpcError::TimedOut } else { RpcError::Unreachable }
    };
    let response = request.send().await.map_err(lost)?;
    if !response.status().is_success() {
        return Err(RpcError::Status(response.status().as_u16()));
    }
    let body = read_body(response, ANSWER_BYTES).await.map_err(|error| match error {
        HttpError::Io(error) => lost(error),
        _ => RpcError::BadAnswer,
    })?;
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| RpcError::BadAnswer)?;
    if answer.jsonrpc != "2.0" || answer.id != id {
        return Err(RpcError::BadAnswer);
    }
    match (answer.result, answer.error) {
        (Some(result), None) => Ok(result),
        (None, Some(Refusal { code, message, data })) => {
            Err(RpcError::Refused { code, message, data })
        }
        _ => Err(RpcError::BadAnswer),
    }
}
