//! Keys for tests: the second one of anvil's mnemonic, and a seed of twos. Known to everybody, and only
//! good for a chain of one's own.
//!
//! A product gets its keys where it is made, one each, into flash that cannot be read from outside, or
//! has a secure element.

use x402_core::crypto::{ed25519, secp256k1};

use crate::buyer::{Evm, Svm};

const EVM: [u8; 32] = [
    0x59, 0xc6, 0x99, 0x5e, 0x99, 0x8f, 0x97, 0xa5, 0xa0, 0x04, 0x49, 0x66, 0xf0, 0x94, 0x53, 0x89,
    0xdc, 0x9e, 0x86, 0xda, 0xe8, 0x8c, 0x7a, 0x84, 0x12, 0xf4, 0x60, 0x3b, 0x6b, 0x78, 0x69, 0x0d,
];
const SVM: [u8; 32] = [2; 32];

/// A wallet with both.
pub fn wallet() -> Option<(Evm<secp256k1::LocalKey>, Svm<ed25519::LocalKey>)> {
    let evm = secp256k1::LocalKey::from_bytes(&EVM)?;
    Some((Evm(evm), Svm(ed25519::LocalKey::from_seed(&SVM))))
}
