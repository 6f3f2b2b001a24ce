//! The recorded traffic of the official SDKs against `exact` on EVM.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use x402_core::crypto::{Signer, secp256k1::LocalKey};
use x402_core::gate;
use x402_core::json::RawJson;
use x402_core::wire::{PaymentRequirements, VerifyRequest, VerifyResponse};
use x402_core::{Amount, Message, ParseError, Payment, Reason, Version};
use x402_evm::{
    Address, Eip3009Payload, Eip3009Unproven, Eip3009Unsigned, ExactEvm, ExactEvmWallet,
    PAYLOAD_BYTES, check_but_signature,
};

/// Within the validity of every authorization in `negative/` that is not about time.
const NEGATIVE_NOW: u64 = 4_102_441_170;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../x402-core/tests/vectors")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The answer of the pure checks to a facilitator request.
fn verdict(body: &[u8], now: u64) -> Result<Address, Reason> {
    let request = VerifyRequest::parse(body).map_err(ParseError::reason)?;
    let (payload, requirements) = (&request.payment_payload, &request.payment_requirements);
    gate::verify(
        &ExactEvm::<x402_core::crypto::secp256k1::K256>::default(),
        payload,
        requirements,
        now,
    )
    .map(|verified| verified.payment().authorization.from)
}

/// Cases whose official answer needs the chain: without one they pass the pure checks.
const NEEDS_CHAIN: &[&str] = &[
    "asset_not_deployed_contract",
    "invalid_exact_evm_insufficient_balance",
    "invalid_exact_evm_nonce_already_used",
];

/// Cases in which ours differs, and why.
const DIFFERENT: &[(&str, Reason)] = &[
    // The SDK throws (HTTP 500) on what cannot be read; that is a malformed payment.
    ("evm-exact-eip3009/payload-empty", Reason::InvalidPayload),
    ("evm-exact-eip3009/value-not-numeric", Reason::InvalidPayload),
    ("evm-exact-eip3009/unsupported-version-3", Reason::InvalidX402Version),
    // The SDK throws when no scheme of that name is registered; there is a code for it.
    ("evm-exact-eip3009/unregistered-scheme", Reason::InvalidExactEvmScheme),
];

#[test]
fn negative_cases_give_the_official_reason() {
    let mut seen = 0;
    for group in ["evm-exact-eip3009", "evm-exact-v1"] {
        let mut files: Vec<_> = fs::read_dir(vectors().join("negative").join(group))
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            let case = json(&file);
            let name = format!("{group}/{}", case["name"].as_str().unwrap());
            let body = match &case["request"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let official = case["expectedReason"].as_str().unwrap();
            let ours = verdict(body.as_bytes(), NEGATIVE_NOW);
            let code = ours.map_or_else(Reason::as_str, |_| "VALID");
            match DIFFERENT.iter().find(|(case, _)| *case == name) {
                Some((_, reason)) => assert_eq!(code, reason.as_str(), "{name}"),
                None if NEEDS_CHAIN.contains(&official) => assert_eq!(code, "VALID", "{name}"),
                None => assert_eq!(code, official, "{name}"),
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 23 + 9);
}

/// Every EIP-3009 payment in the end-to-end recordings passes at a time within its validity, and
/// is refused as soon as one thing about it changes.
#[test]
fn recorded_payments_verify_and_mutations_do_not() {
    let mut seen = 0;
    for folder in ["e2e-ts", "e2e-py", "e2e-v1", "e2e-sei", "e2e-1ly"] {
        for file in fs::read_dir(vectors().join(folder)).unwrap() {
            let recording = json(&file.unwrap().path());
            for exchange in recording["exchanges"].as_array().unwrap() {
                let request = &exchange["request"];
                let body = request["body"].as_str().unwrap();
                if request["path"] != "/verify" || !body.contains("\"authorization\"") {
                    continue;
                }
                let parsed = VerifyRequest::parse(body.as_bytes()).unwrap();
                let payload = Eip3009Payload::read(parsed.payment_payload.payload).unwrap();
                let valid_before = payload.authorization.valid_before.as_u64().unwrap();
                let now = valid_before - 30;
                let official = VerifyResponse::parse(
                    exchange["response"]["body"].as_str().unwrap().as_bytes(),
                )
                .unwrap();
                assert_eq!(verdict(body.as_bytes(), now), Ok(payload.authorization.from));
                if official.is_valid {
                    let payer = Address::parse(official.payer.unwrap().as_str().unwrap());
                    assert_eq!(payer, Some(payload.authorization.from));
                }
                mutations(body, now, valid_before);
                seen += 1;
            }
        }
    }
    assert!(seen >= 12, "{seen}");
}

fn mutations(body: &str, now: u64, valid_before: u64) {
    let original: Value = serde_json::from_str(body).unwrap();
    let v1 = original["x402Version"] == 1;
    let change = |path: &str, value: &str| {
        let mut changed = original.clone();
        *changed.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value.into();
        verdict(changed.to_string().as_bytes(), now).unwrap_err()
    };
    let inner = "/paymentPayload/payload/authorization";
    let other = "0x00000000000000000000000000000000000000AA";
    for field in ["from", "to"] {
        assert_eq!(change(&format!("{inner}/{field}"), other), Reason::InvalidExactEvmSignature);
    }
    for field in ["value", "validAfter", "validBefore"] {
        assert_eq!(change(&format!("{inner}/{field}"), "7"), Reason::InvalidExactEvmSignature);
    }
    let nonce = format!("0x{}", "ab".repeat(32));
    assert_eq!(change(&format!("{inner}/nonce"), &nonce), Reason::InvalidExactEvmSignature);
    let requirements = "/paymentRequirements";
    assert_eq!(
        change(&format!("{requirements}/payTo"), other),
        Reason::InvalidExactEvmRecipientMismatch
    );
    assert_eq!(change(&format!("{requirements}/asset"), other), Reason::InvalidExactEvmSignature);
    let (amount, wrong) = if v1 {
        ("maxAmountRequired", Reason::InvalidExactEvmAuthorizationValue)
    } else {
        ("amount", Reason::InvalidExactEvmPayloadAuthorizationValueMismatch)
    };
    assert_eq!(change(&format!("{requirements}/{amount}"), "1"), wrong);
    let base = if v1 { "base" } else { "eip155:8453" };
    assert_eq!(
        change(&format!("{requirements}/network"), base),
        Reason::InvalidExactEvmNetworkMismatch
    );
    let name = format!("{requirements}/extra/name");
    assert_eq!(change(&name, "USD"), Reason::InvalidExactEvmSignature);
    assert_eq!(change(&name, ""), Reason::InvalidExactEvmMissingEip712Domain);
    // The window: six seconds are needed to settle.
    assert!(verdict(body.as_bytes(), valid_before - 6).is_ok());
    assert_eq!(
        verdict(body.as_bytes(), valid_before - 5),
        Err(Reason::InvalidExactEvmPayloadAuthorizationValidBefore)
    );
    signatures(&original, change);
}

/// Every other spelling of the signature is refused, not normalised.
fn signatures(original: &Value, change: impl Fn(&str, &str) -> Reason) {
    let path = "/paymentPayload/payload/signature";
    let signature = original.pointer(path).unwrap().as_str().unwrap();
    let (r, s, v) = (&signature[2..66], &signature[66..130], &signature[130..]);
    // n - s with the other parity recovers the same key: the malleable twin.
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let high =
        Amount::from_be_bytes(&bytes(order)).checked_sub(Amount::from_be_bytes(&bytes(s))).unwrap();
    let high: String = high.to_be_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let flipped = if v == "1b" { "1c" } else { "1b" };
    for wrong in [
        format!("0x{r}{high}{flipped}"),
        format!("0x{r}{s}{flipped}"),
        format!("0x{r}{s}1d"),
        format!("0x{r}{s}"),
        format!("0x{r}{s}{v}00"),
        format!("{r}{s}{v}"),
        format!("0x{}{s}{v}", "00".repeat(32)),
        format!("0x{}{s}{v}", order),
        format!("0x{r}{}{v}", "00".repeat(32)),
        "0x".into(),
        String::new(),
    ] {
        assert_eq!(change(path, &wrong), Reason::InvalidExactEvmSignature, "{wrong}");
    }
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    core::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

/// With the recorded client's key, time and nonce, ours makes the recorded payload to the byte.
#[test]
fn signs_what_the_official_clients_sign() {
    for (folder, file, backdate) in
        [("e2e-ts", "evm-exact-eip3009.json", 300), ("e2e-v1", "v1-evm-legacy-client.json", 60)]
    {
        let recording = json(&vectors().join(folder).join(file));
        let secret = recording["testKeys"]["evmClientPrivateKey"].as_str().unwrap();
        let key = LocalKey::from_bytes(&bytes(&secret[2..])).unwrap();
        let request = recording["exchanges"].as_array().unwrap().iter();
        let body = request
            .map(|exchange| &exchange["request"])
            .find(|request| request["path"] == "/verify")
            .unwrap()["body"]
            .as_str()
            .unwrap();
        let parsed = VerifyRequest::parse(body.as_bytes()).unwrap();
        let theirs = Eip3009Payload::read(parsed.payment_payload.payload).unwrap();
        let now = theirs.authorization.valid_before.as_u64().unwrap() - backdate;
        let offer = parsed.payment_requirements;
        let nonce = theirs.authorization.nonce;
        let unsigned =
            Eip3009Unsigned::new(&offer, Address(Signer::public_key(&key)), now, nonce).unwrap();
        assert_eq!(*unsigned.authorization(), theirs.authorization);
        // Whatever the seller asks, nobody gets a payment that is good for a year.
        let mut greedy = offer;
        greedy.max_timeout_seconds = u64::MAX;
        let bounded = Eip3009Unsigned::new(&greedy, theirs.authorization.from, now, nonce).unwrap();
        let latest = Amount::from(now + x402_evm::MAX_VALIDITY_SECONDS);
        assert_eq!(bounded.authorization().valid_before, latest);
        // Nor is anything signed that no verifier could still take.
        for (seconds, expected) in [(5, Some(Reason::InvalidPaymentRequirements)), (6, None)] {
            let hasty = PaymentRequirements { max_timeout_seconds: seconds, ..offer };
            let from = theirs.authorization.from;
            assert_eq!(Eip3009Unsigned::new(&hasty, from, now, nonce).err(), expected);
            assert_eq!(ExactEvmWallet.check(&hasty).err(), expected);
        }
        let signature = Signer::sign(&key, unsigned.digest()).unwrap();
        let mut out = [0; PAYLOAD_BYTES];
        let ours = unsigned.payload(&signature, &mut out).unwrap();
        assert!(ours.same_value(parsed.payment_payload.payload));
        if parsed.payment_payload.x402_version() == Version::V2 {
            assert_eq!(ours.as_str(), parsed.payment_payload.payload.as_str());
        }
    }
}

/// The same without the signature.
fn unproven(body: &[u8], now: u64) -> Result<Eip3009Unproven, Reason> {
    let request = VerifyRequest::parse(body).map_err(ParseError::reason)?;
    let (payload, requirements) = (&request.payment_payload, &request.payment_requirements);
    if payload.x402_version() == Version::V2 && requirements.version() == Version::V1 {
        return Err(Reason::InvalidX402Version);
    }
    check_but_signature(payload, requirements, now).map(|(unproven, _)| unproven)
}

#[test]
fn whose_signature_the_chain_judges_passes_every_other_check() {
    let path = vectors().join("negative/evm-exact-eip3009");
    for file in fs::read_dir(path).unwrap() {
        let case = json(&file.unwrap().path());
        let body = match &case["request"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let (name, now) = (&case["name"], NEGATIVE_NOW);
        let checked = unproven(body.as_bytes(), now);
        match verdict(body.as_bytes(), now) {
            Err(Reason::InvalidExactEvmSignature) => {
                assert_ne!(checked, Err(Reason::InvalidExactEvmSignature), "{name}");
            }
            proven => assert_eq!(checked.map(|it| it.authorization.from), proven, "{name}"),
        }
    }
    let case = json(&vectors().join("negative/evm-exact-eip3009/control-valid.json"));
    let original = match &case["request"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    };
    let change = |path: &str, value: &str| {
        let mut changed: Value = original.clone();
        changed["paymentPayload"]["payload"]["signature"] = "0xabcd".into();
        *changed.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value.into();
        unproven(changed.to_string().as_bytes(), NEGATIVE_NOW)
    };
    let inner = "/paymentPayload/payload/authorization";
    let other = "0x00000000000000000000000000000000000000AA";
    let late = Reason::InvalidExactEvmPayloadAuthorizationValidBefore;
    let early = Reason::InvalidExactEvmPayloadAuthorizationValidAfter;
    let value = Reason::InvalidExactEvmPayloadAuthorizationValueMismatch;
    let far = "99999999999";
    for (path, change_to, reason) in [
        ("/to", other, Reason::InvalidExactEvmRecipientMismatch),
        ("/validBefore", "7", late),
        ("/validAfter", far, early),
        ("/value", "7", value),
    ] {
        assert_eq!(change(&format!("{inner}{path}"), change_to), Err(reason), "{path}");
    }
    let name = "/paymentRequirements/extra/name";
    assert_eq!(change(name, ""), Err(Reason::InvalidExactEvmMissingEip712Domain));
    // One payment has one claim, for any judge: chain, token, payer and nonce.
    let request = original.to_string();
    let request = VerifyRequest::parse(request.as_bytes()).unwrap();
    let scheme = ExactEvm::<x402_core::crypto::secp256k1::K256>::default();
    let (payload, offer) = (&request.payment_payload, &request.payment_requirements);
    let proven = gate::verify(&scheme, payload, offer, NEGATIVE_NOW).unwrap().into_payment();
    let again = change("/paymentPayload/payload/signature", "0x").unwrap();
    assert_eq!(again.claim_key(), proven.claim_key());
    assert_eq!(again.expires_at(), proven.expires_at());
    let changed = change(&format!("{inner}/from"), other).unwrap();
    assert_ne!(changed.claim_key(), proven.claim_key());
    let nonce = format!("0x{}", "ab".repeat(32));
    let changed = change(&format!("{inner}/nonce"), &nonce).unwrap();
    assert_ne!(changed.claim_key(), proven.claim_key());
}

/// The payer does not say for how long a claim is kept.
#[test]
fn validity_is_bounded_by_the_offer() {
    let case = json(&vectors().join("negative/evm-exact-eip3009/control-valid.json"));
    let mut request: Value = match &case["request"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    };
    let now = NEGATIVE_NOW;
    let (hour, week) = (3600, 7 * 24 * 3600);
    let refused = Err(Reason::InvalidExactEvmPayloadAuthorizationValidBefore);
    let mut check = |timeout: u64, valid_before: String| {
        request["paymentRequirements"]["maxTimeoutSeconds"] = timeout.into();
        request["paymentPayload"]["payload"]["authorization"]["validBefore"] = valid_before.into();
        unproven(request.to_string().as_bytes(), now).map(|_| ())
    };
    for (timeout, valid_before, expected) in [
        (300, (now + 300).to_string(), Ok(())),
        (300, (now + 300 + hour).to_string(), Ok(())),
        (300, (now + 301 + hour).to_string(), refused),
        (300, (now + 2 * 24 * hour).to_string(), refused),
        (week, (now + week + hour).to_string(), Ok(())),
        (week + 1, (now + week + 1 + hour).to_string(), refused),
        (u64::MAX, (now + week + hour).to_string(), Ok(())),
        (u64::MAX, (now + 1 + week + hour).to_string(), refused),
        (300, u64::MAX.to_string(), refused),
        (u64::MAX, u64::MAX.to_string(), refused),
        (300, "18446744073709551616".into(), refused),
        (300, x402_core::Amount::MAX.to_string(), refused),
    ] {
        assert_eq!(check(timeout, valid_before.clone()), expected, "{timeout} {valid_before}");
    }
}

#[test]
fn claim_key_is_the_payment_and_nothing_else() {
    let path = vectors().join("negative/evm-exact-eip3009/control-valid.json");
    let case = json(&path);
    let key = |request: &Value| {
        let body = request.to_string();
        let request = VerifyRequest::parse(body.as_bytes()).unwrap();
        let scheme = ExactEvm::<x402_core::crypto::secp256k1::K256>::default();
        gate::verify(&scheme, &request.payment_payload, &request.payment_requirements, NEGATIVE_NOW)
            .map(|verified| verified.payment().claim_key())
    };
    let request = match &case["request"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    };
    let first = key(&request).unwrap();
    let mut again = request.clone();
    let from = "/paymentPayload/payload/authorization/from";
    let spelling = again.pointer(from).unwrap().as_str().unwrap().to_lowercase();
    *again.pointer_mut(from).unwrap() = spelling.into();
    again["paymentPayload"]["resource"]["url"] = "https://elsewhere.example/".into();
    assert_eq!(key(&again), Ok(first));
}

#[test]
fn payload_reader_refuses_what_is_not_one() {
    for (payload, reason) in [
        ("{}", Reason::InvalidPayload),
        (r#"{"permit2Authorization":{}}"#, Reason::UnsupportedPayloadType),
        (r#"{"authorization":[],"signature":"0x"}"#, Reason::InvalidPayload),
        (r#"{"authorization":{"from":1},"signature":"0x"}"#, Reason::InvalidPayload),
    ] {
        let raw = RawJson::parse(payload.as_bytes()).unwrap();
        assert_eq!(Eip3009Payload::read(raw).unwrap_err(), reason, "{payload}");
    }
}
