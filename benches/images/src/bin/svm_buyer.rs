//! A whole purchase on Solana: two requests, a challenge, a payment, a receipt.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_boards::board::{Board, Static};
use x402_boards::buyer::{self, Memory, Paid, Shop, Svm};
use x402_core::buyer::Policy;
use x402_core::crypto::ed25519::LocalKey;
use x402_images::wire::{Recorded, Server};
use x402_images::{check, measure, samples};

x402_boards::main!(run);

static MEMORY: Static<Memory> = Static::new(Memory::new());

fn run() -> u8 {
    let Some(memory) = MEMORY.take() else { return check(false) };
    let shop = Shop { host: "127.0.0.1:16060", path: "/svm/exact" };
    let answers = [
        (&b""[..], samples::SVM_402.as_bytes()),
        (samples::SVM_HEADER.as_bytes(), samples::SVM_200.as_bytes()),
    ];
    let mut server = Server(black_box(&answers));
    let (seed, mut nonce) = (black_box(&samples::SVM_SEED), Recorded(&samples::SVM_NONCE));
    let bought = measure(|| {
        let wallet = Svm(LocalKey::from_seed(seed));
        let policy = Policy::default();
        buyer::buy(shop, &mut server, &wallet, &policy, &Board, &mut nonce, memory).ok()
    });
    check(bought.is_some_and(|Paid { status, receipt, .. }| {
        status == 200 && receipt.is_some_and(|it| it.success)
    }))
}
