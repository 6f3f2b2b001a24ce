//! From a payment and an offer to proof that the one pays the other.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_core::crypto::secp256k1::K256;
use x402_core::gate;
use x402_core::wire::{Message, PaymentPayload, PaymentRequirements};
use x402_evm::ExactEvm;
use x402_images::{check, measure, samples};

x402_boards::main!(run);

fn run() -> u8 {
    let (Ok(payment), Ok(offer)) = (
        PaymentPayload::parse(black_box(samples::EVM_PAYMENT).as_bytes()),
        PaymentRequirements::parse(black_box(samples::EVM_OFFER).as_bytes()),
    ) else {
        return check(false);
    };
    let scheme = ExactEvm::<K256>::default();
    let verified =
        measure(|| gate::verify(&scheme, &payment, &offer, black_box(samples::NOW)).ok());
    check(verified.is_some_and(|it| it.payment().authorization.nonce == samples::EVM_NONCE))
}
