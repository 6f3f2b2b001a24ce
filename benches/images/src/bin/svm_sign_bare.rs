//! The same without this library: the seed of a key and a message, signed.
#![no_std]
#![no_main]

use core::hint::black_box;

use ed25519_dalek::{Signer, SigningKey};
use x402_images::{check, measure, samples};

x402_boards::main!(run);

fn run() -> u8 {
    let (seed, message) = (black_box(&samples::SVM_SEED), black_box(&samples::SVM_MESSAGE));
    let signature = measure(|| {
        let key = SigningKey::from_bytes(seed);
        key.try_sign(message).ok().map(|signature| signature.to_bytes())
    });
    check(signature == Some(samples::SVM_SIGNATURE))
}
