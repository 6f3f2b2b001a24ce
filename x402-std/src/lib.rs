#![forbid(unsafe_code)]
#![doc = include_str!("../README.md")]

#[cfg(all(feature = "client", feature = "server", feature = "facilitator"))]
pub mod attacks;
pub mod base64;
pub mod buyer;
pub mod clock;
pub mod crypto;
pub mod exposed;
pub mod extension;
pub mod facilitator;
#[cfg(feature = "mcp")]
pub mod mcp;
pub mod message;
#[cfg(feature = "server")]
pub mod page;
#[cfg(feature = "client")]
pub mod rpc;
pub mod scheme;
pub mod seller;
#[cfg(feature = "sqlite")]
mod sqlite;
pub mod store;
pub mod transport;

pub use clock::{Clock, SystemClock};
pub use x402_core as core;
pub use x402_evm as evm;
pub use x402_svm as svm;

/// Locks a mutex. Poison is ignored, because no code of this library panics while it holds a lock.
fn lock<T: ?Sized>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Compiles the workspace's README.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../README.md")]
struct Readme;
