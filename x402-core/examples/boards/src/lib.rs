//! Firmware that buys and firmware that sells, for two emulated boards.
#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(target_os = "none")]
pub mod app;
#[cfg(target_os = "none")]
pub mod board;
pub mod buyer;
pub mod element;
pub mod http;
pub mod keys;
#[cfg(target_os = "none")]
pub mod net;
pub mod seller;
pub mod stream;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
pub mod tls;
