//! Links only if nothing allocates: there is no `#[global_allocator]`.
//!
//! Run on a board or in an emulator, it stops at `hang` with 1 in the first register if the
//! payments passed the gate.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_core::crypto::ed25519::{Dalek, LocalKey};
use x402_core::crypto::secp256k1::K256;
use x402_no_alloc::{crypto, evm, protocol, svm};

#[unsafe(no_mangle)]
extern "C" fn main() -> bool {
    protocol::exercise();
    crypto::exercise();
    let key = LocalKey::from_seed(&black_box([2; 32]));
    svm::exercise(Dalek, &key) & evm::exercise(K256)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
