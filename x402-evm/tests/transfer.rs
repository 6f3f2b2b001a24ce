//! Payments by a transfer that the buyer sent itself: what is signed, and what is refused.
#![allow(missing_docs)]

use serde_json::{Value, json};
use x402_core::claim::{ClaimKey, ClaimState, Transaction};
use x402_core::crypto::{Signer, secp256k1::K256, secp256k1::LocalKey};
use x402_core::gate;
use x402_core::wire::{PaymentRequirements, VerifyRequest};
use x402_core::{Amount, Message, ParseError, Payment, Reason, Scheme as _};
use x402_evm::{
    Address, ExactEvm, ExactEvmWallet, MAX_PROOF_AGE_SECONDS, TransferProof, TransferProofPayload,
    TransferProofPayment, TransferProofUnsigned,
};

const NOW: u64 = 1_800_000_000;
const PAYER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const PAYEE: &str = "0x9dC2aA0038830c052253161B1EE49B9dD449bD66";
const URL: &str = "http://localhost:3000/api/weather";

/// The second of the keys that test chains give coins to.
fn key() -> LocalKey {
    let secret = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
    LocalKey::from_bytes(&bytes(secret)).unwrap()
}

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    core::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

fn offer() -> Value {
    json!({
        "scheme": "exact", "network": "eip155:1328", "amount": "1000", "payTo": PAYEE,
        "asset": "0x4fCF1784B31630811181f670Aea7A7bEF803eaED", "maxTimeoutSeconds": 300,
        "extra": {
            "name": "USDC", "version": "2", "assetTransferMethod": "transaction-proof",
            "paymentFlow": "upfront", "reference": "sei-1234567890-abc123",
        },
    })
}

/// The payload that `key` signs for an offer and a resource.
fn proof(offer: &Value, resource: &str, key: &LocalKey, hash: [u8; 32]) -> Value {
    let text = offer.to_string();
    let offer = PaymentRequirements::parse(text.as_bytes()).unwrap();
    let from = Address(Signer::public_key(key));
    let unsigned = TransferProofUnsigned::new(&offer, resource, from, hash).unwrap();
    let signature = Signer::sign(key, unsigned.digest()).unwrap();
    let mut out = [0; 4400];
    let payload = unsigned.payload(&signature, &mut out).unwrap();
    serde_json::from_str(payload.as_str()).unwrap()
}

fn request(offer: &Value, resource: &str, payload: Value) -> Value {
    json!({
        "x402Version": 2,
        "paymentPayload": {
            "x402Version": 2, "resource": { "url": resource }, "accepted": offer,
            "payload": payload,
        },
        "paymentRequirements": offer,
    })
}

fn genuine() -> Value {
    request(&offer(), URL, proof(&offer(), URL, &key(), [0x11; 32]))
}

fn check(request: &Value, now: u64) -> Result<TransferProofPayment, Reason> {
    let text = request.to_string();
    let request = VerifyRequest::parse(text.as_bytes()).map_err(ParseError::reason)?;
    let (payload, requirements) = (&request.payment_payload, &request.payment_requirements);
    gate::verify(&TransferProof::<K256>::default(), payload, requirements, now)
        .map(|verified| *verified.payment().as_unproven())
}

fn changed(path: &str, value: Value) -> Value {
    let mut request = genuine();
    let (parent, name) = path.rsplit_once('/').unwrap();
    request.pointer_mut(parent).unwrap()[name] = value;
    request
}

fn without(path: &str) -> Value {
    let mut request = genuine();
    let (parent, name) = path.rsplit_once('/').unwrap();
    request.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    request
}

/// Digest and signature as viem makes them of the same typed data.
#[test]
fn signs_what_other_libraries_sign() {
    let text = offer().to_string();
    let offer = PaymentRequirements::parse(text.as_bytes()).unwrap();
    let from = Address::parse(PAYER).unwrap();
    let unsigned = TransferProofUnsigned::new(&offer, URL, from, [0x11; 32]).unwrap();
    let digest = "5a802607a4658fae5fe0bbf13500e5912963881b46e60632130fa48b07258ef8";
    assert_eq!(*unsigned.digest(), bytes::<32>(digest));
    let signature = "0x3ea263706bd92a140245a4be336676133857eff501a21b2c941b645333ae5c0d7c8a479c60193243af7a7809582c85d6e8fde849585fbc0186e25d4a9426a9a21b";
    let request = genuine();
    let payload = &request["paymentPayload"]["payload"];
    assert_eq!(payload["signature"], signature);
    assert_eq!(payload["from"], PAYER);
    let payment = check(&request, NOW).unwrap();
    assert_eq!(payment.from, from);
    assert_eq!((payment.chain_id, payment.tx_hash), (1328, [0x11; 32]));
    assert_eq!(payment.pay_to, Address::parse(PAYEE).unwrap());
    assert_eq!(payment.amount, 1000u64.into());
    assert!(!format!("{:?}", read(payload).unwrap()).contains("3ea2"));
}

fn read(payload: &Value) -> Result<String, Reason> {
    let text = payload.to_string();
    let raw = x402_core::json::RawJson::parse(text.as_bytes()).unwrap();
    TransferProofPayload::read(raw).map(|read| format!("{read:?}"))
}

#[test]
fn whatever_is_changed_is_refused() {
    let signature = Reason::InvalidExactEvmSignature;
    let stale = Reason::InvalidPaymentRequirements;
    let (payload, wanted) = ("/paymentPayload/payload", "/paymentRequirements");
    let other = "0x00000000000000000000000000000000000000AA";
    // n - s with the other parity recovers the same key: the malleable twin.
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let request = genuine();
    let given = request.pointer("/paymentPayload/payload/signature").unwrap().as_str().unwrap();
    let amount = |hex: &str| Amount::from_be_bytes(&bytes(hex));
    let s = amount(order).checked_sub(amount(&given[66..130])).unwrap().to_be_bytes();
    let s: String = s.iter().map(|byte| format!("{byte:02x}")).collect();
    let high = format!("{}{s}{}", &given[..66], if &given[130..] == "1b" { "1c" } else { "1b" });
    let both = |key: &str| changed(&format!("{payload}/{key}"), json!({}));
    let mut flow = genuine();
    flow["paymentRequirements"]["extra"]["paymentFlow"] = json!("authorization");
    let table = [
        ("hash", changed(&format!("{payload}/txHash"), json!(hash(0x12))), signature),
        ("payer", changed(&format!("{payload}/from"), json!(other)), signature),
        ("resource", changed("/paymentPayload/resource/url", json!("http://else/")), signature),
        ("no resource", without("/paymentPayload/resource"), signature),
        ("amount", changed(&format!("{wanted}/amount"), json!("1001")), signature),
        ("less", changed(&format!("{wanted}/amount"), json!("999")), signature),
        ("payee", changed(&format!("{wanted}/payTo"), json!(other)), signature),
        ("token", changed(&format!("{wanted}/asset"), json!(other)), signature),
        ("both references", both_references("sei-2"), signature),
        ("reference asked", changed(&format!("{wanted}/extra/reference"), json!("b")), stale),
        ("reference given", changed(&format!("{payload}/reference"), json!("b")), stale),
        ("no reference asked", without(&format!("{wanted}/extra/reference")), stale),
        ("empty reference", both_references(""), stale),
        ("chain", networks("eip155:1329"), signature),
        (
            "chain of the offer",
            changed(&format!("{wanted}/network"), json!("eip155:1329")),
            Reason::InvalidExactEvmNetworkMismatch,
        ),
        (
            "chain of the payment",
            changed("/paymentPayload/accepted/network", json!("eip155:1329")),
            Reason::InvalidExactEvmNetworkMismatch,
        ),
        ("no chain", networks("sui:1"), Reason::InvalidNetwork),
        (
            "scheme",
            changed(&format!("{wanted}/scheme"), json!("upto")),
            Reason::InvalidExactEvmScheme,
        ),
        (
            "scheme of the payment",
            changed("/paymentPayload/accepted/scheme", json!("upto")),
            Reason::InvalidExactEvmScheme,
        ),
        (
            "zero",
            changed(&format!("{wanted}/amount"), json!("0")),
            Reason::InvalidExactEvmPayloadAuthorizationValueMismatch,
        ),
        (
            "pays itself",
            changed(&format!("{wanted}/payTo"), json!(PAYER)),
            Reason::InvalidExactEvmRecipientMismatch,
        ),
        // Offers that do not ask for it.
        (
            "method",
            changed(&format!("{wanted}/extra/assetTransferMethod"), json!("eip3009")),
            Reason::UnsupportedPayloadType,
        ),
        (
            "no method",
            without(&format!("{wanted}/extra/assetTransferMethod")),
            Reason::UnsupportedPayloadType,
        ),
        ("no extra", without(&format!("{wanted}/extra")), Reason::UnsupportedPayloadType),
        ("served first", flow, stale),
        ("served first unless told", without(&format!("{wanted}/extra/paymentFlow")), stale),
        // Payloads of another shape.
        ("no hash", without(&format!("{payload}/txHash")), Reason::UnsupportedPayloadType),
        ("no payer", without(&format!("{payload}/from")), Reason::InvalidPayload),
        ("no signature", without(&format!("{payload}/signature")), Reason::InvalidPayload),
        ("no reference", without(&format!("{payload}/reference")), Reason::InvalidPayload),
        ("authorization too", both("authorization"), Reason::InvalidPayload),
        ("permit too", both("permit2Authorization"), Reason::InvalidPayload),
        (
            "short hash",
            changed(&format!("{payload}/txHash"), json!(&hash(0x11)[..64])),
            Reason::InvalidPayload,
        ),
        (
            "hash that is none",
            changed(&format!("{payload}/txHash"), json!(7)),
            Reason::InvalidPayload,
        ),
        ("short payer", changed(&format!("{payload}/from"), json!("0x70")), Reason::InvalidPayload),
        ("empty signature", changed(&format!("{payload}/signature"), json!("0x")), signature),
        ("high s", changed(&format!("{payload}/signature"), json!(high)), signature),
    ];
    for (name, request, reason) in table {
        assert_eq!(check(&request, NOW), Err(reason), "{name}");
    }
}

fn hash(byte: u8) -> String {
    format!("0x{}", format!("{byte:02x}").repeat(32))
}

fn both_references(reference: &str) -> Value {
    let mut request = changed("/paymentPayload/payload/reference", json!(reference));
    request["paymentRequirements"]["extra"]["reference"] = json!(reference);
    request
}

fn networks(network: &str) -> Value {
    let mut request = changed("/paymentPayload/accepted/network", json!(network));
    request["paymentRequirements"]["network"] = json!(network);
    request
}

/// The message of a client that follows the guides and signs nothing.
#[test]
fn a_bare_hash_is_refused() {
    for payload in [
        json!({ "txHash": hash(0x11), "amount": "1000", "from": PAYER }),
        json!({ "txHash": hash(0x11), "amount": "1000" }),
        json!({ "txHash": hash(0x11) }),
    ] {
        let request = request(&offer(), URL, payload);
        assert_eq!(check(&request, NOW), Err(Reason::InvalidPayload));
    }
}

#[test]
fn version_1_binds_to_the_resource_of_the_offer() {
    let mut offer = offer();
    offer["network"] = json!("sei-testnet");
    offer["maxAmountRequired"] = offer["amount"].take();
    offer.as_object_mut().unwrap().remove("amount");
    offer["resource"] = json!("/api/weather");
    (offer["description"], offer["mimeType"]) = (json!(""), json!(""));
    let request = |payload: Value, offer: &Value| {
        json!({
            "x402Version": 1,
            "paymentPayload": {
                "x402Version": 1, "scheme": "exact", "network": "sei-testnet",
                "payload": payload,
            },
            "paymentRequirements": offer,
        })
    };
    let payload = proof(&offer, "/api/weather", &key(), [0x11; 32]);
    assert!(check(&request(payload.clone(), &offer), NOW).is_ok());
    let mut other = offer.clone();
    other["resource"] = json!("/api/gold");
    let refused = check(&request(payload.clone(), &other), NOW);
    assert_eq!(refused, Err(Reason::InvalidExactEvmSignature));
    other = offer;
    other["maxAmountRequired"] = json!("0");
    let refused = check(&request(payload, &other), NOW);
    assert_eq!(refused, Err(Reason::InvalidExactEvmAuthorizationValue));
}

#[test]
fn texts_with_escapes_are_read_and_long_ones_too() {
    let escaped = r#"a\/b\u00e9"#;
    let long = "x".repeat(4000);
    for (text, decoded) in [(escaped, "a/b\u{e9}"), (&long, &long)] {
        let mut offer = offer();
        offer["extra"]["reference"] = json!(decoded);
        let payload = proof(&{ offer.clone() }, decoded, &key(), [0x11; 32]);
        let request = request(&offer, decoded, payload).to_string();
        // As a writer spells it that escapes more than it must.
        let request = request.replace("a/b\u{e9}", text);
        let parsed = VerifyRequest::parse(request.as_bytes()).unwrap();
        let (payload, offer) = (&parsed.payment_payload, &parsed.payment_requirements);
        assert!(gate::verify(&TransferProof::<K256>::default(), payload, offer, NOW).is_ok());
    }
    // More of them than there is room for.
    let mut offer = offer();
    offer["extra"]["reference"] = json!("\u{1}".repeat(257));
    let text = offer.to_string();
    let parsed = PaymentRequirements::parse(text.as_bytes()).unwrap();
    let from = Address::parse(PAYER).unwrap();
    let refused = TransferProofUnsigned::new(&parsed, URL, from, [1; 32]).map(|_| ());
    assert_eq!(refused, Err(Reason::InvalidPaymentRequirements));
}

/// One transaction pays once, whatever else differs; another one, or on another chain, is another.
#[test]
fn claim_key_is_chain_and_transaction_alone() {
    let claim = |offer: &Value, url: &str, key: &LocalKey, hash: [u8; 32]| -> ClaimKey {
        let request = request(offer, url, proof(offer, url, key, hash));
        check(&request, NOW).unwrap().claim_key()
    };
    let (thief, first) = (LocalKey::from_bytes(&[5; 32]).unwrap(), [0x11; 32]);
    let mut other = offer();
    other["amount"] = json!("1");
    other["payTo"] = json!("0x00000000000000000000000000000000000000AA");
    other["asset"] = json!("0x00000000000000000000000000000000000000bb");
    other["extra"]["reference"] = json!("another");
    let own = claim(&offer(), URL, &key(), first);
    assert_eq!(own, claim(&other, "http://elsewhere/", &thief, first));
    assert_ne!(own, claim(&offer(), URL, &key(), [0x12; 32]));
    let mut chain = offer();
    chain["network"] = json!("eip155:1329");
    assert_ne!(own, claim(&chain, URL, &key(), first));
    let upper = hash(0xab).to_uppercase().replacen("0X", "0x", 1);
    let request = request(&offer(), URL, {
        let mut payload = proof(&offer(), URL, &key(), [0xab; 32]);
        payload["txHash"] = json!(upper);
        payload
    });
    let spelled = check(&request, NOW).unwrap().claim_key();
    assert_eq!(spelled, claim(&offer(), URL, &key(), [0xab; 32]));
}

/// No claim is forgotten while a ledger takes the transfer, whenever both are looked at.
#[test]
fn claims_outlive_proofs() {
    let settled = ClaimState::Delivered(Transaction::new());
    for presented in [0, 1, NOW, NOW + 12_345, u64::MAX - 7200, u64::MAX] {
        let payment = check(&genuine(), presented).unwrap();
        // The block may be as new as the presentation, and a clock some minutes behind.
        let block = presented.saturating_add(900);
        for later in [0, 600, MAX_PROOF_AGE_SECONDS - 1, MAX_PROOF_AGE_SECONDS] {
            let now = block.saturating_add(later);
            assert!(!settled.is_forgettable(payment.expires_at(), now), "{presented} {later}");
        }
        let end = payment.expires_at();
        assert_eq!(settled.is_forgettable(end, end.saturating_add(1)), end < u64::MAX);
    }
}

/// Other code of this crate refuses this method, and it refuses offers and buffers it cannot use.
#[test]
fn others_do_not_take_it() {
    let text = genuine().to_string();
    let parsed = VerifyRequest::parse(text.as_bytes()).unwrap();
    let (payload, offer) = (&parsed.payment_payload, &parsed.payment_requirements);
    let refused = gate::verify(&ExactEvm::<K256>::default(), payload, offer, NOW).err();
    assert_eq!(refused, Some(Reason::InvalidPayload));
    assert_eq!(ExactEvmWallet.check(offer), Err(Reason::UnsupportedPayloadType));
    assert_eq!(TransferProof::<K256>::default().check_offer(offer), Ok(()));
    let free = PaymentRequirements { amount: 0u64.into(), ..*offer };
    assert_eq!(
        TransferProof::<K256>::default().check_offer(&free),
        Err(Reason::InvalidPaymentRequirements)
    );
    let mut small = [0; 64];
    let from = Address::parse(PAYER).unwrap();
    let unsigned = TransferProofUnsigned::new(offer, URL, from, [1; 32]).unwrap();
    let signature = Signer::sign(&key(), unsigned.digest()).unwrap();
    assert!(unsigned.payload(&signature, &mut small).is_err());
}
