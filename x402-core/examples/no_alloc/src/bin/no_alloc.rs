//! Links only if nothing allocates: there is no `#[global_allocator]`.
//!
//! Run on a board or in an emulator, it stops at `hang` with 1 in the first register if the
//! payment passed the gate.
#![no_std]
#![no_main]

use x402_core::crypto::secp256k1::K256;
use x402_no_alloc::{crypto, evm, protocol, svm};

#[unsafe(no_mangle)]
extern "C" fn main() -> bool {
    protocol::exercise();
    crypto::exercise();
    svm::exercise();
    evm::exercise(K256)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
