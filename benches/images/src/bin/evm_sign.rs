//! From an offer and the bytes of a key to the signed payload.
#![no_std]
#![no_main]

use core::hint::black_box;

use x402_boards::board::Static;
use x402_core::crypto::Signer;
use x402_core::crypto::secp256k1::LocalKey;
use x402_core::wire::{Message, PaymentRequirements};
use x402_evm::{Address, Eip3009Unsigned, PAYLOAD_BYTES};
use x402_images::{check, measure, samples};

x402_boards::main!(run);

static PAYLOAD: Static<[u8; PAYLOAD_BYTES]> = Static::new([0; PAYLOAD_BYTES]);

fn run() -> u8 {
    let (Ok(offer), Some(out)) =
        (PaymentRequirements::parse(black_box(samples::EVM_OFFER).as_bytes()), PAYLOAD.take())
    else {
        return check(false);
    };
    let (secret, nonce) = (black_box(&samples::EVM_SECRET), *black_box(&samples::EVM_NONCE));
    let payload = measure(|| {
        let key = LocalKey::from_bytes(secret)?;
        let payer = Address(key.public_key());
        let unsigned = Eip3009Unsigned::new(&offer, payer, black_box(samples::NOW), nonce).ok()?;
        let signature = key.sign(unsigned.digest()).ok()?;
        unsigned.payload(&signature, out).ok()
    });
    check(payload.is_some_and(|payload| payload.as_str() == samples::EVM_PAYLOAD))
}
