//! The first bytes of all that this library hashes: one hash can never stand for another.

/// The EIP-712 domain of a proof of a transfer.
pub const TRANSFER_PROOF: &[u8] = b"x402 transfer proof";
/// The claim key of a payment by EIP-3009.
pub const CLAIM_EIP3009: &[u8] = b"x402 claim eip3009";
/// The claim key of a transfer that the payer sent.
pub const CLAIM_TRANSFER: &[u8] = b"x402 claim transfer";
/// The memo that ties a payment on Solana to a resource.
pub const MEMO: &[u8] = b"x402 memo";
/// The claim key of a transaction, which settles one payment.
pub const TRANSACTION: &[u8] = b"x402 transaction";
/// The digest of a request that is paid for.
pub const PAID_REQUEST: &[u8] = b"x402 paid request";
/// A seller, as its facilitator knows it.
pub const CALLER: &[u8] = b"x402 caller";
/// The URL that a payment is bound to.
pub const RESOURCE: &[u8] = b"x402 resource";
/// A request over HTTP, as a budget knows it.
pub const REQUEST: &[u8] = b"x402 request";
/// A caller's token.
pub const BEARER_TOKEN: &[u8] = b"x402 bearer token";
/// The claim key of a settlement.
pub const SETTLE: &[u8] = b"x402 settle";
/// A payment that a chain was just asked about.
pub const LOOK: &[u8] = b"x402 look";
/// The name that a caller gives to a settlement.
pub const IDEMPOTENCY_KEY: &[u8] = b"x402 idempotency key";
/// A call of a tool, as a budget knows it.
pub const TOOL_CALL: &[u8] = b"x402 tool call";

/// All of them.
pub const ALL: [&[u8]; 14] = [
    TRANSFER_PROOF,
    CLAIM_EIP3009,
    CLAIM_TRANSFER,
    MEMO,
    TRANSACTION,
    PAID_REQUEST,
    CALLER,
    RESOURCE,
    REQUEST,
    BEARER_TOKEN,
    SETTLE,
    LOOK,
    IDEMPOTENCY_KEY,
    TOOL_CALL,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_begins_with_another() {
        for (place, one) in ALL.iter().enumerate() {
            assert!(one.starts_with(b"x402 "));
            let others = ALL.iter().enumerate().filter(|(other, _)| *other != place);
            assert!(others.into_iter().all(|(_, other)| !other.starts_with(one)));
        }
    }
}
