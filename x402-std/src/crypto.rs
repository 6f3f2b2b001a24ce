//! Signature checks besides the core's own. Sellers and facilitators of this crate recover the signers of
//! payments on EVM networks by libsecp256k1 if the feature `libsecp256k1` is on. Otherwise they use
//! [`K256`](x402_core::crypto::secp256k1::K256), with the same answers. Programs call neither themselves.
//! Ed25519 is always ed25519-dalek.

#[cfg(feature = "libsecp256k1")]
use std::sync::LazyLock;

#[cfg(feature = "libsecp256k1")]
use secp256k1::ecdsa::{RecoverableSignature as Compact, RecoveryId};
#[cfg(feature = "libsecp256k1")]
use secp256k1::{Message, Secp256k1, VerifyOnly};
#[cfg(feature = "libsecp256k1")]
use x402_core::crypto::{Recover, RecoverableSignature, keccak256};

/// The recovery of signers of payments on EVM networks.
#[cfg(feature = "libsecp256k1")]
pub(crate) use Libsecp256k1 as Recovery;
#[cfg(not(feature = "libsecp256k1"))]
pub(crate) use x402_core::crypto::secp256k1::K256 as Recovery;

/// Recovery of signers by libsecp256k1, with the same answers as
/// [`K256`](x402_core::crypto::secp256k1::K256).
#[derive(Clone, Copy, Debug, Default)]
#[cfg(feature = "libsecp256k1")]
pub struct Libsecp256k1;

/// It holds no secret. It is shared, because it takes some time to make.
#[cfg(feature = "libsecp256k1")]
static CONTEXT: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);

#[cfg(feature = "libsecp256k1")]
impl Recover for Libsecp256k1 {
    fn recover(&self, digest: &[u8; 32], signature: &RecoverableSignature) -> Option<[u8; 20]> {
        let id = if signature.is_odd() { RecoveryId::One } else { RecoveryId::Zero };
        let compact = Compact::from_compact(signature.r_s(), id).ok()?;
        let key = CONTEXT.recover_ecdsa(Message::from_digest(*digest), &compact).ok()?;
        // The first byte, 4, stands before the coordinates.
        let [_, point @ ..] = key.serialize_uncompressed();
        keccak256(&[&point]).last_chunk::<20>().copied()
    }
}

#[cfg(all(test, feature = "libsecp256k1"))]
mod tests {
    use proptest::prelude::*;
    use x402_core::crypto::Signer;
    use x402_core::crypto::secp256k1::{K256, LocalKey};

    use super::*;

    fn bytes(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// Returns the common answer of both, for an even and an odd point.
    fn both(digest: &[u8; 32], r: &[u8; 32], s: &[u8; 32]) -> Vec<Option<[u8; 20]>> {
        let r_s: [u8; 64] = [*r, *s].concat().try_into().unwrap();
        let answer = |odd| {
            // High s and zero are no signatures.
            let signature = RecoverableSignature::from_parts(r_s, odd).ok()?;
            let answer = Libsecp256k1.recover(digest, &signature);
            assert_eq!(answer, K256.recover(digest, &signature), "{digest:x?} {r_s:x?} {odd}");
            answer
        };
        vec![answer(false), answer(true)]
    }

    const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    const HALF: &str = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";
    const FIELD: &str = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f";
    /// x of the generator.
    const G: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    fn plus(number: [u8; 32], more: i8) -> [u8; 32] {
        let number = x402_core::Amount::from_be_bytes(&number);
        let more_by = x402_core::Amount::from(u64::from(more.unsigned_abs()));
        let sum = if more < 0 { number.checked_sub(more_by) } else { number.checked_add(more_by) };
        sum.unwrap().to_be_bytes()
    }

    #[test]
    fn edges_are_answered_as_by_k256() {
        let small = |n: u8| {
            let mut number = [0; 32];
            number[31] = n;
            number
        };
        let mut numbers: Vec<_> = (0..12).map(small).collect();
        for edge in [ORDER, HALF, FIELD, G] {
            numbers.extend((-3..=3).map(|more| plus(bytes(edge), more)));
        }
        numbers.extend([[0xff; 32], [0x80; 32]]);
        let mut answers = 0;
        for digest in &numbers {
            for r in &numbers {
                for s in [small(1), small(2), bytes(HALF), bytes(G)] {
                    answers += both(digest, r, &s).iter().flatten().count();
                }
            }
        }
        assert!(answers > 1000, "{answers}");
    }

    #[test]
    fn the_point_at_infinity_is_nobody() {
        // R = G, s = z: then s R = z G, and the key is their difference over r. G has an even y.
        for digest in [[1; 32], bytes(HALF), keccak256(&[b"message"])] {
            if x402_core::Amount::from_be_bytes(&digest)
                > x402_core::Amount::from_be_bytes(&bytes(HALF))
            {
                continue;
            }
            let answers = both(&digest, &bytes(G), &digest);
            assert_eq!(answers[0], None);
            assert!(answers[1].is_some());
        }
    }

    proptest! {
        #[test]
        fn anything_is_answered_as_by_k256(digest: [u8; 32], r: [u8; 32], mut s: [u8; 32]) {
            s[0] &= 0x7f;
            both(&digest, &r, &s);
        }

        #[test]
        fn signatures_are_answered_as_by_k256(secret: [u8; 32], digest: [u8; 32], bit in 0usize..512) {
            let Some(key) = LocalKey::from_bytes(&secret) else { return Ok(()) };
            let signature = Signer::sign(&key, &digest).unwrap();
            prop_assert_eq!(Libsecp256k1.recover(&digest, &signature), Some(Signer::public_key(&key)));
            let mut r_s = *signature.r_s();
            r_s[bit / 8] ^= 1 << (bit % 8);
            let (r, s) = r_s.split_at(32);
            both(&digest, r.try_into().unwrap(), s.try_into().unwrap());
        }
    }
}
