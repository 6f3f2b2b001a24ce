//! From a challenge and a signed payload to the payment's header: an offer chosen, the payment
//! written.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_boards::board::Static;
use x402_core::buyer::{self, Choice, Policy};
use x402_core::json::RawJson;
use x402_core::wire::{Message, PaymentRequired};
use x402_evm::ExactEvmWallet;
use x402_images::{check, measure, samples};

x402_boards::main!(run);

static HEADER: Static<[u8; 2048]> = Static::new([0; 2048]);

fn run() -> u8 {
    let (Ok(required), Some(header)) =
        (PaymentRequired::parse(black_box(samples::EVM_REQUIRED).as_bytes()), HEADER.take())
    else {
        return check(false);
    };
    let payload = RawJson::from_validated_unchecked(black_box(samples::EVM_PAYLOAD));
    let header = measure(|| {
        let choice: Choice<'_> =
            buyer::choose(&required, "api.example.com", &ExactEvmWallet, &Policy::default())
                .ok()?;
        choice.payment(payload).encode_header(header).ok()
    });
    check(header == Some(samples::EVM_HEADER.as_bytes()))
}
