//! EIP-712 digests of the typed data this crate signs and verifies.

use x402_core::Amount;
use x402_core::crypto::keccak256;

use crate::{Address, Authorization};

/// `keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")`
pub const DOMAIN_TYPE_HASH: [u8; 32] = [
    0x8b, 0x73, 0xc3, 0xc6, 0x9b, 0xb8, 0xfe, 0x3d, 0x51, 0x2e, 0xcc, 0x4c, 0xf7, 0x59, 0xcc, 0x79,
    0x23, 0x9f, 0x7b, 0x17, 0x9b, 0x0f, 0xfa, 0xca, 0xa9, 0xa7, 0x5d, 0x52, 0x2b, 0x39, 0x40, 0x0f,
];

/// `keccak256("TransferWithAuthorization(address from,address to,uint256 value,uint256
/// validAfter,uint256 validBefore,bytes32 nonce)")`, as EIP-3009 prints it.
pub const TRANSFER_WITH_AUTHORIZATION_TYPE_HASH: [u8; 32] = [
    0x7c, 0x7c, 0x6c, 0xdb, 0x67, 0xa1, 0x87, 0x43, 0xf4, 0x9e, 0xc6, 0xfa, 0x9b, 0x35, 0xf5, 0x0d,
    0x52, 0xed, 0x05, 0xcb, 0xed, 0x4c, 0xc5, 0x92, 0xe1, 0x3b, 0x44, 0x50, 0x1c, 0x1a, 0x22, 0x67,
];

/// The domain separator of a token: its EIP-712 name and version, chain and contract.
pub fn domain_separator(name: &str, version: &str, chain_id: u64, contract: Address) -> [u8; 32] {
    keccak256(&[
        &DOMAIN_TYPE_HASH,
        &keccak256(&[name.as_bytes()]),
        &keccak256(&[version.as_bytes()]),
        &Amount::from(chain_id).to_be_bytes(),
        &word(contract),
    ])
}

/// The digest a payer signs to authorise a transfer (EIP-712 over EIP-3009).
pub fn transfer_digest(domain_separator: &[u8; 32], authorization: &Authorization) -> [u8; 32] {
    let message = keccak256(&[
        &TRANSFER_WITH_AUTHORIZATION_TYPE_HASH,
        &word(authorization.from),
        &word(authorization.to),
        &authorization.value.to_be_bytes(),
        &authorization.valid_after.to_be_bytes(),
        &authorization.valid_before.to_be_bytes(),
        &authorization.nonce,
    ]);
    keccak256(&[b"\x19\x01", domain_separator, &message])
}

/// An address as a 32-byte word.
fn word(address: Address) -> [u8; 32] {
    let mut word = [0; 32];
    if let Some(low) = word.last_chunk_mut() {
        *low = address.0;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_hashes() {
        let domain: &[u8] =
            b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
        assert_eq!(keccak256(&[domain]), DOMAIN_TYPE_HASH);
        let transfer: &[u8] = b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)";
        assert_eq!(keccak256(&[transfer]), TRANSFER_WITH_AUTHORIZATION_TYPE_HASH);
    }

    #[test]
    fn usdc_on_ethereum() {
        // DOMAIN_SEPARATOR() of the deployed contract.
        let usdc = Address::parse("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48").unwrap();
        let separator = domain_separator("USD Coin", "2", 1, usdc);
        assert_eq!(
            hex_of(&separator),
            "06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335"
        );
    }

    fn hex_of(bytes: &[u8; 32]) -> std::string::String {
        bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
    }
}
