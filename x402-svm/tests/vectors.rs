//! The recorded traffic of the official SDKs against `exact` on Solana.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use x402_core::crypto::Signer;
use x402_core::crypto::ed25519::{Dalek, LocalKey};
use x402_core::gate;
use x402_core::wire::{VerifyRequest, VerifyResponse};
use x402_core::{Message as _, ParseError, Payment, Reason, base64};
use x402_svm::message::{Header, Message, Transaction};
use x402_svm::programs::MEMO;
use x402_svm::{
    Address, ExactSvm, Inputs, Limits, PAYLOAD_BYTES, PAYMENT_BYTES, Rules, SvmPayment,
    SvmUnsigned, payer, read_transaction,
};

/// Any time will do: nothing about a transaction depends on a clock outside the chain.
const NOW: u64 = 1_795_300_000;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../x402-core/tests/vectors")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn key(seed: u8) -> LocalKey {
    LocalKey::from_seed(&[seed; 32])
}

fn address(seed: u8) -> Address {
    Address(Signer::public_key(&key(seed)))
}

/// The answer of the pure checks to a facilitator request, where the facilitator has the fee payer
/// of the recordings.
fn verdict(body: &[u8], limits: Limits) -> Result<SvmPayment, Reason> {
    let request = VerifyRequest::parse(body).map_err(ParseError::reason)?;
    let own = [address(1)];
    let scheme = ExactSvm::new(Rules { limits, fee_payers: Some(&own), ..Rules::default() });
    gate::verify(&scheme, &request.payment_payload, &request.payment_requirements, NOW)
        .map(gate::Verified::into_payment)
}

/// The transaction of a facilitator request; `None` if it is none.
fn transaction(body: &str) -> Option<Vec<u8>> {
    let request = VerifyRequest::parse(body.as_bytes()).unwrap();
    let mut scratch = [0; 4096];
    read_transaction(request.payment_payload.payload, &mut scratch).ok().map(<[u8]>::to_vec)
}

/// Official answers that need the chain: without one, such payments pass the pure checks.
const NEEDS_CHAIN: &[&str] = &[
    "invalid_exact_svm_transaction_simulation_failed",
    "transaction_simulation_failed",
    "duplicate_settlement",
];

/// Cases in which ours differs, and why.
const DIFFERENT: &[(&str, Reason)] = &[
    // The SDK counts signers only if told to. The specification allows payer and fee payer and
    // nobody else (`scheme_exact_svm.md` §2.1.4): each further one costs the fee payer 5000
    // lamports.
    ("svm-exact/extra-signer-ok-by-default", Reason::InvalidExactSvmPayloadExcessiveSigners),
];

#[test]
fn negative_cases_give_the_official_reason() {
    let mut seen = [0; 3];
    let mut different = 0;
    for (group, seen) in ["svm-exact", "svm-exact-options", "svm-exact-v1"].iter().zip(&mut seen) {
        for file in fs::read_dir(vectors().join("negative").join(group)).unwrap() {
            let case = json(&file.unwrap().path());
            let name = format!("{group}/{}", case["name"].as_str().unwrap());
            let body = case["request"].to_string();
            let option = |name: &str| case["facilitatorOptions"][name].as_u64();
            let mut limits = Limits::default();
            if let Some(units) = option("maxComputeUnits") {
                limits.compute_units = units.try_into().unwrap();
            }
            if let Some(signatures) = option("maxRequiredSignatures") {
                limits.signatures = signatures.try_into().unwrap();
            }
            let official = case["expectedReason"].as_str().unwrap();
            let recorded = Address::parse(case["response"]["body"]["payer"].as_str().unwrap());
            let ours = verdict(body.as_bytes(), limits);
            let code = ours.as_ref().map_or_else(|reason| reason.as_str(), |_| "VALID");
            match DIFFERENT.iter().find(|(case, _)| *case == name) {
                Some((_, reason)) => {
                    assert_eq!(code, reason.as_str(), "{name}");
                    // Those who say so get the official answer.
                    let relaxed = Limits { signatures: 3, ..limits };
                    let payment = verdict(body.as_bytes(), relaxed).unwrap();
                    assert_eq!((official, Some(payment.payer)), ("VALID", recorded), "{name}");
                    different += 1;
                }
                None if NEEDS_CHAIN.contains(&official) => assert_eq!(code, "VALID", "{name}"),
                None => assert_eq!(code, official, "{name}"),
            }
            if let Ok(payment) = &ours {
                assert_eq!(Some(payment.payer), recorded, "{name}");
            }
            // A refusal names the payer once the SDK has looked for one; earlier ones do not.
            if recorded.is_some() || official.ends_with("no_transfer_instruction") {
                let bytes = transaction(&body).unwrap();
                let transaction = Transaction::parse(&bytes).unwrap();
                assert_eq!(payer(transaction.message()), recorded, "{name}");
            }
            *seen += 1;
        }
    }
    assert_eq!((seen, different), ([29, 3, 7], DIFFERENT.len()));
}

/// A recorded request to a facilitator that pays on Solana.
struct Recorded {
    name: String,
    body: String,
    answer: String,
    /// Whether it was `/verify`; `/settle` has the same payment.
    verify: bool,
}

fn recorded() -> Vec<Recorded> {
    let mut all = Vec::new();
    for folder in ["e2e-1ly", "e2e-mcp", "e2e-py", "e2e-sei", "e2e-ts", "e2e-v1"] {
        for file in fs::read_dir(vectors().join(folder)).unwrap() {
            let path = file.unwrap().path();
            let recording = json(&path);
            for exchange in recording["exchanges"].as_array().unwrap() {
                let (request, response) = (&exchange["request"], &exchange["response"]);
                let body = request["body"].as_str().unwrap_or("");
                let path = path.file_stem().unwrap().to_str().unwrap();
                let endpoint = request["path"].as_str().unwrap();
                if ["/verify", "/settle"].contains(&endpoint) && body.contains("\"transaction\"") {
                    all.push(Recorded {
                        name: format!("{folder}/{path}"),
                        body: body.into(),
                        answer: response["body"].as_str().unwrap().into(),
                        verify: endpoint == "/verify",
                    });
                }
            }
        }
    }
    assert_eq!((all.len(), all.iter().filter(|one| one.verify).count()), (10, 5));
    all
}

/// Every payment in the end-to-end recordings passes. Whichever bit of it changes, it does not,
/// and nothing panics; except in the first signature, which the fee payer has yet to make.
#[test]
fn recorded_payments_verify_and_no_bit_of_them_may_change() {
    for Recorded { name, body, answer, verify } in recorded() {
        let payment = verdict(body.as_bytes(), Limits::default()).unwrap();
        if !verify {
            continue;
        }
        let official = VerifyResponse::parse(answer.as_bytes()).unwrap();
        let official = Address::parse(official.payer.unwrap().as_str().unwrap());
        assert_eq!(Some(payment.payer), official, "{name}");
        let mut bytes = transaction(&body).unwrap();
        let mut text = [0; 1024];
        let original = base64::encode(&bytes, &mut text).unwrap().to_owned();
        assert!(body.contains(&original));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                let changed = base64::encode(&bytes, &mut text).unwrap();
                let changed = body.replace(&original, changed);
                let verdict = verdict(changed.as_bytes(), Limits::default());
                bytes[at] ^= 1 << bit;
                match verdict {
                    Ok(same) => {
                        assert!((1..65).contains(&at), "{name}: bit {bit} of byte {at}");
                        assert_eq!(same, payment);
                        assert_eq!(same.claim_key(), payment.claim_key());
                    }
                    Err(reason) => assert!(!(1..65).contains(&at), "{name}: {reason} at {at}"),
                }
            }
        }
        for len in 0..bytes.len() {
            let changed = base64::encode(&bytes[..len], &mut text).unwrap();
            let changed = body.replace(&original, changed);
            assert_eq!(
                verdict(changed.as_bytes(), Limits::default()),
                Err(Reason::InvalidExactSvmPayloadTransactionCouldNotBeDecoded),
                "{name}: the first {len} bytes"
            );
        }
    }
}

/// The parts that the SDKs' order of addresses leaves open: the address an instruction names, and
/// the rights to it.
type Resolved = (Address, Vec<(Address, bool, bool)>, Vec<u8>);

fn resolved(message: &Message<'_>) -> (Header, [u8; 32], Vec<Resolved>) {
    let account = |place: &u8| {
        let signs = *place < message.header().signers;
        (message.key(*place).unwrap(), signs, message.is_writable(*place))
    };
    let instructions = message.instructions().map(|one| {
        let accounts = one.accounts.iter().map(account).collect();
        (message.key(one.program).unwrap(), accounts, one.data.to_vec())
    });
    (message.header(), *message.lifetime(), instructions.collect())
}

/// With the recorded client's key, blockhash and memo, ours makes what the Python client made to
/// the byte. The TypeScript one sorts addresses by their text; apart from their order ours is its.
#[test]
fn pays_as_the_official_clients_pay() {
    let (mut same, mut reordered) = (0, 0);
    for Recorded { name, body, .. } in recorded().into_iter().filter(|one| one.verify) {
        let request = VerifyRequest::parse(body.as_bytes()).unwrap();
        let bytes = transaction(&body).unwrap();
        let theirs = Transaction::parse(&bytes).unwrap();
        let memo = theirs.message().instructions().nth(3).map_or("", |memo| {
            assert_eq!(theirs.message().key(memo.program), Some(MEMO));
            core::str::from_utf8(memo.data).unwrap()
        });
        let nonce = |at: usize| u8::from_str_radix(memo.get(2 * at..2 * at + 2)?, 16).ok();
        let inputs = Inputs {
            payer: address(2),
            blockhash: Some(*theirs.message().lifetime()),
            nonce: core::array::from_fn(|at| nonce(at).unwrap_or(0)),
            assets: &[],
        };
        let sign = |out| {
            let offer = &request.payment_requirements;
            let unsigned = SvmUnsigned::new(offer, &inputs, &Dalek, out).unwrap();
            let signature = Signer::sign(&key(2), unsigned.message()).unwrap();
            (unsigned, signature)
        };
        let mut out = [0; PAYMENT_BYTES];
        let (unsigned, signature) = sign(&mut out);
        let ours = unsigned.sign(&signature);
        if name.contains("/py-") {
            assert_eq!(ours, bytes, "{name}");
            let mut buffer = [0; PAYMENT_BYTES];
            let (unsigned, signature) = sign(&mut buffer);
            let mut payload = [0; PAYLOAD_BYTES];
            let payload = unsigned.payload(&signature, &mut payload).unwrap();
            assert_eq!(payload.as_str(), request.payment_payload.payload.as_str(), "{name}");
            same += 1;
            continue;
        }
        let ours = resolved(Transaction::parse(ours).unwrap().message());
        let theirs = resolved(theirs.message());
        if name == "e2e-v1/v1-svm-legacy-client" {
            // It asks for as many compute units as its simulation took, and writes no memo.
            assert_eq!((ours.1, &ours.2[1..3]), (theirs.1, &theirs.2[1..]), "{name}");
            assert_eq!(
                (ours.2[0].0, theirs.2[0].2.as_slice()),
                (theirs.2[0].0, &[2, 149, 1, 0, 0][..])
            );
        } else {
            assert_eq!(ours, theirs, "{name}");
        }
        reordered += 1;
    }
    assert_eq!((same, reordered), (2, 3));
}

/// The memo an offer asks for is the one official payment of it has.
#[test]
fn writes_the_memo_the_official_client_writes() {
    let case = json(&vectors().join("negative/svm-exact/memo-ok.json"));
    let body = case["request"].to_string();
    let request = VerifyRequest::parse(body.as_bytes()).unwrap();
    let bytes = transaction(&body).unwrap();
    let theirs = Transaction::parse(&bytes).unwrap();
    let blockhash = Some(*theirs.message().lifetime());
    let inputs = Inputs { payer: address(2), blockhash, nonce: [0; 16], assets: &[] };
    let mut out = [0; PAYMENT_BYTES];
    let unsigned =
        SvmUnsigned::new(&request.payment_requirements, &inputs, &Dalek, &mut out).unwrap();
    let ours = Message::parse(unsigned.message()).unwrap();
    assert_eq!(resolved(&ours), resolved(theirs.message()));
}
