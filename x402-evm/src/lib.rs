#![no_std]
#![forbid(unsafe_code)]
#![warn(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::string_slice
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::string_slice
    )
)]
#![doc = include_str!("../README.md")]

#[cfg(test)]
extern crate std;

mod address;
pub mod assets;
pub mod eip712;
mod exact;
mod transfer;

pub use address::Address;
pub use exact::{
    Authorization, Eip3009Payload, Eip3009Payment, Eip3009Unproven, Eip3009Unsigned, ExactEvm,
    ExactEvmWallet, MAX_VALIDITY_SECONDS, PAYLOAD_BYTES, SETTLEMENT_SECONDS,
    VALIDITY_SLACK_SECONDS, check_but_signature,
};
pub use transfer::{
    MAX_PROOF_AGE_SECONDS, TRANSFER_METHOD, TransferProof, TransferProofPayload,
    TransferProofPayment, TransferProofUnsigned,
};
