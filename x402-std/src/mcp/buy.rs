//! The buyer's side.

use std::fmt;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResponse, CallToolResult, RequestParamsMeta};
use rmcp::service::{Peer, RoleClient, ServiceError};
use serde_json::Value;
use x402_core::crypto::keccak256;
use x402_core::domain;
use x402_core::limits;

use super::{PAYMENT, PAYMENT_RESPONSE};
use crate::message::{PaymentRequired, SettleResponse};
use crate::transport::{Answer, ChallengeError, PaymentText, Subject, Transport};

/// Calls of one server's tools, which [`Buyer::buy`](crate::buyer::Buyer::buy) pays for if they ask for
/// payment.
///
/// A result with `isError` and a challenge asks for payment, in version 1 or 2. After a payment it is a
/// refusal. Any other error of the tool is an answer.
#[derive(Clone, Debug)]
pub struct McpTransport {
    peer: Peer<RoleClient>,
    host: String,
    within: Duration,
}

/// Default time limit for an answer: as over HTTP, with room for a settlement.
const WITHIN: Duration = Duration::from_secs(100);

/// Why there is no answer to a call.
#[derive(Debug)]
#[non_exhaustive]
pub enum McpError {
    /// The call carries a payment of its own.
    AlreadyPaid,
    /// The challenge is longer than [`limits::MESSAGE_BYTES`].
    TooLong,
    /// The payment has a number that serde_json cannot carry in JSON-RPC.
    Unsendable,
    /// The tool asks for input before it answers, or answers with a task: not supported here.
    NotComplete,
    /// No answer came in time.
    TimedOut,
    /// The call failed. The error has the server's words in it, which may be anything.
    Service(ServiceError),
}

impl fmt::Display for McpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyPaid => f.write_str("call carries a payment already"),
            Self::TooLong => f.write_str("challenge too long"),
            Self::Unsendable => f.write_str("payment has a number that cannot be sent"),
            Self::NotComplete => f.write_str("the tool asks for input or answers with a task"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Service(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for McpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Service(error) => Some(error),
            _ => None,
        }
    }
}

impl McpTransport {
    /// Returns a transport to the server that `peer` is connected to. `host` is the server's name in budgets
    /// and allow-lists, such as the host of its URL or the command that runs it. The protocol itself has no
    /// name that could be trusted.
    pub fn new(peer: Peer<RoleClient>, host: impl Into<String>) -> Self {
        Self { peer, host: host.into().to_lowercase(), within: WITHIN }
    }

    /// Sets the time limit for an answer, by default 100 seconds. The server is notified when a call is given
    /// up.
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }
}

impl Transport for McpTransport {
    type Request = CallToolRequestParams;
    type Response = CallToolResult;
    type Error = McpError;

    fn subject(&self, request: &CallToolRequestParams) -> Subject {
        let what = format!("mcp://{}/tool/{}", self.host, request.name.escape_debug());
        let mut asked = request.clone();
        asked.meta = None;
        // JSON objects can always be written.
        let asked = serde_json::to_vec(&asked).unwrap_or_default();
        let hash = |part: &[u8]| keccak256(&[part]);
        let parts = [domain::TOOL_CALL, &hash(self.host.as_bytes()), &hash(&asked)];
        Subject { host: self.host.clone(), what, digest: keccak256(&parts) }
    }

    async fn exchange(
        &self,
        request: &CallToolRequestParams,
        payment: Option<&PaymentText>,
    ) -> Result<Answer<CallToolResult>, McpError> {
        if request.meta.as_ref().is_some_and(|meta| meta.contains_key(PAYMENT)) {
            return Err(McpError::AlreadyPaid);
        }
        let mut request = request.clone();
        if let Some(payment) = payment {
            let object = serde_json::from_str(&payment.json).map_err(|_| McpError::Unsendable)?;
            request.meta_or_default().insert(PAYMENT.into(), object);
        }
        let answer = tokio::time::timeout(self.within, self.peer.call_tool_once(request));
        let answer = answer.await.map_err(|_| McpError::TimedOut)?;
        match answer.map_err(McpError::Service)? {
            CallToolResponse::Complete(response) => {
                let challenge = challenge(&response)?;
                Ok(Answer { challenge, receipt: receipt(&response), response })
            }
            _ => Err(McpError::NotComplete),
        }
    }

    fn is_delivery(&self, result: &CallToolResult) -> bool {
        result.is_error != Some(true)
    }

    async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Returns the challenge in a result: the structured one if there is one, else the one in the first text.
fn challenge(
    result: &CallToolResult,
) -> Result<Option<Result<PaymentRequired, ChallengeError>>, McpError> {
    if result.is_error != Some(true) {
        return Ok(None);
    }
    let is_challenge = |value: &Value| {
        value.get("x402Version").is_some() && value.get("accepts").is_some_and(Value::is_array)
    };
    let read = |json: &str| match json.len() {
        0..=limits::CHALLENGE_BYTES => {
            let challenge = PaymentRequired::from_json(json.as_bytes());
            let part = "result";
            let error = |error| ChallengeError { part, error, body_is_good: false };
            Ok(Some(challenge.map_err(error)))
        }
        _ => Err(McpError::TooLong),
    };
    if let Some(object) = result.structured_content.as_ref().filter(|value| is_challenge(value)) {
        return read(&object.to_string());
    }
    let text = result.content.first().and_then(|block| block.as_text());
    let text = text
        .map(|text| text.text.as_str())
        .filter(|text| serde_json::from_str(text).is_ok_and(|value: Value| is_challenge(&value)));
    text.map_or(Ok(None), read)
}

/// Returns the receipt in a result. The official Python server puts that of a failed settlement inside the
/// challenge.
fn receipt(result: &CallToolResult) -> Option<SettleResponse> {
    let beside = result.meta.as_ref().and_then(|meta| meta.get(PAYMENT_RESPONSE));
    let inside = || {
        let object = result.structured_content.as_ref().filter(|_| result.is_error == Some(true));
        object?.get(PAYMENT_RESPONSE)
    };
    let receipt = beside.or_else(inside)?;
    SettleResponse::from_json(receipt.to_string().as_bytes()).ok()
}
