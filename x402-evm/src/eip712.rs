//! EIP-712 digests of the typed data this crate signs and verifies.

use x402_core::Amount;
use x402_core::crypto::keccak256;
use x402_core::domain;

use crate::{Address, Authorization, TransferProofPayment};

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

/// `keccak256("EIP712Domain(string name,string version,uint256 chainId)")`
pub const PROOF_DOMAIN_TYPE_HASH: [u8; 32] = [
    0xc2, 0xf8, 0x78, 0x71, 0x76, 0xb8, 0xac, 0x6b, 0xf7, 0x21, 0x5b, 0x4a, 0xdc, 0xc1, 0xe0, 0x69,
    0xbf, 0x4a, 0xb8, 0x2d, 0x9a, 0xb1, 0xdf, 0x05, 0xa5, 0x7a, 0x91, 0xd4, 0x25, 0x93, 0x5b, 0x6e,
];

/// `keccak256("TransferProof(bytes32 txHash,address from,address payTo,address asset,uint256
/// amount,string resource,string reference)")`
pub const TRANSFER_PROOF_TYPE_HASH: [u8; 32] = [
    0xec, 0x2e, 0x06, 0xae, 0x5f, 0xcf, 0x9f, 0xbb, 0x76, 0xd5, 0x0e, 0x2d, 0xec, 0x2f, 0x88, 0xa5,
    0xcf, 0xbf, 0xa9, 0x67, 0x8d, 0x38, 0xab, 0x6e, 0x92, 0xae, 0xae, 0x69, 0xdb, 0x88, 0x29, 0x11,
];

/// Returns the domain separator of a token: its EIP-712 name and version, chain and contract.
pub fn domain_separator(name: &str, version: &str, chain_id: u64, contract: Address) -> [u8; 32] {
    keccak256(&[
        &DOMAIN_TYPE_HASH,
        &keccak256(&[name.as_bytes()]),
        &keccak256(&[version.as_bytes()]),
        &Amount::from(chain_id).to_be_bytes(),
        &word(contract),
    ])
}

/// Returns the digest a payer signs to authorise a transfer (EIP-712 over EIP-3009).
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

/// Returns the digest that a transfer's sender signs to have it count for a resource and a
/// reference.
///
/// The domain is `x402 transfer proof`, version 1, on the transfer's chain.
pub fn transfer_proof_digest(
    payment: &TransferProofPayment,
    resource: &str,
    reference: &str,
) -> [u8; 32] {
    let separator = keccak256(&[
        &PROOF_DOMAIN_TYPE_HASH,
        &keccak256(&[domain::TRANSFER_PROOF]),
        &keccak256(&[b"1"]),
        &Amount::from(payment.chain_id).to_be_bytes(),
    ]);
    let message = keccak256(&[
        &TRANSFER_PROOF_TYPE_HASH,
        &payment.tx_hash,
        &word(payment.from),
        &word(payment.pay_to),
        &word(payment.asset),
        &payment.amount.to_be_bytes(),
        &keccak256(&[resource.as_bytes()]),
        &keccak256(&[reference.as_bytes()]),
    ]);
    keccak256(&[b"\x19\x01", &separator, &message])
}

/// Returns an address as a 32-byte word.
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
        let domain: &[u8] = b"EIP712Domain(string name,string version,uint256 chainId)";
        assert_eq!(keccak256(&[domain]), PROOF_DOMAIN_TYPE_HASH);
        let proof: &[u8] = b"TransferProof(bytes32 txHash,address from,address payTo,address asset,uint256 amount,string resource,string reference)";
        assert_eq!(keccak256(&[proof]), TRANSFER_PROOF_TYPE_HASH);
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
