//! The same without this library: the bytes of a key and a digest, signed.
#![no_std]
#![no_main]

use core::hint::black_box;

use k256::ecdsa::SigningKey;
use x402_images::{check, measure, samples};

x402_boards::main!(run);

fn run() -> u8 {
    let (secret, digest) = (black_box(&samples::EVM_SECRET), black_box(&samples::EVM_DIGEST));
    let signed = measure(|| {
        let key = SigningKey::from_slice(secret).ok()?;
        let (signature, id) = key.sign_prehash_recoverable(digest);
        let r_s: [u8; 64] = signature.to_bytes().into();
        Some((r_s, id.is_y_odd()))
    });
    check(signed == Some((samples::EVM_SIGNATURE, true)))
}
