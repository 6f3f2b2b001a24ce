//! A whole sale on an EVM network: a paid request, the facilitator asked, the answer.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_boards::board::Static;
use x402_boards::http;
use x402_boards::seller::{Memory, Served, Shop};
use x402_core::crypto::secp256k1::K256;
use x402_core::wire::{Message, PaymentRequirements, ResourceInfo};
use x402_evm::ExactEvm;
use x402_images::wire::{Server, Wire};
use x402_images::{check, measure, samples};

x402_boards::main!(run);

static REQUEST: Static<[u8; 4096]> = Static::new([0; 4096]);
static MEMORY: Static<Memory> = Static::new(Memory::new());

const READING: &[u8] = br#"{"ok":true}"#;

fn run() -> u8 {
    let (Some(memory), Some(received), Ok(offer)) = (
        MEMORY.take(),
        REQUEST.take(),
        PaymentRequirements::parse(black_box(samples::EVM_OFFER).as_bytes()),
    ) else {
        return check(false);
    };
    let url = "http://127.0.0.1:14020/evm/eip3009";
    let resource = ResourceInfo { url: url.into(), ..Default::default() };
    let (host, scheme) = ("127.0.0.1:14023", ExactEvm::<K256>::default());
    let asked = [(samples::EVM_SETTLE.as_bytes(), samples::EVM_SETTLED.as_bytes())];
    let mut facilitator = Server(black_box(&asked));
    let mut buyer = Wire::new(READING, black_box(samples::EVM_PAID).as_bytes());
    let now = black_box(samples::NOW);
    let served = measure(|| {
        // Its claims are on the stack, as in the firmware.
        let mut shop = Shop::new(resource, "/evm/eip3009", offer, scheme, host);
        let request = http::read_request(&mut buyer, received);
        Some(shop.serve(request, &mut buyer, &mut facilitator, now, READING, memory))
    });
    check(matches!(served, Some(Served::Sold(it)) if it == samples::EVM_TRANSACTION))
}
