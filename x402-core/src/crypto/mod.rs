//! Signatures and hashes, and the traits through which something else can sign.
//!
//! A scheme's buyer asks a [`Signer`] (or its async twin), and a scheme's verifier a [`Recover`] or a
//! [`Verify`]. So a secure element, a wallet or a faster library can replace the pure-Rust ones, which sit
//! behind the features `secp256k1` and `ed25519`.

#[cfg(feature = "ed25519")]
pub mod ed25519;
#[cfg(feature = "keccak")]
mod keccak;
#[cfg(feature = "secp256k1")]
pub mod secp256k1;
#[cfg(feature = "sha256")]
mod sha256;
mod signature;
mod signer;

#[cfg(feature = "keccak")]
pub use keccak::keccak256;
#[cfg(feature = "sha256")]
pub use sha256::sha256;
pub use signature::{RecoverableSignature, SignatureError};
pub use signer::{Algorithm, AsyncSigner, Ed25519, Recover, Secp256k1, SignError, Signer, Verify};
