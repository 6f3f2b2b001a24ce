//! A Solana network: its nodes, and requests to them.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;
use x402_core::Reason;
use x402_svm::{SvmPayment, base58};

use super::guard::{Guard, Hold};
use crate::base64;
use crate::message::NetworkId;
use crate::rpc::{Nodes, OwnNodes, RpcError};

/// One network and its nodes.
pub(super) struct SvmNetwork {
    pub(super) id: NetworkId,
    pub(super) nodes: Arc<OwnNodes>,
    pub(super) guard: Guard,
}

impl SvmNetwork {
    pub(super) fn new(id: NetworkId, nodes: Nodes) -> Self {
        let reference = id.as_view().solana().unwrap_or_default().to_owned();
        let nodes = OwnNodes::new(nodes, "getGenesisHash", move |answer| {
            let hash = read::<String>(answer).unwrap_or_default();
            base58::decode::<32>(&hash).is_some() && hash.starts_with(&reference)
        });
        Self { id, nodes, guard: Guard::default() }
    }

    pub(super) fn held(&self, payment: &SvmPayment, hold: Hold) -> Reason {
        let (network, payer) = (&self.id, payment.payer);
        tracing::warn!(%network, %payer, ?hold, "no transaction is sent for this payer now");
        Reason::Busy
    }

    /// The nodes that have shown the right genesis hash; `None` if there is none yet.
    pub(super) async fn nodes(&self) -> Option<Nodes> {
        let nodes = self.nodes.get().await;
        (nodes.count() > 0).then_some(nodes)
    }
}

pub(super) async fn send(nodes: &Nodes, transaction: &str) {
    let params = json!([transaction, { "encoding": "base64", "skipPreflight": true }]);
    if let Err(error) = nodes.tell("sendTransaction", &params).await {
        tracing::warn!(%error, "no node says that it took the transaction");
    }
}

pub(super) async fn ask<T: DeserializeOwned>(
    nodes: &Nodes,
    method: &str,
    params: &impl Serialize,
) -> Result<T, RpcError> {
    read(&nodes.ask(method, params).await?).ok_or(RpcError::BadAnswer)
}

pub(super) fn read<T: DeserializeOwned>(answer: &RawValue) -> Option<T> {
    serde_json::from_str(answer.get()).ok()
}

pub(super) fn to_base64(bytes: &[u8]) -> Option<String> {
    let mut text = vec![0; base64::encoded_len(bytes.len())];
    base64::encode(bytes, &mut text).ok().map(str::to_owned)
}
