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
        clippy::arithmetic_side_effects
    )
)]
#![doc = include_str!("../README.md")]

#[cfg(test)]
extern crate std;

pub mod amount;
pub mod base64;
pub mod budget;
pub mod buyer;
pub mod claim;
pub mod crypto;
pub mod domain;
mod error;
#[doc = include_str!("firmware.md")]
pub mod firmware {}
pub mod gate;
pub mod http;
pub mod json;
pub mod limits;
#[cfg(feature = "defmt")]
mod log;
pub mod network;
pub mod reason;
pub mod seller;
pub mod wire;

pub use amount::{Amount, Money};
pub use error::{EncodeError, ParseError};

pub use gate::{Either, Payment, Scheme, Unproven, Verified};
pub use network::{Network, Version};
pub use reason::{Reason, Retry};
pub use wire::Message;
