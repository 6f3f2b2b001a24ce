//! A challenge, from its header to a message.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_boards::board::Static;
use x402_core::wire::{Message, PaymentRequired};
use x402_images::{check, measure, samples};

x402_boards::main!(run);

static JSON: Static<[u8; 1024]> = Static::new([0; 1024]);

fn run() -> u8 {
    let header = black_box(samples::EVM_CHALLENGE).as_bytes();
    let Some(json) = JSON.take() else { return check(false) };
    let required = measure(|| PaymentRequired::decode_header(header, json).ok());
    check(required.is_some_and(|required| {
        black_box(required)
            .resource
            .is_some_and(|it| it.url == "http://127.0.0.1:14020/evm/eip3009")
    }))
}
