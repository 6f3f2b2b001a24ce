//! From a payment and an offer to proof that the one pays the other.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_core::crypto::ed25519::Dalek;
use x402_core::gate;
use x402_core::wire::{Message, PaymentPayload, PaymentRequirements};
use x402_images::{check, measure, samples};
use x402_svm::message::TRANSACTION_BYTES;
use x402_svm::{ExactSvm, Rules};

x402_boards::main!(run);

fn run() -> u8 {
    let (Ok(payment), Ok(offer)) = (
        PaymentPayload::parse(black_box(samples::SVM_PAYMENT).as_bytes()),
        PaymentRequirements::parse(black_box(samples::SVM_OFFER).as_bytes()),
    ) else {
        return check(false);
    };
    let scheme = ExactSvm::<_, TRANSACTION_BYTES>::with_verify(Dalek, Rules::default());
    let verified =
        measure(|| gate::verify(&scheme, &payment, &offer, black_box(samples::NOW)).ok());
    check(verified.is_some_and(|it| it.payment().payer.0 == samples::SVM_PUBLIC))
}
