//! Ed25519 in pure Rust (ed25519-dalek).

use core::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use super::{Ed25519, SignError, Signer, Verify};

/// Checks with ed25519-dalek.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dalek;

impl Verify for Dalek {
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(public)
            .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
    }

    fn is_point(&self, bytes: &[u8; 32]) -> bool {
        VerifyingKey::from_bytes(bytes).is_ok()
    }
}

/// A private key in memory; wiped when dropped. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct LocalKey(SigningKey);

impl LocalKey {
    /// From the 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// From the seed and its public key, as Solana's tools keep them; `None` if they do not belong
    /// together.
    pub fn from_keypair(keypair: &[u8; 64]) -> Option<Self> {
        SigningKey::from_keypair_bytes(keypair).ok().map(Self)
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey")
    }
}

impl Signer<Ed25519> for LocalKey {
    fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        self.0.try_sign(message).map(|s| s.to_bytes()).map_err(|_| SignError::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_verifies_strictly() {
        let key = LocalKey::from_seed(&[2; 32]);
        let public = Signer::public(&key);
        let mut signature = Signer::sign(&key, b"message").unwrap();
        assert!(Dalek.verify(&public, b"message", &signature));
        assert!(!Dalek.verify(&public, b"massage", &signature));
        let keypair = |public: &[u8; 32]| [[2; 32], *public].concat().try_into().unwrap();
        let again = LocalKey::from_keypair(&keypair(&public)).unwrap();
        assert_eq!(Signer::public(&again), public);
        assert!(LocalKey::from_keypair(&keypair(&[3; 32])).is_none());
        signature[63] |= 0x80;
        assert!(!Dalek.verify(&public, b"message", &signature));
        // A small-order key, for which any message would verify under the lenient rule.
        let mut weak = [0; 32];
        weak[0] = 1;
        let mut trivial = [0; 64];
        trivial[0] = 1;
        assert!(!Dalek.verify(&weak, b"message", &trivial));
    }
}
