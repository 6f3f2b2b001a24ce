//! From an offer and the seed of a key to the signed payload.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_boards::board::Static;
use x402_core::crypto::Signer;
use x402_core::crypto::ed25519::{Dalek, LocalKey};
use x402_core::wire::{Message, PaymentRequirements};
use x402_images::{check, measure, samples};
use x402_svm::{Address, Inputs, PAYLOAD_BYTES, PAYMENT_BYTES, SvmUnsigned};

x402_boards::main!(run);

static TRANSACTION: Static<[u8; PAYMENT_BYTES]> = Static::new([0; PAYMENT_BYTES]);
static PAYLOAD: Static<[u8; PAYLOAD_BYTES]> = Static::new([0; PAYLOAD_BYTES]);

fn run() -> u8 {
    let (Ok(offer), Some(transaction), Some(out)) = (
        PaymentRequirements::parse(black_box(samples::SVM_OFFER).as_bytes()),
        TRANSACTION.take(),
        PAYLOAD.take(),
    ) else {
        return check(false);
    };
    let (seed, nonce) = (black_box(&samples::SVM_SEED), *black_box(&samples::SVM_NONCE));
    let payload = measure(|| {
        let key = LocalKey::from_seed(seed);
        let payer = Address(key.public_key());
        let inputs = Inputs { payer, blockhash: None, nonce, assets: &[] };
        let unsigned = SvmUnsigned::new(&offer, &inputs, &Dalek, transaction).ok()?;
        let signature = key.sign(unsigned.message()).ok()?;
        unsigned.payload(&signature, out).ok()
    });
    check(payload.is_some_and(|payload| payload.as_str() == samples::SVM_PAYLOAD))
}
