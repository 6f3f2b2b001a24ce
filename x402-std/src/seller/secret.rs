//! The digest of a request, and the secret by which a facilitator knows the seller.

use std::fmt;

use x402_core::claim::ClaimKey;
use x402_core::crypto::keccak256;
use x402_core::domain;

use crate::facilitator::CallerId;

/// A hash of a request: over HTTP, of its method, URL and body. If an answer was lost, only the same request
/// gets it a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestDigest(pub [u8; 32]);

impl RequestDigest {
    /// Returns the digest of a request's parts, in their order.
    pub fn from_parts(parts: &[&[u8]]) -> Self {
        let mut all = domain::PAID_REQUEST.to_vec();
        for part in parts {
            all.extend_from_slice(&keccak256(&[part]));
        }
        Self(keccak256(&[&all]))
    }
}

/// The secret by which a facilitator recognises this seller; `None` if the system has no randomness.
pub(super) struct Secret(pub(super) Option<[u8; 32]>);

impl Secret {
    pub(super) fn random() -> Self {
        let mut secret = [0; 32];
        Self(getrandom::fill(&mut secret).ok().map(|()| secret))
    }

    /// Returns this seller's name in its requests about one payment.
    pub(super) fn caller(&self, key: ClaimKey) -> CallerId {
        let hash = |secret: &[u8; 32]| keccak256(&[domain::CALLER, secret, key.as_bytes()]);
        self.0.as_ref().map_or(CallerId::ANYBODY, |secret| CallerId(hash(secret)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}
