//! What this library does beside the one operation nobody can leave out, in the same run.
//!
//!     cargo run --release -p x402-benches --bin compare
//!
//! Medians of many rounds, interleaved so that a slow moment of the machine hits all alike. Only
//! the ratios mean something.

use std::hint::black_box;
use std::time::Instant;

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use x402_core::crypto::Signer;
use x402_core::crypto::secp256k1::{K256, LocalKey};
use x402_core::seller::Seller;
use x402_core::wire::{Message, PaymentPayload, PaymentRequired};
use x402_core::{Version, base64, buyer, gate};
use x402_evm::{Address, Eip3009Unsigned, ExactEvm, PAYLOAD_BYTES};

const ROUNDS: usize = 400;

/// The example challenge of specification v2, section 5.1.1.
const CHALLENGE: &[u8] = br#"{"x402Version":2,"error":"PAYMENT-SIGNATURE header is required","resource":{"url":"https://api.example.com/premium-data","description":"Access to premium market data","mimeType":"application/json"},"accepts":[{"scheme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}]}"#;
const NOW: u64 = 1_800_000_000;

fn main() {
    let required = PaymentRequired::parse(CHALLENGE).expect("the specification's example");
    let offer = required.accepts.iter().next().expect("one offer");
    let key = LocalKey::from_bytes(&[7; 32]).expect("a key");
    let unsigned =
        Eip3009Unsigned::new(&offer, Address(key.public()), NOW, [9; 32]).expect("payable");
    let signature = key.sign(unsigned.digest()).expect("signs");
    let mut buffer = [0; PAYLOAD_BYTES];
    let payload = unsigned.payload(&signature, &mut buffer).expect("fits");
    let payment = buyer::Choice { required, offer, index: 0 }.payment(payload);
    let mut out = [0; 4096];
    let header = payment.encode_header(&mut out).expect("fits").to_vec();
    let (mut scratch, mut encoded) = ([0; 4096], [0; 4096]);
    let decoded = base64::decode(&header, &mut scratch).expect("ours").to_vec();
    println!("payment: {} bytes of JSON, {} bytes of header", decoded.len(), header.len());

    let r_s = Signature::from_slice(signature.r_s()).expect("valid");
    let id = RecoveryId::new(signature.is_odd(), false);
    let scheme = ExactEvm::<K256>::default();
    let mut scratch = [0; 4096];
    let mut raw = [0; 4096];
    let mut runs: [(&str, &mut dyn FnMut()); 6] = [
        ("k256: recover the key", &mut || {
            black_box(VerifyingKey::recover_from_prehash(black_box(unsigned.digest()), &r_s, id))
                .ok();
        }),
        ("ours: header to verified payer", &mut || {
            let json = base64::decode(black_box(&header), &mut scratch).expect("ours");
            let payload = Seller::read(Version::V2, json).expect("ours");
            black_box(gate::verify(&scheme, &payload, &offer, NOW)).expect("valid");
        }),
        ("ours: header to typed payment", &mut || {
            let json = base64::decode(black_box(&header), &mut encoded).expect("ours");
            black_box(PaymentPayload::parse(json)).expect("ours");
        }),
        ("ours: header to JSON (base64ct)", &mut || {
            black_box(base64::decode(black_box(&header), &mut raw)).expect("ours");
        }),
        ("serde_json: JSON to Value", &mut || {
            black_box(serde_json::from_slice::<serde_json::Value>(black_box(&decoded)))
                .expect("JSON");
        }),
        ("ours: payment to header", &mut || {
            black_box(payment.encode_header(&mut out)).expect("fits");
        }),
    ];
    let mut times = vec![Vec::with_capacity(ROUNDS); runs.len()];
    for _ in 0..ROUNDS {
        for ((_, run), times) in runs.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..20 {
                run();
            }
            times.push(start.elapsed().as_secs_f64() / 20.0);
        }
    }
    let medians: Vec<f64> = times
        .iter_mut()
        .map(|times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        })
        .collect();
    println!("{:<34} {:>10} {:>18}", "", "us", "of the recovery");
    for ((name, _), median) in runs.iter().zip(&medians) {
        println!("{name:<34} {:>10.2} {:>17.1}%", median * 1e6, median / medians[0] * 100.0);
    }
}
