//! secp256k1 in pure Rust (k256).

use core::fmt;

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use k256::elliptic_curve::point::AffineCoordinates;

use super::{Recover, RecoverableSignature, Secp256k1, SignError, Signer, keccak256};

/// A private key in memory; wiped when dropped. `Debug` shows the address only.
#[derive(Clone)]
pub struct LocalKey {
    key: SigningKey,
    address: [u8; 20],
}

impl LocalKey {
    /// Reads the 32 bytes of a key; `None` if they are zero or not below the group order.
    pub fn from_bytes(secret: &[u8; 32]) -> Option<Self> {
        let key = SigningKey::from_slice(secret).ok()?;
        let address = address(key.verifying_key())?;
        Some(Self { key, address })
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey(0x")?;
        self.address.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

impl Signer<Secp256k1> for LocalKey {
    fn public_key(&self) -> [u8; 20] {
        self.address
    }

    fn sign(&self, digest: &[u8; 32]) -> Result<RecoverableSignature, SignError> {
        let (signature, id) = self.key.sign_prehash_recoverable(digest);
        if id.is_x_reduced() {
            return Err(SignError::Invalid);
        }
        let r_s: [u8; 64] = signature.to_bytes().into();
        RecoverableSignature::from_parts(r_s, id.is_y_odd()).map_err(|_| SignError::Invalid)
    }
}

/// Recovery of signers by k256.
#[derive(Clone, Copy, Debug, Default)]
pub struct K256;

impl Recover for K256 {
    fn recover(&self, digest: &[u8; 32], signature: &RecoverableSignature) -> Option<[u8; 20]> {
        let r_s = Signature::from_slice(signature.r_s()).ok()?;
        let id = RecoveryId::new(signature.is_odd(), false);
        address(&VerifyingKey::recover_from_prehash(digest, &r_s, id).ok()?)
    }
}

/// Returns the last 20 bytes of the Keccak-256 of the point's coordinates.
fn address(key: &VerifyingKey) -> Option<[u8; 20]> {
    // Not through the encoded point, which brings kilobytes of errors that cannot happen.
    let point = key.as_affine();
    keccak256(&[&point.x(), &point.y()]).last_chunk::<20>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::elliptic_curve::PrimeField;

    // anvil's second account
    const SECRET: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    const ADDRESS: &str = "70997970c51812dc3a010c7d01b50e0d17dc79c8";

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        core::array::from_fn(|i| {
            u8::from_str_radix(text.get(2 * i..2 * i + 2).unwrap(), 16).unwrap()
        })
    }

    #[test]
    fn signs_and_recovers() {
        let key = LocalKey::from_bytes(&bytes(SECRET)).unwrap();
        assert_eq!(Signer::public_key(&key), bytes(ADDRESS));
        assert!(!std::format!("{key:?}").contains("59c6995e"));
        for seed in 0..16u8 {
            let digest = keccak256(&[&[seed]]);
            let signature = Signer::sign(&key, &digest).unwrap();
            assert_eq!(K256.recover(&digest, &signature), Some(bytes(ADDRESS)));
            // As from a secure element: no parity, and s in the upper half.
            let mut r_s = *signature.r_s();
            let found = RecoverableSignature::find(&r_s, &digest, &bytes(ADDRESS), &K256);
            assert_eq!(found, Some(signature));
            let s = k256::Scalar::from_repr((*r_s.last_chunk::<32>().unwrap()).into()).unwrap();
            r_s[32..].copy_from_slice(&(-s).to_bytes());
            let found = RecoverableSignature::find(&r_s, &digest, &bytes(ADDRESS), &K256);
            assert_eq!(found, Some(signature));
            assert_eq!(RecoverableSignature::find(&r_s, &digest, &[0; 20], &K256), None);
            let other = keccak256(&[&[seed, 1]]);
            assert_ne!(K256.recover(&other, &signature), Some(bytes(ADDRESS)));
        }
        assert!(LocalKey::from_bytes(&[0; 32]).is_none());
        assert!(LocalKey::from_bytes(&[0xff; 32]).is_none());
    }

    #[test]
    fn async_twin_is_for_free() {
        use core::future::Future;
        use core::task::{Context, Poll, Waker};
        let key = LocalKey::from_bytes(&bytes(SECRET)).unwrap();
        let digest = [7; 32];
        let mut signing = core::pin::pin!(super::super::AsyncSigner::sign(&key, &digest));
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(signature)) = signing.as_mut().poll(&mut context) else {
            panic!("a key in memory does not wait");
        };
        assert_eq!(Signer::sign(&key, &digest), Ok(signature));
    }
}
