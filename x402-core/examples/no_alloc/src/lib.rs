//! Firmware images that prove what `x402-core`, `x402-evm` and `x402-svm` promise, by linking:
//!
//! - `no_alloc` calls all of them, with every feature, and has no `#[global_allocator]`: it builds
//!   only while nothing in it can allocate.
//! - `no_panic` calls all but the elliptic curves and serde, and has a panic handler that calls a
//!   function nobody defines: it links only while the optimiser can show that nothing panics.
//!
//! Neither has a static in RAM; the linker scripts assert that. Build them in this folder, so that
//! `.cargo/config.toml` applies:
//!
//! ```text
//! cargo build --release --locked --target thumbv7em-none-eabihf
//! cargo build --release --locked --target thumbv6m-none-eabi
//! cargo build --release --locked --target riscv32imc-unknown-none-elf
//! ```
//!
//! This library is what the images call: everything once, with inputs the optimiser cannot see
//! through.
#![no_std]

mod boot;
pub mod crypto;
pub mod evm;
pub mod protocol;
pub mod samples;
pub mod svm;
