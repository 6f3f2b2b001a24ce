//! Asking a Solana node.

use std::fmt;
use std::time::Duration;

use reqwest::redirect::Policy;
use serde_json::{Value, json};
use url::Url;
use x402_core::Network;
use x402_svm::base58;

use crate::client::{HttpError, is_private, read_body};
use crate::wallet::{BlockhashError, Blockhashes};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A Solana node over JSON-RPC, which knows recent blockhashes.
///
/// Its URL is a secret: many have a key in it. It is asked over TLS or on this machine only.
#[derive(Clone)]
pub struct SvmRpc {
    http: reqwest::Client,
    url: Url,
}

/// A URL is not one of a node that can be asked: neither `https` nor `http` to this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcUrlError;

impl fmt::Display for RpcUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RPC URL is neither https nor loopback")
    }
}

impl std::error::Error for RpcUrlError {}

impl SvmRpc {
    /// The node at `url`. For `https` it takes the feature `tls`: without it, every question ends in
    /// [`BlockhashError::Unreachable`].
    ///
    /// # Errors
    /// [`RpcUrlError`].
    pub fn new(url: &str) -> Result<Self, RpcUrlError> {
        let url = Url::parse(url).ok().filter(is_private).ok_or(RpcUrlError)?;
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|_| RpcUrlError)?;
        Ok(Self { http, url })
    }

    /// The newest confirmed blockhash.
    ///
    /// # Errors
    /// [`BlockhashError`].
    pub async fn latest_blockhash(&self) -> Result<[u8; 32], BlockhashError> {
        let call = json!({
            "jsonrpc": "2.0",
            "id": 1,
            "method": "getLatestBlockhash",
            "params": [{ "commitment": "confirmed" }],
        });
        let request = self.http.post(self.url.clone()).header("content-type", "application/json");
        let response = request.body(call.to_string()).send().await;
        let response = response.map_err(|_| BlockhashError::Unreachable)?;
        if !response.status().is_success() {
            return Err(BlockhashError::Status(response.status().as_u16()));
        }
        let body = read_body(response).await.map_err(|error| match error {
            HttpError::Io(_) => BlockhashError::Unreachable,
            _ => BlockhashError::BadAnswer,
        })?;
        let blockhash =
            |answer: Value| base58::decode(answer.pointer("/result/value/blockhash")?.as_str()?);
        serde_json::from_slice(&body).ok().and_then(blockhash).ok_or(BlockhashError::BadAnswer)
    }
}

impl fmt::Debug for SvmRpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SvmRpc")
    }
}

/// Whatever the network: a payment can settle where its blockhash is known, and nowhere else.
impl Blockhashes for SvmRpc {
    async fn latest(&self, _network: Network<'_>) -> Result<[u8; 32], BlockhashError> {
        self.latest_blockhash().await
    }
}
