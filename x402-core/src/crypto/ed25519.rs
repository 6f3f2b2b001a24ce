//! Ed25519 in pure Rust (ed25519-dalek).

use core::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _, VerifyingKey};

use super::{Ed25519, SignError, Signer, Verify};

/// Verification by ed25519-dalek.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dalek;

impl Verify for Dalek {
    /// Returns the same as `verify_strict`, a tenth faster: that one decodes the point `R` only to
    /// learn whether its order is small. Here the bytes of `R` are compared with the eight
    /// encodings of such points. That suffices, since `R` is valid only if its bytes equal those of
    /// a computed point, which are canonical.
    fn verify(&self, public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(public).is_ok_and(|key| {
            !key.is_weak()
                && !is_small_order(signature.r_bytes())
                && key.verify(message, &signature).is_ok()
        })
    }

    fn is_point(&self, bytes: &[u8; 32]) -> bool {
        VerifyingKey::from_bytes(bytes).is_ok()
    }
}

/// Returns whether an encoding, whose y is written as the number it is, is of a point whose order is 1,
/// 2, 4 or 8. No honest signature has such a point. y decides: x has either sign.
pub fn is_small_order(encoding: &[u8; 32]) -> bool {
    let mut y = *encoding;
    if let Some(sign) = y.last_mut() {
        *sign &= 0x7f;
    }
    SMALL_ORDER.contains(&y)
}

/// The y of the eight points of small order, least significant byte first.
pub static SMALL_ORDER: [[u8; 32]; 5] = [
    [
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00,
    ],
    [
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// A private key in memory; wiped when dropped. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct LocalKey(SigningKey);

impl LocalKey {
    /// Derives the key from the 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads the seed and its public key, as Solana's tools keep them; `None` if they do not belong
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
    fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        self.0.try_sign(message).map(|s| s.to_bytes()).map_err(|_| SignError::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as BASE, EIGHT_TORSION};
    use curve25519_dalek::{EdwardsPoint, Scalar};
    use sha2::{Digest, Sha512};

    #[test]
    fn small_orders() {
        for point in EIGHT_TORSION {
            assert!(is_small_order(&point.compress().to_bytes()));
        }
        assert!(!is_small_order(&BASE.compress().to_bytes()));
    }

    /// Signatures that fit the equation except for a point of small order, by keys with and without
    /// one, with `R` in every spelling.
    #[test]
    fn as_strict_as_the_strict_rule() {
        let strict = |public: &[u8; 32], message: &[u8], signature: &[u8; 64]| {
            let signature = Signature::from_bytes(signature);
            let key = VerifyingKey::from_bytes(public);
            key.is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
        };
        let nine = Scalar::from(9u8);
        let mut encodings: std::vec::Vec<[u8; 32]> =
            EIGHT_TORSION.map(|point| (BASE * nine + point).compress().to_bytes()).into();
        for mut encoding in EIGHT_TORSION.map(|point| point.compress().to_bytes()) {
            encodings.push(encoding);
            encoding[31] ^= 0x80;
            encodings.push(encoding);
        }
        for (low, sign) in (0xed..=0xff).flat_map(|low| [(low, 0), (low, 0x80)]) {
            // From p to 2^255-1: numbers below 19, not reduced.
            let mut encoding = [0xff; 32];
            (encoding[0], encoding[31]) = (low, 0x7f | sign);
            encodings.push(encoding);
        }
        let (mut valid, mut lenient) = (0, 0);
        for (torsion, a) in EIGHT_TORSION.into_iter().flat_map(|t| [(t, 0u8), (t, 7)]) {
            let a = Scalar::from(a);
            let public = (BASE * a + torsion).compress().to_bytes();
            for (r, message) in encodings.iter().flat_map(|r| (0..8u8).map(move |m| (r, [m]))) {
                let hash = Sha512::new().chain_update(r).chain_update(public);
                let hash = hash.chain_update(message).finalize();
                let k = Scalar::from_bytes_mod_order_wide(&hash.into());
                for s in [Scalar::ZERO, nine].map(|r| r + k * a) {
                    let mut signature = [0; 64];
                    signature[..32].copy_from_slice(r);
                    signature[32..].copy_from_slice(s.as_bytes());
                    let expected = strict(&public, &message, &signature);
                    assert_eq!(Dalek.verify(&public, &message, &signature), expected);
                    valid += u32::from(expected);
                    let key = VerifyingKey::from_bytes(&public).unwrap();
                    let signature = Signature::from_bytes(&signature);
                    lenient += u32::from(key.verify(&message, &signature).is_ok());
                }
            }
        }
        assert!(is_small_order(&EdwardsPoint::default().compress().to_bytes()));
        assert!(valid > 50 && lenient > valid + 50, "{valid} {lenient}");
    }

    #[test]
    fn signs_and_verifies_strictly() {
        let key = LocalKey::from_seed(&[2; 32]);
        let public = Signer::public_key(&key);
        let mut signature = Signer::sign(&key, b"message").unwrap();
        assert!(Dalek.verify(&public, b"message", &signature));
        assert!(!Dalek.verify(&public, b"massage", &signature));
        let keypair = |public: &[u8; 32]| [[2; 32], *public].concat().try_into().unwrap();
        let again = LocalKey::from_keypair(&keypair(&public)).unwrap();
        assert_eq!(Signer::public_key(&again), public);
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
