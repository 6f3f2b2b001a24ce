//! The pure-Rust cryptography, and reading spans through serde.

use core::hint::black_box;

use x402_core::crypto::{Recover, Signer, Verify, ed25519, keccak256, secp256k1};
use x402_core::json::RawJson;

use crate::samples;

/// The fields a scheme might read from `extra`.
#[derive(serde::Deserialize)]
struct Domain<'a> {
    name: &'a str,
    version: &'a str,
}

/// Calls everything once.
pub fn exercise() {
    let digest = keccak256(&[black_box(samples::OFFER)]);
    if let Some(key) = secp256k1::LocalKey::from_bytes(&black_box([7; 32])) {
        if let Ok(signature) = Signer::sign(&key, &digest) {
            black_box(
                secp256k1::K256.recover(&digest, &signature) == Some(Signer::public_key(&key)),
            );
        }
    }
    let key = ed25519::LocalKey::from_seed(&black_box([7; 32]));
    if let Ok(signature) = Signer::sign(&key, &digest) {
        black_box(ed25519::Dalek.verify(&Signer::public_key(&key), &digest, &signature));
    }
    if let Some(extra) = RawJson::parse(black_box(samples::OFFER)).ok().and_then(|o| o.get("extra"))
    {
        black_box(
            extra.read::<Domain<'_>>(&mut []).is_ok_and(|domain| domain.name == domain.version),
        );
    }
}
