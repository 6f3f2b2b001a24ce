//! Links only if no panic can be reached from reading, writing and deciding: the panic handler
//! calls a function that does not exist.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_core::crypto::{Recover, RecoverableSignature};
use x402_no_alloc::{evm, protocol, samples, svm};

/// In place of the elliptic curve, which the optimiser cannot see through: a chip that always finds
/// the payer.
struct Chip;

impl Recover for Chip {
    fn recover(&self, _: &[u8; 32], _: &RecoverableSignature) -> Option<[u8; 20]> {
        black_box(Some(samples::PAYER))
    }
}

#[unsafe(no_mangle)]
extern "C" fn main() -> bool {
    protocol::exercise();
    svm::exercise();
    evm::exercise(Chip)
}

unsafe extern "C" {
    fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: never called: an image that could call it does not link.
    unsafe { a_panic_is_reachable() }
}
