//! Links only if no panic can be reached from reading, writing and deciding: the panic handler
//! calls a function that does not exist.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_core::crypto::{Ed25519, Recover, RecoverableSignature, SignError, Signer, Verify};
use x402_no_alloc::{evm, protocol, samples, svm};

/// In place of the elliptic curves, which the optimiser cannot see through: a chip that always finds
/// the payer, signs anything and takes any signature.
#[derive(Clone, Copy)]
struct Chip;

impl Recover for Chip {
    fn recover(&self, _: &[u8; 32], _: &RecoverableSignature) -> Option<[u8; 20]> {
        black_box(Some(samples::PAYER))
    }
}

impl Verify for Chip {
    fn verify(&self, _: &[u8; 32], _: &[u8], _: &[u8; 64]) -> bool {
        black_box(true)
    }

    fn is_point(&self, _: &[u8; 32]) -> bool {
        black_box(false)
    }
}

impl Signer<Ed25519> for Chip {
    fn public_key(&self) -> [u8; 32] {
        black_box(samples::SVM_PAYER).0
    }

    fn sign(&self, _: &[u8]) -> Result<[u8; 64], SignError> {
        black_box(Ok([1; 64]))
    }
}

#[unsafe(no_mangle)]
extern "C" fn main() -> bool {
    protocol::exercise();
    svm::exercise(Chip, &Chip) & evm::exercise(Chip)
}

unsafe extern "C" {
    fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: never called: an image that could call it does not link.
    unsafe { a_panic_is_reachable() }
}
