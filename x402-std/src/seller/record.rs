//! A seller's records beside its claims.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::RequestDigest;
use crate::message::VerifyRequest;
use crate::store::{Record, Role};

/// The record beside a claim. While the payment is pending, it holds all that is needed to ask the
/// facilitator again; once settled, the request's digest and the time.
pub(super) struct Kept {
    pub(super) digest: Option<RequestDigest>,
    /// In Unix seconds; zero while it is pending.
    pub(super) settled_at: u64,
    /// Whether a keeper settled it, so that its answer was never given.
    pub(super) untold: bool,
    #[cfg_attr(not(feature = "tokio"), expect(dead_code))]
    pub(super) request: Option<VerifyRequest>,
}

#[derive(Deserialize)]
struct Written {
    digest: Option<String>,
    #[serde(default)]
    at: u64,
    #[serde(default)]
    untold: bool,
    request: Option<Box<RawValue>>,
}

impl Kept {
    /// Returns the record of a pending payment; `None` for a request that cannot be written. Such a request
    /// was never read from a message.
    pub(super) fn pending(
        request: &VerifyRequest,
        digest: Option<RequestDigest>,
    ) -> Option<Record> {
        let request = request.to_json().ok()?;
        let digest = json_of(digest);
        Some(record(format!(r#"{{"digest":{digest},"request":{request}}}"#)))
    }

    pub(super) fn settled(digest: Option<RequestDigest>, now: u64, untold: bool) -> Option<Record> {
        let digest = json_of(digest);
        Some(record(format!(r#"{{"digest":{digest},"at":{now},"untold":{untold}}}"#)))
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let Written { digest, at, untold, request } = serde_json::from_slice(bytes).ok()?;
        let digest = match digest {
            None => None,
            Some(digits) => {
                let mut digest = [0; 32];
                hex::decode_to_slice(digits, &mut digest).ok()?;
                Some(RequestDigest(digest))
            }
        };
        let request = match request {
            None => None,
            Some(json) => Some(VerifyRequest::from_json(json.get().as_bytes()).ok()?),
        };
        Some(Self { digest, settled_at: at, untold, request })
    }
}

fn json_of(digest: Option<RequestDigest>) -> String {
    digest.map_or("null".into(), |digest| format!("\"{}\"", hex::encode(digest.0)))
}

fn record(json: String) -> Record {
    Record { role: Role::Seller, bytes: json.into_bytes() }
}
