//! The same without this library: a key, a message and its signature.
#![no_std]
#![no_main]

use core::hint::black_box;

use ed25519_dalek::{Signature, VerifyingKey};
use x402_images::{check, measure, samples};

x402_boards::main!(run);

fn run() -> u8 {
    let (public, message) = (black_box(&samples::SVM_PUBLIC), black_box(&samples::SVM_MESSAGE));
    let signature = black_box(&samples::SVM_SIGNATURE);
    let verified = measure(|| {
        let key = VerifyingKey::from_bytes(public).ok()?;
        key.verify_strict(message, &Signature::from_bytes(signature)).ok()
    });
    check(verified.is_some())
}
