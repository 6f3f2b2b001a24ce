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
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![doc = include_str!("../README.md")]

#[cfg(test)]
extern crate std;

mod address;
pub mod assets;
pub mod base58;
mod buyer;
mod exact;
pub mod message;
mod mint;
pub mod programs;

pub use address::Address;
pub use assets::Asset;
pub use buyer::{
    Inputs, PAYLOAD_BYTES, PAYMENT_BYTES, SvmUnsigned, UnsignedError, offered_blockhash,
};
pub use exact::{
    AccountOf, DecodeBase64, ExactSvm, ExactSvmWallet, HINTS, Limits, MEMO_BYTES, REMEMBER_SECONDS,
    Resolve, Rules, SvmPayment, payer, read_transaction,
};
pub use mint::{Extensions, Mint};
pub use programs::{TokenProgram, associated_token_address};
