//! The same without this library: the signer of a digest.
#![no_std]
#![no_main]

use core::hint::black_box;

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use k256::elliptic_curve::point::AffineCoordinates;
use x402_images::{check, measure, samples};

x402_boards::main!(run);

fn run() -> u8 {
    let (digest, signature) = (black_box(&samples::EVM_DIGEST), black_box(&samples::EVM_SIGNATURE));
    let signer = measure(|| {
        let signature = Signature::from_slice(signature).ok()?;
        let id = RecoveryId::new(black_box(true), false);
        VerifyingKey::recover_from_prehash(digest, &signature, id).ok()
    });
    // Not by its SEC1 encoding, which is more code than there is to check.
    check(signer.is_some_and(|it| it.as_affine().x()[..] == samples::EVM_PUBLIC[1..]))
}
