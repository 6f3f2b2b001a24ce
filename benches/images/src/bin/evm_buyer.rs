//! A whole purchase on an EVM network: two requests, a challenge, a payment, a receipt.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_boards::board::{Board, Static};
use x402_boards::buyer::{self, Evm, Memory, Paid, Shop};
use x402_core::buyer::Policy;
use x402_core::crypto::secp256k1::LocalKey;
use x402_images::wire::{Recorded, Server};
use x402_images::{check, measure, samples};

x402_boards::main!(run);

static MEMORY: Static<Memory> = Static::new(Memory::new());

fn run() -> u8 {
    let Some(memory) = MEMORY.take() else { return check(false) };
    let shop = Shop { host: "127.0.0.1:14020", path: "/evm/eip3009" };
    let answers = [
        (&b""[..], samples::EVM_402.as_bytes()),
        (samples::EVM_HEADER.as_bytes(), samples::EVM_200.as_bytes()),
    ];
    let mut server = Server(black_box(&answers));
    let (secret, mut nonce) = (black_box(&samples::EVM_SECRET), Recorded(&samples::EVM_NONCE));
    let bought = measure(|| {
        let wallet = Evm(LocalKey::from_bytes(secret)?);
        let policy = Policy::default();
        buyer::buy(shop, &mut server, &wallet, &policy, &Board, &mut nonce, memory).ok()
    });
    check(bought.is_some_and(|Paid { status, receipt, .. }| {
        status == 200 && receipt.is_some_and(|it| it.transaction == samples::EVM_TRANSACTION)
    }))
}
