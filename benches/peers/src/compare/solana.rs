//! Payments on Solana: each version of a transaction, and bare Ed25519.

use std::hint::black_box;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey, verify_batch};
use x402_benches::inputs::{self, Svm};
use x402_core::crypto::Verify as _;
use x402_core::crypto::ed25519::Dalek;
use x402_core::seller::Seller;
use x402_core::wire::PaymentRequirements;
use x402_core::{Either, Version, gate};
use x402_peers::{Aim, Report, Table, row};
use x402_std::base64 as std_base64;
use x402_std::scheme::Exact;
use x402_svm::{Address, ExactSvm, Rules, TokenProgram};

const OURS: &str = "ours, the payee's account known";
const OURS_SERVER: &str = "ours, x402-std's gate";
const OURS_CORE: &str = "ours, x402-core alone (base64ct, account derived)";
const BARE: &str = "ed25519-dalek, verify_strict alone";
const STRICT: &str = "the same check without finding R, alone";
const NOTES: [&str; 4] = [
    "Bare: the key from its bytes and `verify_strict` of the same message. Of a batch of 64 signatures by 64 keys, the share of one, keys from their bytes as well.",
    "Ours checks what `verify_strict` checks without finding the point R, whose encoding tells whether its order is small (`x402_core::crypto::ed25519::Dalek`, proven equal by its tests): that alone is the row below the bare one.",
    "The token account of a payee is the same in all payments to it: x402-std's gate keeps those it derived, within bounds, and keeps the transaction for settlement, which is its allocation.",
    "x402-chain-solana 2.0.2 and r402-svm 0.21 are not here: their facilitators check no buyer's signature by themselves, so without a chain they have no verified payer.",
];
/// Signatures in a batch.
const BATCH: usize = 64;

/// A v0 payment with a legacy message: no version in front, no tables behind.
fn legacy(v0: &Svm) -> Svm {
    let [0x80, message @ .., 0] = &v0.message[..] else { panic!("a message with tables") };
    let signature = SigningKey::from_bytes(&inputs::SVM_SEED).sign(message).to_bytes();
    let encode = |message: &[u8], signature: &[u8]| {
        let transaction = [&[2], &[0; 64][..], signature, message].concat();
        base64_simd::STANDARD.encode_to_string(transaction)
    };
    let json = base64_simd::STANDARD.decode_to_vec(&v0.header).expect("ours");
    let json = String::from_utf8(json).expect("ours");
    let json = json.replace(&encode(&v0.message, &v0.signature), &encode(message, &signature));
    Svm {
        message: message.to_vec(),
        signature,
        header: inputs::header(&json),
        offer: v0.offer.clone(),
        challenge: v0.challenge.clone(),
        ..*v0
    }
}

fn verify(rules: Rules<'_>, json: &[u8], offer: &PaymentRequirements<'_>) -> Option<[u8; 32]> {
    let payload = Seller::read(Version::V2, json).ok()?;
    let verified = gate::verify(&ExactSvm::new(rules), &payload, offer, inputs::NOW).ok()?;
    Some(verified.payment().payer.0)
}

pub(crate) fn header_to_payer(report: &mut Report) {
    let v0 = inputs::svm();
    let legacy = legacy(&v0);
    one(report, "v0", &v0, false);
    one(report, "legacy", &legacy, false);
    one(report, "v1 of 4096 B", &inputs::svm_v1(), true);
}

fn one(report: &mut Report, kind: &str, input: &Svm, last: bool) {
    let header = input.header.as_bytes();
    let offer = inputs::offer(&input.offer);
    let mut a = vec![0; header.len()];
    let (mut b, mut c) = (a.clone(), a.clone());
    let pay_to = offer.pay_to.as_str().and_then(Address::parse).expect("ours");
    let known = |owner: Address, program: TokenProgram, _mint: Address| {
        (owner == pay_to && program == TokenProgram::Token).then_some(Address(input.destination))
    };
    let rules =
        Rules { account: Some(&known), base64: Some(std_base64::decode), ..Rules::default() };
    let ours = |scratch: &mut [u8]| {
        let json = std_base64::decode(black_box(header), scratch).expect("ours");
        verify(rules, json, &offer)
    };
    let schemes = Exact::default();
    let server = |scratch: &mut [u8]| {
        let json = std_base64::decode(black_box(header), scratch).expect("ours");
        let payload = Seller::read(Version::V2, json).ok()?;
        let verified = gate::verify(&schemes, &payload, &offer, inputs::NOW).ok()?;
        match verified.payment() {
            Either::Second(transfer) => Some(transfer.payment().payer.0),
            Either::First(_) => None,
        }
    };
    let core = |scratch: &mut [u8]| {
        let json = x402_core::base64::decode(black_box(header), scratch).expect("ours");
        verify(Rules::default(), json, &offer)
    };
    for read in [&ours as &dyn Fn(&mut [u8]) -> Option<[u8; 32]>, &server, &core] {
        assert_eq!(read(&mut a), Some(input.payer), "{kind}");
    }

    let signature = Signature::from_bytes(&input.signature);
    let bare = || {
        let key = VerifyingKey::from_bytes(black_box(&input.payer)).expect("a key");
        key.verify_strict(black_box(&input.message), &signature)
    };
    bare().expect("valid");

    // Other payers' messages, as long.
    let signers: Vec<SigningKey> =
        (0..BATCH).map(|at| SigningKey::from_bytes(&[at as u8 + 10; 32])).collect();
    let messages: Vec<Vec<u8>> = (0..BATCH)
        .map(|at| {
            let mut message = input.message.clone();
            *message.last_mut().expect("not empty") = at as u8;
            message
        })
        .collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let signatures: Vec<Signature> =
        signers.iter().zip(&messages).map(|(signer, message)| signer.sign(message)).collect();
    let publics: Vec<[u8; 32]> =
        signers.iter().map(|signer| signer.verifying_key().to_bytes()).collect();

    let name = format!("solana header to payer, {kind}");
    let title = format!(
        "Payment header to verified payer on Solana: {kind}, message of {} B",
        input.message.len()
    );
    let costs = report.table(
        Table {
            name: &name,
            title: &title,
            against: &[("to bare Ed25519", BARE)],
            notes: if last { &NOTES } else { &[] },
        },
        vec![
            row(OURS, &mut || {
                black_box(ours(&mut a)).expect("valid");
            }),
            row(OURS_SERVER, &mut || {
                black_box(server(&mut b)).expect("valid");
            }),
            row(OURS_CORE, &mut || {
                black_box(core(&mut c)).expect("valid");
            }),
            row(BARE, &mut || black_box(bare()).expect("valid")),
            row(STRICT, &mut || {
                let (message, signature) = (black_box(&input.message), &input.signature);
                assert!(black_box(Dalek.verify(&input.payer, message, signature)));
            }),
            row("ed25519-dalek, one of a batch of 64", &mut || {
                let keys: Vec<VerifyingKey> = black_box(&publics)
                    .iter()
                    .map(|public| VerifyingKey::from_bytes(public).expect("a key"))
                    .collect();
                verify_batch(black_box(&messages), &signatures, &keys).expect("valid");
            })
            .parts(BATCH),
        ],
    );
    if let Some(costs) = costs {
        report.aim(
            &format!("{name}: of the bare verification"),
            costs.ratio(OURS, BARE),
            Aim::AtMost(1.05),
        );
    }
}
